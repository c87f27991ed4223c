/*
 * The SWIM machine over a simulated network: detection, false accusations, and that views come together again after loss,
 * pauses, partitions, restarts and joins. Deterministic: every seed is the same run each time. The figures are printed, and
 * stand in docs/flock.md.
 */
#include "tests/flock/sim.h"

#include <math.h>

static struct sim sim;

static int end_sim(void **state)
{
    (void)state;
    sim_end(&sim);
    return 0;
}

/* Time from the start of the group until it is at rest. */
static void settle(int count)
{
    sim_start_all(&sim, count);
    sim_run(&sim, 5000);
    assert_true(sim_agree(&sim));
    assert_int_equal(sim_suspicions(&sim), 0);
}

/* Runs until somebody suspects node `victim`; ms since now. */
static double until_suspected(int victim)
{
    int64_t start = sim.now;
    for (;;) {
        for (int i = 0; i < sim.count; i++) {
            if (sim.nodes[i].swim && flk_swim_is_suspected(sim.nodes[i].swim, sim.nodes[victim].address, 1))
                return (double)(sim.now - start) / (double)MS;
        }
        assert_true(sim_step(&sim, start + 100000 * MS));
    }
}

/* The bound of docs/flock.md: what the slowest member needs to know of a death. */
static double bound_ms(int count)
{
    const struct flk_swim_settings *s = &sim.settings;
    double probes =
        8 * s->protocol_period_ms; /* until somebody pings it: 1.6 periods expected; e^-8 not to be hit by then */
    double scale = log2(count) / 5;
    return probes + s->ping_timeout_ms + s->ping_req_timeout_ms + s->suspicion_timeout_ms * (scale > 1 ? scale : 1) +
           flk_swim_send_limit((size_t)count) * s->protocol_period_ms;
}

static void a_death_is_noticed_in_time(void **state)
{
    (void)state;
    static const int sizes[] = {4, 16, 64};
    for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++) {
        double first = 0, all = 0, slowest = 0;
        const int trials = 50;
        for (int trial = 0; trial < trials; trial++) {
            sim_init(&sim, (uint64_t)trial);
            settle(sizes[s]);
            sim_run(&sim, 1000 * sim_uniform(&sim));
            int victim = (int)flk_random_below(&sim.random, (size_t)sizes[s]);
            int64_t start = sim.now;
            sim_kill(&sim, victim);
            first += until_suspected(victim);
            sim_converge(&sim, bound_ms(sizes[s]));
            double took = (double)(sim.now - start) / (double)MS;
            all += took;
            slowest = took > slowest ? took : slowest;
            assert_int_equal(sim_total_died(&sim), sizes[s] - 1);
            sim_end(&sim);
        }
        print_message(
            "%2d members: first suspicion after %.2f s, known to all after %.2f s (mean), %.2f s (slowest of %d), "
            "bound %.1f s\n",
            sizes[s], first / trials / 1000, all / trials / 1000, slowest / 1000, trials, bound_ms(sizes[s]) / 1000);
    }
}

static void idle_groups_accuse_nobody(void **state)
{
    (void)state;
    sim_init(&sim, 7);
    settle(16);
    uint64_t before = sim.messages;
    sim_run(&sim, 1800e3);
    assert_int_equal(sim_suspicions(&sim), 0);
    print_message("16 members, 30 minutes idle: no suspicion, %.2f messages per member and period\n",
                  (double)(sim.messages - before) / 16 / 1800);
}

/* Within 2n - 1 rounds everybody has had its turn, wherever they begin. */
static void everybody_is_probed_in_time(void **state)
{
    (void)state;
    enum { MEMBERS = 16 };
    sim_init(&sim, 21);
    settle(MEMBERS);
    for (int trial = 0; trial < 50; trial++) {
        sim_run(&sim, 1000.0 * trial / 10);
        for (int i = 0; i < MEMBERS; i++)
            memset(sim.nodes[i].pinged, 0, sizeof sim.nodes[i].pinged);
        sim_run(&sim, 1000.0 * (2 * MEMBERS - 1));
        for (int i = 0; i < MEMBERS; i++) {
            int pings = 0;
            for (int j = 0; j < MEMBERS; j++) {
                assert_true(i == j || sim.nodes[i].pinged[j] > 0);
                pings += sim.nodes[i].pinged[j];
            }
            /* At a fixed rate, one a round. */
            assert_true(pings >= 2 * MEMBERS - 2 && pings <= 2 * MEMBERS);
        }
    }
}

