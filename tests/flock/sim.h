/*
 * A simulated network of SWIM machines: deterministic, in simulated time, with latency, loss, pauses, partitions and deaths.
 * Every node keeps the view that its callbacks build; messages are copies in one queue, ordered by time of delivery.
 */
#ifndef TESTS_FLOCK_SIM_H
#define TESTS_FLOCK_SIM_H

#include "tests/support/test.h"

#include "flock/backends/swim/machine.h"

#define SIM_NODES_MAX 128
#define MS            DANGO_NS_PER_MS

struct sim_node {
    struct sim *sim;
    struct flk_swim *swim; /* NULL: dead, or not started */
    char address[32];
    bool sees[SIM_NODES_MAX];
    int joined, left, died, moved, values, declared_dead; /* callbacks */
    int home; /* the node that has this one's address now; none: the last one, which is nobody */
    bool paused;
    int side; /* of a partition; nodes hear those of their side */
    int64_t next_tick;
    int pinged[SIM_NODES_MAX]; /* directly */
};

struct sim_packet {
    struct list_node node;
    int64_t at;
    int from, to;
    flk_swim_message_t message;
};

struct sim {
    struct sim_node nodes[SIM_NODES_MAX];
    int count;
    int64_t now;
    uint64_t random;
    double loss; /* probability that a message gets lost */
    int64_t latency_min, latency_max;
    struct list_node packets;
    struct flk_swim_settings settings;
    uint64_t messages;
    uint64_t incarnations; /* given so far */
    int64_t first_suspicion;
};

static inline int sim_index(const char *address)
{
    return atoi(strrchr(address, '-') + 1);
}

static inline double sim_uniform(struct sim *sim)
{
    return (double)(flk_random_next(&sim->random) >> 11) / (double)(UINT64_C(1) << 53);
}

static inline void sim_post(struct sim *sim, int from, int to, const flk_swim_message_t *message)
{
    sim->messages++;
    if (sim_uniform(sim) < sim->loss || sim->nodes[from].side != sim->nodes[to].side)
        return;
    struct sim_packet *packet = calloc(1, sizeof *packet);
    assert_true(flk_swim_message_copy(message, &packet->message));
    packet->from = from;
    packet->to = to;
    packet->at =
        sim->now + sim->latency_min + (int64_t)(sim_uniform(sim) * (double)(sim->latency_max - sim->latency_min));
    list_append(&sim->packets, &packet->node);
}

static inline void sim_send(void *arg, const char *address, uint16_t id, const flk_swim_message_t *message)
{
    struct sim_node *node = arg;
    assert_int_equal(id, 1);
    node->pinged[sim_index(address)] += message->type == SWIM_PING;
    sim_post(node->sim, (int)(node - node->sim->nodes), node->sim->nodes[sim_index(address)].home, message);
}

static inline void sim_member(void *arg, flock_update_t update, const char *address, uint16_t id)
{
    struct sim_node *node = arg;
    (void)id;
    if (&node->sim->nodes[node->sim->nodes[sim_index(address)].home] == node) {
        node->declared_dead++;
        return;
    }
    node->sees[sim_index(address)] = update == FLOCK_MEMBER_JOINED;
    node->joined += update == FLOCK_MEMBER_JOINED;
    node->left += update == FLOCK_MEMBER_LEFT;
    node->died += update == FLOCK_MEMBER_DIED;
}

static inline void sim_moved(void *arg, const char *from, const char *to, uint16_t id)
{
    struct sim_node *node = arg;
    (void)id;
    node->sees[sim_index(from)] = false;
    node->sees[sim_index(to)] = true;
    node->moved++;
}

static inline void sim_metadata(void *arg, const char *key, const char *value)
{
    (void)key;
    (void)value;
    ((struct sim_node *)arg)->values++;
}

static const struct flk_swim_callbacks sim_callbacks = {
    .send = sim_send, .member = sim_member, .moved = sim_moved, .metadata = sim_metadata};

static inline void sim_init(struct sim *sim, uint64_t seed)
{
    memset(sim, 0, sizeof *sim);
    list_init(&sim->packets);
    sim->random = seed * 2 + 1;
    for (int i = 0; i < 8; i++)
        flk_random_next(&sim->random);
    sim->latency_min = 1 * MS / 10;
    sim->latency_max = 2 * MS;
    sim->now = 1000 * MS;
    sim->settings = (struct flk_swim_settings){1000, 200, 500, 3, 5000};
    for (int i = 0; i < SIM_NODES_MAX; i++) {
        sim->nodes[i].sim = sim;
        sim->nodes[i].home = i;
        snprintf(sim->nodes[i].address, sizeof sim->nodes[i].address, "sim://node-%03d", i);
    }
}

