/*
 * Probing: a round is one member pinged, directly and then through others. A probe is remembered by its sequence number until
 * it is answered or its time is over; rounds start at a fixed rate, so that several may be under way when the period is
 * short. Pings on behalf of others are remembered in the same way, without consequences for what we believe.
 */
#include "flock/backends/swim/machine.h"

#include <assert.h>

size_t flk_swim_choose(struct flk_swim *swim, const struct flk_swim_member *except, struct flk_swim_member **chosen,
                       size_t max)
{
    size_t count = 0, seen = 0;
    for (size_t i = 0; i < swim->order_count; i++) {
        struct flk_swim_member *member = swim->order[i];
        if (member == except)
            continue;
        /* Reservoir sampling: each of the seen ones is among the chosen with the same probability. */
        seen++;
        size_t place = count < max ? count++ : flk_random_below(&swim->random, seen);
        if (place < max)
            chosen[place] = member;
    }
    return count;
}

static struct flk_swim_probe *free_probe(struct flk_swim *swim)
{
    for (size_t i = 0; i < SWIM_PROBES_MAX; i++) {
        if (!swim->probes[i].active)
            return &swim->probes[i];
    }
    return NULL;
}

void flk_swim_probes_forget(struct flk_swim *swim, const struct flk_swim_member *member)
{
    for (size_t i = 0; i < SWIM_PROBES_MAX; i++) {
        if (swim->probes[i].target == member)
            swim->probes[i] = (struct flk_swim_probe){0};
    }
}

void flk_swim_round(struct flk_swim *swim, int64_t now)
{
    swim->stats.rounds++;
    if (swim->order_next >= swim->order_count)
        flk_swim_shuffle(swim);
    struct flk_swim_probe *probe = free_probe(swim);
    if (swim->order_count == 0 || !probe)
        return;
    struct flk_swim_member *target = swim->order[swim->order_next++];
    *probe = (struct flk_swim_probe){.active = true,
                                     .sequence = ++swim->sequence,
                                     .deadline = now + flk_swim_ns(swim->settings.ping_timeout_ms),
                                     .target = target};
    swim->stats.pings++;
    flk_swim_send(swim, target, SWIM_PING, probe->sequence, target);
}

/* No answer: whoever we ask may have a better way. */
static void ask_helpers(struct flk_swim *swim, struct flk_swim_probe *probe, int64_t now)
{
    struct flk_swim_member *helpers[64];
    size_t max = (size_t)swim->settings.ping_req_members;
    size_t count = flk_swim_choose(swim, probe->target, helpers, max < 64 ? max : 64);
    probe->indirect = true;
    probe->deadline = count ? now + flk_swim_ns(swim->settings.ping_req_timeout_ms) : now;
    for (size_t i = 0; i < count; i++)
        flk_swim_post(swim, &(struct flk_swim_outgoing){.address = helpers[i]->address,
                                                        .id = helpers[i]->id,
                                                        .type = SWIM_PING_REQ,
                                                        .sequence = probe->sequence,
                                                        .about = probe->target,
                                                        .target = probe->target});
}

/* Whoever doubts itself is no accuser that counts. With nobody but the target to hear from, silence says nothing of
 * ourselves. */
static void give_up(struct flk_swim *swim, struct flk_swim_probe *probe, int64_t now)
{
    struct flk_swim_member *target = probe->target;
    *probe = (struct flk_swim_probe){0};
    swim->stats.pings_failed++;
    if (target->state == SWIM_IS_ALIVE)
        flk_swim_suspect(swim, now, target, target->incarnation, swim->doubt ? 0 : flk_swim_accuser(swim));
    else if (swim->doubt == 0)
        flk_swim_accuse(swim, target, flk_swim_accuser(swim));
    if (swim->doubt < SWIM_DOUBT_MAX && swim->live > 2)
        swim->doubt++;
}

static void relays_tick(struct flk_swim *swim, int64_t now)
{
    for (size_t i = 0; i < SWIM_RELAYS_MAX; i++) {
        struct flk_swim_relay *relay = &swim->relays[i];
        if (relay->sequence && relay->deadline <= now) {
            free(relay->requester);
            *relay = (struct flk_swim_relay){0};
        }
    }
}

void flk_swim_probes_tick(struct flk_swim *swim, int64_t now)
{
    for (size_t i = 0; i < SWIM_PROBES_MAX; i++) {
        struct flk_swim_probe *probe = &swim->probes[i];
        if (probe->active && probe->deadline <= now && !probe->indirect)
            ask_helpers(swim, probe, now);
        if (probe->active && probe->deadline <= now)
            give_up(swim, probe, now);
    }
    relays_tick(swim, now);
}

/* ---- answers ---- */

/* The target of a ping that we sent for somebody else has answered. */
static void pass_on(struct flk_swim *swim, struct flk_swim_relay *relay, const flk_swim_message_t *message)
{
    const struct flk_swim_member *target = flk_swim_find(swim, message->from, message->from_id);
    if (target)
        flk_swim_post(swim, &(struct flk_swim_outgoing){.address = relay->requester,
                                                        .id = relay->requester_id,
                                                        .type = SWIM_ACK,
                                                        .sequence = relay->asked,
                                                        .about = target,
                                                        .target = target});
    free(relay->requester);
    *relay = (struct flk_swim_relay){0};
}

void flk_swim_on_ack(struct flk_swim *swim, int64_t now, const flk_swim_message_t *message)
{
    (void)now;
    const char *address = message->target ? message->target : message->from;
    uint16_t id = message->target ? message->target_id : message->from_id;
    swim->doubt = 0;
    for (size_t i = 0; i < SWIM_PROBES_MAX; i++) {
        struct flk_swim_probe *probe = &swim->probes[i];
        if (probe->active && probe->sequence == message->sequence && probe->target->id == id &&
            strcmp(probe->target->address, address) == 0)
            *probe = (struct flk_swim_probe){0};
    }
    for (size_t i = 0; i < SWIM_RELAYS_MAX && !message->target; i++) {
        if (swim->relays[i].sequence && swim->relays[i].sequence == message->sequence)
            pass_on(swim, &swim->relays[i], message);
    }
}

/* The target need not be a member that we know. */
void flk_swim_on_ping_req(struct flk_swim *swim, int64_t now, const flk_swim_message_t *message)
{
    struct flk_swim_relay *relay = NULL;
    for (size_t i = 0; i < SWIM_RELAYS_MAX && !relay; i++)
        relay = swim->relays[i].sequence ? NULL : &swim->relays[i];
    struct flk_swim_member *target = message->target ? flk_swim_find(swim, message->target, message->target_id) : NULL;
    char *requester = relay && target && target != swim->self ? strdup(message->from) : NULL;
    if (!requester)
        return;
    *relay = (struct flk_swim_relay){.sequence = ++swim->sequence,
                                     .asked = message->sequence,
                                     .deadline = now + flk_swim_ns(swim->settings.ping_req_timeout_ms),
                                     .requester = requester,
                                     .requester_id = message->from_id};
    flk_swim_send(swim, target, SWIM_PING, relay->sequence, target);
}