/* No member is lost for good, whatever is lost in between. */
static void loss(double probability, double allowed_deaths_per_member_hour)
{
    sim_init(&sim, 11);
    settle(16);
    sim.loss = probability;
    sim_run(&sim, 600e3);
    int died = sim_total_died(&sim);
    uint64_t suspicions = sim_suspicions(&sim);
    sim.loss = 0;
    double healed = sim_converge(&sim, 60e3);
    print_message(
        "16 members, 10 minutes of %.0f %% loss: %llu suspicions, %d false deaths seen, views equal %.1f s later\n",
        probability * 100, (unsigned long long)suspicions, died, healed / 1000);
    assert_true(died / 16.0 * 6 <= allowed_deaths_per_member_hour);
}

static void light_loss(void **state)
{
    (void)state;
    loss(0.05, 0);
}

static void moderate_loss(void **state)
{
    (void)state;
    loss(0.2, 1);
}

static void heavy_loss(void **state)
{
    (void)state;
    loss(0.5, 1e9);
}

/* Stopped for longer than it takes to be declared dead, then continued. */
static void a_paused_member_comes_back(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 20; seed++) {
        sim_init(&sim, seed);
        settle(8);
        sim.nodes[3].paused = true;
        sim_run(&sim, seed % 2 ? 30e3 : 4e3);
        sim.nodes[3].paused = false;
        if (seed % 2)
            assert_false(sim.nodes[0].sees[3]);
        sim_run(&sim, 100);
        sim_converge(&sim, 20e3);
        assert_true(seed % 2 || sim.nodes[3].declared_dead == 0);
        sim_run(&sim, 30e3);
        assert_true(sim_agree(&sim));
        /* It has accused nobody for its own absence. */
        for (int i = 0; i < 8; i++)
            assert_int_equal(sim.nodes[i].died, i != 3 && seed % 2);
        sim_end(&sim);
    }
}

static void separated_groups_grow_together(void **state)
{
    (void)state;
    double slowest = 0;
    for (uint64_t seed = 0; seed < 20; seed++) {
        sim_init(&sim, seed);
        settle(10);
        for (int i = 0; i < 10; i++)
            sim.nodes[i].side = i % 2;
        sim_run(&sim, 60e3);
        assert_false(sim.nodes[0].sees[1]);
        assert_true(sim.nodes[0].sees[2]);
        for (int i = 0; i < 10; i++)
            sim.nodes[i].side = 0;
        double took = sim_converge(&sim, 120e3);
        slowest = took > slowest ? took : slowest;
        sim_run(&sim, 30e3);
        assert_true(sim_agree(&sim));
        sim_end(&sim);
    }
    print_message("10 members, one minute apart in two halves: together again after %.1f s (slowest of 20)\n",
                  slowest / 1000);
}

/* The joiner knows one of ten. */
static void a_joiner_gets_to_know_everybody(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 20; seed++) {
        sim_init(&sim, seed);
        settle(10);
        sim_start(&sim, 10, 4, 4, true);
        while (!flk_swim_has_joined(sim.nodes[10].swim))
            assert_true(sim_step(&sim, sim.now + 1000 * MS));
        assert_int_equal(flk_swim_member_count(sim.nodes[10].swim), 11);
        sim_converge(&sim, 6e3);
        for (int i = 0; i < 10; i++)
            assert_int_equal(sim.nodes[i].joined, 1);
        assert_int_equal(sim.nodes[10].joined, 9);
        sim_end(&sim);
    }
}

