/*
 * Composing messages: which news go along, and how often. One entry of news per member is kept in the member itself. The
 * strings of an outgoing message are those of the table; whoever keeps it copies it.
 */
#include "flock/backends/swim/machine.h"

#include <assert.h>

#define VALUE_BYTES_PER_MESSAGE 4096

void flk_swim_tell(struct flk_swim_member *member, enum flk_swim_event_type type)
{
    member->news = true;
    member->event = (uint8_t)type;
    member->sent = 0;
}

unsigned flk_swim_send_limit(size_t members)
{
    unsigned bits = 0; /* ceil(log2 members) */
    while (((size_t)1 << bits) < members)
        bits++;
    return bits ? 3 * bits : 1;
}

static struct flk_swim_event event_of(const struct flk_swim_member *member, enum flk_swim_event_type type)
{
    bool suspect = type == SWIM_SUSPECT && member->state == SWIM_IS_SUSPECT;
    bool moved = member->former && (type == SWIM_ALIVE || type == SWIM_JOIN);
    return (struct flk_swim_event){.type = (uint8_t)(moved ? SWIM_MOVE : type),
                                   .id = member->id,
                                   .incarnation = member->incarnation,
                                   .accuser = suspect ? member->accusers[member->accuser_count - 1] : 0,
                                   .address = member->address,
                                   .former = moved ? member->former : NULL};
}

/* What is believed of a member now. */
static enum flk_swim_event_type belief(const struct flk_swim_member *member)
{
    return member->state == SWIM_IS_ALIVE     ? SWIM_ALIVE
           : member->state == SWIM_IS_SUSPECT ? SWIM_SUSPECT
           : member->left                     ? SWIM_LEAVE
                                              : SWIM_CONFIRM;
}

/* The least told first. */
static void pick_events(struct flk_swim *swim, const struct flk_swim_member *about, flk_swim_message_t *message)
{
    struct flk_swim_member *picked[SWIM_EVENTS_MAX];
    size_t count = 0, room = SWIM_EVENTS_MAX - message->event_count;
    unsigned limit = flk_swim_send_limit(swim->live);
    for (size_t i = 0; i < swim->count; i++) {
        struct flk_swim_member *member = swim->members[i];
        if (member->news && member->sent >= limit)
            member->news = false;
        if (!member->news || member == about || (swim->leaving && member != swim->self))
            continue;
        size_t at = count;
        while (at > 0 && picked[at - 1]->sent > member->sent)
            at--;
        if (at >= room)
            continue;
        count += count < room;
        memmove(&picked[at + 1], &picked[at], (count - at - 1) * sizeof *picked);
        picked[at] = member;
    }
    for (size_t i = 0; i < count; i++) {
        picked[i]->sent++;
        message->events[message->event_count++] = event_of(picked[i], picked[i]->event);
    }
}

static void pick_values(struct flk_swim *swim, flk_swim_message_t *message)
{
    unsigned limit = flk_swim_send_limit(swim->live);
    size_t bytes = 0;
    for (size_t i = 0; i < swim->entry_count && message->value_count < SWIM_VALUES_MAX; i++) {
        struct flk_swim_entry *entry = &swim->entries[i];
        if (entry->news && entry->sent >= limit)
            entry->news = false;
        if (!entry->news)
            continue;
        bytes += strlen(entry->value.key) + (entry->value.value ? strlen(entry->value.value) : 0);
        if (message->value_count > 0 && bytes > VALUE_BYTES_PER_MESSAGE)
            break;
        entry->sent++;
        message->values[message->value_count++] = entry->value;
    }
}

/* Everything, except what we have only read in a file, and addresses that belong to others' past. */
static void put_state(struct flk_swim *swim, flk_swim_message_t *message)
{
    for (size_t i = 0; i < swim->count; i++) {
        if (!swim->members[i]->unverified && !swim->members[i]->moved)
            message->events[message->event_count++] = event_of(swim->members[i], belief(swim->members[i]));
    }
    for (size_t i = 0; i < swim->entry_count; i++)
        message->values[message->value_count++] = swim->entries[i].value;
}

bool flk_swim_post(struct flk_swim *swim, const struct flk_swim_outgoing *outgoing)
{
    assert(outgoing->address);
    bool whole = outgoing->type == SWIM_SYNC || outgoing->type == SWIM_STATE;
    struct flk_swim_event few_events[SWIM_EVENTS_MAX];
    struct flk_swim_value few_values[SWIM_VALUES_MAX];
    flk_swim_message_t message = {
        .type = (uint8_t)outgoing->type,
        .from = swim->self->address,
        .from_id = swim->self->id,
        .incarnation = swim->leaving ? 0 : swim->self->incarnation,
        .sequence = outgoing->sequence,
        .digest = swim->digest,
        .changes = swim->changes,
        .events = whole ? calloc(swim->count, sizeof *message.events) : few_events,
        .values = whole ? calloc(swim->entry_count + 1, sizeof *message.values) : few_values,
    };
    if (outgoing->target) {
        message.target = outgoing->target->address;
        message.target_id = outgoing->target->id;
    }
    bool posted = message.events && message.values;
    if (posted && whole) {
        put_state(swim, &message);
    } else if (posted) {
        const struct flk_swim_member *about = outgoing->about;
        if (about && (about->state != SWIM_IS_ALIVE || outgoing->target))
            message.events[message.event_count++] = event_of(about, belief(about));
        pick_events(swim, about, &message);
        pick_values(swim, &message);
    }
    if (posted && outgoing->reply)
        posted = flk_swim_message_copy(&message, outgoing->reply);
    else if (posted)
        swim->callbacks->send(swim->arg, outgoing->address, outgoing->id, &message);
    if (whole) {
        free(message.events);
        free(message.values);
    }
    return posted;
}

void flk_swim_send(struct flk_swim *swim, const struct flk_swim_member *to, enum flk_swim_message_type type,
                   uint64_t sequence, const struct flk_swim_member *about)
{
    assert(to != swim->self);
    flk_swim_post(swim, &(struct flk_swim_outgoing){
                            .address = to->address, .id = to->id, .type = type, .sequence = sequence, .about = about});
}