/* Starts node i; it knows the nodes first..last. */
static inline void sim_start(struct sim *sim, int i, int first, int last, bool join)
{
    struct sim_node *node = &sim->nodes[i];
    assert_null(node->swim);
    memset(node->sees, 0, sizeof node->sees);
    node->joined = node->left = node->died = node->declared_dead = 0;
    node->paused = false;
    node->swim = flk_swim_create(&sim->settings, node->address, 1, 1000 + ++sim->incarnations,
                                 flk_random_next(&sim->random), &sim_callbacks, node);
    node->sees[i] = true;
    for (int j = first; j <= last; j++) {
        assert_true(flk_swim_add_initial(node->swim, sim->nodes[j].address, 1));
        node->sees[j] = true;
    }
    sim->count = i >= sim->count ? i + 1 : sim->count;
    flk_swim_start(node->swim, sim->now, join);
    node->next_tick = sim->now;
}

/* Node `from` takes the address of node `to`, which does not run. Nobody has the old one any more. */
static inline void sim_move(struct sim *sim, int from, int to, int former)
{
    sim->nodes[former].home = SIM_NODES_MAX - 1;
    sim->nodes[to].home = from;
    assert_true(flk_swim_move(sim->nodes[from].swim, sim->now, sim->nodes[to].address));
}

static inline void sim_start_all(struct sim *sim, int count)
{
    for (int i = 0; i < count; i++)
        sim_start(sim, i, 0, count - 1, false);
}

static inline void sim_kill(struct sim *sim, int i)
{
    flk_swim_destroy(sim->nodes[i].swim);
    sim->nodes[i].swim = NULL;
}

static inline void sim_free_packet(struct sim_packet *packet)
{
    list_remove(&packet->node);
    flk_swim_message_clear(&packet->message);
    free(packet);
}

static inline void sim_end(struct sim *sim)
{
    for (int i = 0; i < sim->count; i++) {
        if (sim->nodes[i].swim)
            sim_kill(sim, i);
    }
    while (!list_empty(&sim->packets))
        sim_free_packet(container_of(sim->packets.next, struct sim_packet, node));
}

static inline void sim_deliver(struct sim *sim, struct sim_packet *packet)
{
    struct sim_node *node = &sim->nodes[packet->to];
    flk_swim_message_t reply = {0};
    if (node->swim && flk_swim_receive(node->swim, sim->now, &packet->message, &reply)) {
        sim_post(sim, packet->to, packet->from, &reply);
        flk_swim_message_clear(&reply);
    }
    sim_free_packet(packet);
}

/* One event; false: nothing happens before `until`. Messages to a paused node wait for it. */
static inline bool sim_step(struct sim *sim, int64_t until)
{
    struct sim_packet *packet = NULL;
    int ticker = -1;
    int64_t at = until;
    for (int i = 0; i < sim->count; i++) {
        const struct sim_node *node = &sim->nodes[i];
        if (node->swim && !node->paused && node->next_tick < at) {
            at = node->next_tick;
            ticker = i;
        }
    }
    list_for_each (node, &sim->packets) {
        struct sim_packet *candidate = container_of(node, struct sim_packet, node);
        if (!sim->nodes[candidate->to].paused && candidate->at < at) {
            at = candidate->at;
            packet = candidate;
        }
    }
    sim->now = at > sim->now ? at : sim->now;
    if (packet)
        sim_deliver(sim, packet);
    else if (ticker >= 0)
        sim->nodes[ticker].next_tick = flk_swim_tick(sim->nodes[ticker].swim, sim->now);
    return packet || ticker >= 0;
}

static inline void sim_run(struct sim *sim, double ms)
{
    int64_t until = sim->now + flk_swim_ns(ms);
    while (sim_step(sim, until))
        ;
}

/* Whether all running nodes see exactly the running nodes. */
static inline bool sim_agree(const struct sim *sim)
{
    for (int i = 0; i < sim->count; i++) {
        for (int j = 0; sim->nodes[i].swim && j < sim->count; j++) {
            if (sim->nodes[i].sees[j] != (sim->nodes[j].swim != NULL))
                return false;
        }
    }
    return true;
}

/* Runs until they agree; the time it took in ms. */
static inline double sim_converge(struct sim *sim, double limit_ms)
{
    int64_t start = sim->now, until = start + flk_swim_ns(limit_ms);
    while (!sim_agree(sim)) {
        if (!sim_step(sim, until))
            fail_msg("the views do not agree after %.0f ms", limit_ms);
    }
    return (double)(sim->now - start) / (double)MS;
}

static inline int sim_total_died(const struct sim *sim)
{
    int total = 0;
    for (int i = 0; i < sim->count; i++)
        total += sim->nodes[i].died;
    return total;
}

static inline uint64_t sim_suspicions(const struct sim *sim)
{
    uint64_t total = 0;
    for (int i = 0; i < sim->count; i++)
        total += sim->nodes[i].swim ? flk_swim_stats(sim->nodes[i].swim)->suspicions : 0;
    return total;
}

#endif