/* The file of the joiner names members that are long dead; nobody shall hear of them again. */
static void stale_names_are_not_spread(void **state)
{
    (void)state;
    sim_init(&sim, 3);
    settle(4);
    sim_start(&sim, 9, 0, 8, true);
    sim_run(&sim, 3000);
    assert_true(sim_agree(&sim));
    for (int i = 0; i < 4; i++)
        assert_true(sim.nodes[i].joined == 1 && !sim.nodes[i].sees[5]);
    sim_end(&sim);
    /* With nobody to answer, it has not joined. */
    sim_init(&sim, 4);
    sim_start(&sim, 9, 0, 3, true);
    sim_run(&sim, 10000);
    assert_false(flk_swim_has_joined(sim.nodes[9].swim));
    assert_false(flk_swim_join_failed(sim.nodes[9].swim));
    flk_swim_message_t sync = {.type = SWIM_SYNC};
    for (int i = 0; i < 4; i++)
        flk_swim_failed(sim.nodes[9].swim, sim.now, sim.nodes[i].address, 1, &sync);
    assert_true(flk_swim_join_failed(sim.nodes[9].swim));
}

static void many_join_at_once(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 5; seed++) {
        sim_init(&sim, seed);
        sim_start_all(&sim, 1);
        for (int i = 1; i < 64; i++)
            sim_start(&sim, i, 0, 0, true);
        double took = sim_converge(&sim, 15e3);
        assert_int_equal(sim_total_died(&sim), 0);
        if (seed == 0)
            print_message("63 members join one at the same instant: views equal after %.1f s\n", took / 1000);
        sim_end(&sim);
    }
}

static void leaving_is_quick(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 20; seed++) {
        int count = seed % 2 ? 4 : 32;
        sim_init(&sim, seed);
        settle(count);
        flk_swim_leave(sim.nodes[1].swim, sim.now);
        sim_kill(&sim, 1);
        double took = sim_converge(&sim, 4e3);
        assert_true(count > 4 || took < 1000);
        for (int i = 0; i < count; i++)
            assert_int_equal(sim.nodes[i].left, i != 1);
        assert_int_equal(sim_total_died(&sim), 0);
        sim_run(&sim, 60e3);
        assert_true(sim_agree(&sim));
        sim_end(&sim);
    }
}

/* A restart at the same address, before and after the death was noticed; by view, and by joining. */
static void restarted_members_are_welcome(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 16; seed++) {
        sim_init(&sim, seed);
        settle(6);
        sim_kill(&sim, 2);
        sim_run(&sim, seed % 2 ? 30e3 : 2e3);
        if (seed % 4 < 2)
            sim_start(&sim, 2, 0, 5, false);
        else
            sim_start(&sim, 2, 0, 1, true);
        sim_run(&sim, 100);
        sim_converge(&sim, 10e3);
        sim_run(&sim, 60e3);
        assert_true(sim_agree(&sim));
        sim_end(&sim);
    }
}

static void half_of_the_group_dies(void **state)
{
    (void)state;
    sim_init(&sim, 5);
    settle(16);
    for (int i = 0; i < 8; i++)
        sim_kill(&sim, 2 * i);
    double took = sim_converge(&sim, 60e3);
    print_message("8 of 16 members die at the same time: known to all after %.1f s\n", took / 1000);
}

static const char *value_of(int node, const char *key)
{
    const struct flk_swim *swim = sim.nodes[node].swim;
    for (size_t i = 0; i < swim->entry_count; i++) {
        if (strcmp(swim->entries[i].value.key, key) == 0)
            return swim->entries[i].value.value;
    }
    return NULL;
}

static struct flk_swim_event *event(uint8_t type, uint64_t incarnation, char *address)
{
    static struct flk_swim_event event;
    event = (struct flk_swim_event){.type = type, .id = 1, .incarnation = incarnation, .address = address};
    return &event;
}

static bool all_see_instead(int count, int former, int address)
{
    for (int i = 0; i < count; i++) {
        if (!sim.nodes[i].sees[address] || sim.nodes[i].sees[former])
            return false;
    }
    return true;
}

/* Others hear of one move; a joiner afterwards sees a member like any other. Then back to the first address. */
static void a_member_moves(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 20; seed++) {
        sim_init(&sim, seed);
        settle(8);
        for (int round = 1; round <= 4; round++) {
            int former = round % 2 ? 3 : 20, address = round % 2 ? 20 : 3;
            assert_false(flk_swim_move(sim.nodes[3].swim, sim.now, sim.nodes[1].address));
            sim_move(&sim, 3, address, former);
            sim_run(&sim, 15e3);
            assert_true(all_see_instead(8, former, address));
            for (int i = 0; i < 8; i++) {
                const struct sim_node *node = &sim.nodes[i];
                assert_int_equal(node->moved, round);
                assert_int_equal(node->left + node->died + node->declared_dead, 0);
                assert_int_equal(flk_swim_member_count(node->swim), 8);
            }
        }
        sim_move(&sim, 3, 20, 3);
        sim_start(&sim, 9, 0, 0, true);
        sim_run(&sim, 10e3);
        assert_true(sim.nodes[9].sees[20] && !sim.nodes[9].sees[3]);
        assert_int_equal(sim.nodes[9].left + sim.nodes[9].died, 0);
        sim_end(&sim);
    }
}

/* Whoever could not hear of it finds out all the same. */
static void a_move_under_loss(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 20; seed++) {
        sim_init(&sim, seed);
        settle(8);
        sim.nodes[5].paused = true;
        sim.loss = 0.3;
        sim_run(&sim, 1000);
        sim_move(&sim, 3, 20, 3);
        sim_run(&sim, 20e3);
        sim.nodes[5].paused = false;
        sim.loss = 0;
        sim_run(&sim, 60e3);
        assert_true(all_see_instead(8, 3, 20));
        sim_end(&sim);
    }
}

/* Nobody has another member put elsewhere for good. */
static void an_invented_move(void **state)
{
    (void)state;
    sim_init(&sim, 15);
    settle(3);
    for (int i = 0; i < 2; i++) {
        struct flk_swim_event *invented =
            event(SWIM_MOVE, flk_swim_find(sim.nodes[0].swim, sim.nodes[1].address, 1)->incarnation + 5,
                  sim.nodes[20].address);
        invented->former = sim.nodes[1].address;
        flk_swim_apply(sim.nodes[i].swim, sim.now, invented, false);
    }
    assert_true(sim.nodes[1].sees[1]);
    sim_run(&sim, 60e3);
    for (int i = 0; i < 3; i++)
        assert_true(sim.nodes[i].sees[1] && !sim.nodes[i].sees[20]);
}

static void metadata_reach_everybody(void **state)
{
    (void)state;
    sim_init(&sim, 6);
    settle(12);
    sim.loss = 0.2;
    assert_true(flk_swim_set_value(sim.nodes[3].swim, "key", "first"));
    assert_true(flk_swim_set_value(sim.nodes[4].swim, "key", "other"));
    for (int i = 0; i < 20; i++) {
        char key[16];
        snprintf(key, sizeof key, "key %d", i);
        assert_true(flk_swim_set_value(sim.nodes[i % 12].swim, key, "value"));
    }
    sim_run(&sim, 40e3);
    for (int i = 0; i < 12; i++) {
        assert_string_equal(value_of(i, "key"), value_of(0, "key"));
        assert_string_equal(value_of(i, "key 19"), "value");
    }
    assert_true(flk_swim_set_value(sim.nodes[7].swim, "key", "last"));
    assert_true(flk_swim_set_value(sim.nodes[7].swim, "key 19", NULL));
    sim.loss = 0;
    sim_start(&sim, 12, 0, 0, true);
    sim_run(&sim, 20e3);
    for (int i = 0; i < 13; i++) {
        assert_string_equal(value_of(i, "key"), "last");
        assert_null(value_of(i, "key 19"));
    }
    /* Limits. */
    char *large = calloc(1, SWIM_VALUE_BYTES_MAX + 2);
    memset(large, 'x', SWIM_VALUE_BYTES_MAX + 1);
    assert_false(flk_swim_set_value(sim.nodes[0].swim, "large", large));
    assert_false(flk_swim_set_value(sim.nodes[0].swim, "", "x"));
    free(large);
}

/* The events about ourselves: refuted with the right incarnation. */
static void what_is_said_of_us_is_refuted(void **state)
{
    (void)state;
    sim_init(&sim, 8);
    settle(3);
    struct flk_swim *swim = sim.nodes[0].swim;
    uint64_t own = swim->self->incarnation;
    static const uint8_t types[] = {SWIM_SUSPECT, SWIM_CONFIRM, SWIM_LEAVE};
    for (size_t i = 0; i < 3; i++) {
        flk_swim_apply(swim, sim.now, event(types[i], own + i, sim.nodes[0].address), false);
        assert_int_equal(swim->self->incarnation, own + i + 1);
        assert_true(swim->self->news && swim->self->event == SWIM_ALIVE);
    }
    /* An old accusation costs no incarnation; an absurd one is ignored. */
    flk_swim_apply(swim, sim.now, event(SWIM_SUSPECT, own, sim.nodes[0].address), false);
    flk_swim_apply(swim, sim.now, event(SWIM_SUSPECT, UINT64_MAX, sim.nodes[0].address), false);
    assert_int_equal(swim->self->incarnation, own + 3);
}

/* Incarnations that nobody could refute are not believed; the highest that are can be refuted. */
static void nobody_can_be_made_irrefutable(void **state)
{
    (void)state;
    sim_init(&sim, 12);
    settle(3);
    struct flk_swim *swim = sim.nodes[0].swim, *victim = sim.nodes[1].swim;
    char *address = sim.nodes[1].address;
    const struct flk_swim_member *member = flk_swim_find(swim, address, 1);
    uint64_t known = member->incarnation, limit = swim->born + (uint64_t)(sim.now / MS) + SWIM_AHEAD_MAX;
    /* Clocks differ a little. */
    const uint64_t absurd[] = {limit + 1000, UINT64_MAX / 4, UINT64_MAX - 1, UINT64_MAX};
    for (size_t i = 0; i < sizeof absurd / sizeof absurd[0]; i++) {
        for (uint8_t type = 0; type < SWIM_EVENT_TYPES; type++) {
            flk_swim_apply(swim, sim.now, event(type, absurd[i], address), i % 2);
            flk_swim_apply(victim, sim.now, event(type, absurd[i], address), i % 2);
        }
        assert_int_equal(member->incarnation, known);
        assert_int_equal(member->state, SWIM_IS_ALIVE);
        assert_int_equal(victim->self->incarnation, known);
    }
    assert_true(swim->told_absurd);
    flk_swim_apply(swim, sim.now, event(SWIM_CONFIRM, limit, address), false);
    assert_int_equal(member->state, SWIM_IS_GONE);
    sim_run(&sim, 20000);
    assert_int_equal(member->state, SWIM_IS_ALIVE);
    assert_int_equal(member->incarnation, victim->self->incarnation);
    assert_true(member->incarnation > limit);
}

static void the_rules_of_events(void **state)
{
    (void)state;
    enum { GONE, ALIVE, SUSPECT };
    sim_init(&sim, 9);
    sim_start(&sim, 0, 1, 1, false);
    struct flk_swim *swim = sim.nodes[0].swim;
    char *other = sim.nodes[1].address;
    const struct flk_swim_member *member = flk_swim_find(swim, other, 1);
    static const struct {
        uint8_t type;
        uint64_t incarnation;
        int expected;
    } steps[] = {
        {SWIM_SUSPECT, 0, SUSPECT}, {SWIM_ALIVE, 0, SUSPECT}, {SWIM_ALIVE, 1, ALIVE},   {SWIM_SUSPECT, 0, ALIVE},
        {SWIM_SUSPECT, 1, SUSPECT}, {SWIM_JOIN, 5, ALIVE},    {SWIM_CONFIRM, 4, ALIVE}, {SWIM_LEAVE, 4, ALIVE},
        {SWIM_CONFIRM, 5, GONE},    {SWIM_ALIVE, 5, GONE},    {SWIM_SUSPECT, 9, GONE},  {SWIM_JOIN, 6, ALIVE},
        {SWIM_LEAVE, 6, GONE},      {SWIM_JOIN, 6, GONE},     {SWIM_ALIVE, 7, ALIVE},
    };
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        flk_swim_apply(swim, sim.now, event(steps[i].type, steps[i].incarnation, other), false);
        int found = member->state == SWIM_IS_GONE ? GONE : member->state == SWIM_IS_ALIVE ? ALIVE : SUSPECT;
        if (found != steps[i].expected || sim.nodes[0].sees[1] != (found != GONE))
            fail_msg("step %zu: state %d instead of %d", i, found, steps[i].expected);
    }
    /* A death by hearsay is a suspicion, a good-bye is not. */
    flk_swim_apply(swim, sim.now, event(SWIM_CONFIRM, 7, other), true);
    assert_int_equal(member->state, SWIM_IS_SUSPECT);
    flk_swim_apply(swim, sim.now, event(SWIM_LEAVE, 7, other), true);
    assert_int_equal(member->state, SWIM_IS_GONE);
}

/* Of what the size of the group has added to the time; never below what is configured. Each accuser counts once, and those
 * that nobody knows not at all. */
static void more_accusers_shorten_a_suspicion(void **state)
{
    (void)state;
    static const struct {
        uint64_t accuser;
        double expected; /* of the suspicion timeout */
    } steps[] = {{1, 2}, {1, 2}, {0, 2}, {2, 1.5}, {2, 1.5}, {3, 1.208}, {4, 1}, {5, 1}};
    sim_init(&sim, 13);
    sim_start(&sim, 0, 1, 1, false);
    struct flk_swim *swim = sim.nodes[0].swim;
    const struct flk_swim_member *member = flk_swim_find(swim, sim.nodes[1].address, 1);
    int64_t began = sim.now;
    swim->live = 1024;
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        struct flk_swim_event *accusation = event(SWIM_SUSPECT, 3, sim.nodes[1].address);
        accusation->accuser = steps[i].accuser;
        flk_swim_apply(swim, began + (int64_t)i * MS, accusation, false);
        double part = (double)(member->until - began) / (double)MS / sim.settings.suspicion_timeout_ms;
        assert_true(part > steps[i].expected - 0.001 && part < steps[i].expected + 0.001);
    }
    /* Of a newer incarnation all have to accuse it again. */
    flk_swim_apply(swim, began, event(SWIM_SUSPECT, 4, sim.nodes[1].address), false);
    assert_int_equal(member->accuser_count, 1);
    assert_int_equal(member->until, began + 2 * flk_swim_ns(sim.settings.suspicion_timeout_ms));
    assert_int_equal(swim->stats.suspicions, 2);
    swim->live = 2;
}

/* In a view whose changes others have counted we count on from there; what nobody can have counted is not believed. */
static void changes_are_counted(void **state)
{
    (void)state;
    sim_init(&sim, 14);
    settle(2);
    struct flk_swim *swim = sim.nodes[0].swim;
    uint64_t before = flk_swim_changes(swim);
    assert_int_equal(flk_swim_changes(sim.nodes[1].swim), before);
    flk_swim_learn_changes(swim, before + 10);
    flk_swim_learn_changes(swim, before + 5);
    flk_swim_learn_changes(swim, UINT64_MAX);
    assert_int_equal(flk_swim_changes(swim), before + 10);
    assert_true(flk_swim_set_value(swim, "key", "value"));
    assert_int_equal(flk_swim_changes(swim), before + 11);
    sim_run(&sim, 5000);
    assert_true(flk_swim_changes(sim.nodes[1].swim) >= before + 11);
    flk_swim_learn_changes(swim, SWIM_CHANGES_MAX);
    assert_true(flk_swim_set_value(swim, "key", "other"));
    assert_int_equal(flk_swim_changes(swim), SWIM_CHANGES_MAX);
}

static void how_often_news_are_told(void **state)
{
    (void)state;
    static const unsigned expected[] = {1, 1, 3, 6, 6, 9, 9, 9, 9, 12};
    for (size_t n = 0; n < 10; n++)
        assert_int_equal(flk_swim_send_limit(n), expected[n]);
}

/* Any sequence of any messages: the machine stays whole, and the group comes together when the noise ends. */
static void noise(void **state)
{
    (void)state;
    sim_init(&sim, 10);
    settle(5);
    for (int i = 0; i < 20000; i++) {
        struct flk_swim_event events[SWIM_EVENTS_MAX];
        uint64_t count = flk_random_below(&sim.random, SWIM_EVENTS_MAX + 1);
        for (uint64_t e = 0; e < count; e++)
            events[e] = (struct flk_swim_event){.type = (uint8_t)flk_random_below(&sim.random, SWIM_EVENT_TYPES),
                                                .id = 1,
                                                .incarnation = flk_random_below(&sim.random, 2000),
                                                .accuser = flk_random_below(&sim.random, 6),
                                                .former = sim.nodes[flk_random_below(&sim.random, 8)].address,
                                                .address = sim.nodes[flk_random_below(&sim.random, 8)].address};
        flk_swim_message_t message = {.type = (uint8_t)flk_random_below(&sim.random, SWIM_MESSAGE_TYPES),
                                      .from = sim.nodes[flk_random_below(&sim.random, 8)].address,
                                      .from_id = 1,
                                      .incarnation = flk_random_below(&sim.random, 2000),
                                      .sequence = flk_random_below(&sim.random, 100),
                                      .changes = flk_random_next(&sim.random) >> (i % 64),
                                      .target = i % 3 ? NULL : sim.nodes[flk_random_below(&sim.random, 8)].address,
                                      .target_id = 1,
                                      .events = events,
                                      .event_count = count};
        sim_post(&sim, 7, (int)flk_random_below(&sim.random, 5), &message);
        if (i % 100 == 0)
            sim_run(&sim, 10);
    }
    sim_run(&sim, 60e3);
    assert_true(sim_agree(&sim));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(a_death_is_noticed_in_time, end_sim),
        cmocka_unit_test_teardown(idle_groups_accuse_nobody, end_sim),
        cmocka_unit_test_teardown(everybody_is_probed_in_time, end_sim),
        cmocka_unit_test_teardown(light_loss, end_sim),
        cmocka_unit_test_teardown(moderate_loss, end_sim),
        cmocka_unit_test_teardown(heavy_loss, end_sim),
        cmocka_unit_test_teardown(a_paused_member_comes_back, end_sim),
        cmocka_unit_test_teardown(separated_groups_grow_together, end_sim),
        cmocka_unit_test_teardown(a_joiner_gets_to_know_everybody, end_sim),
        cmocka_unit_test_teardown(stale_names_are_not_spread, end_sim),
        cmocka_unit_test_teardown(many_join_at_once, end_sim),
        cmocka_unit_test_teardown(leaving_is_quick, end_sim),
        cmocka_unit_test_teardown(restarted_members_are_welcome, end_sim),
        cmocka_unit_test_teardown(half_of_the_group_dies, end_sim),
        cmocka_unit_test_teardown(a_member_moves, end_sim),
        cmocka_unit_test_teardown(a_move_under_loss, end_sim),
        cmocka_unit_test_teardown(an_invented_move, end_sim),
        cmocka_unit_test_teardown(metadata_reach_everybody, end_sim),
        cmocka_unit_test_teardown(what_is_said_of_us_is_refuted, end_sim),
        cmocka_unit_test_teardown(nobody_can_be_made_irrefutable, end_sim),
        cmocka_unit_test_teardown(the_rules_of_events, end_sim),
        cmocka_unit_test_teardown(more_accusers_shorten_a_suspicion, end_sim),
        cmocka_unit_test_teardown(changes_are_counted, end_sim),
        cmocka_unit_test(how_often_news_are_told),
        cmocka_unit_test_teardown(noise, end_sim),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
