/*
 * Groups in one process: providers with ids 1..N at the same address, each with its own view of the group, and conditions
 * on these views.
 */
#ifndef TESTS_FLOCK_GROUPS_H
#define TESTS_FLOCK_GROUPS_H

#include "tests/flock/support.h"

#include "tests/support/protocol.h"

#include "util/clock.h"

#define GROUP_MAX 64

static margo_instance_id mid;
static char address[256];
static flock_provider_t providers[GROUP_MAX + 1]; /* by id */

/* What callbacks of one provider have counted, by flock_update_t. */
struct counts {
    int members[4];
    int metadata;
    char last[300];
    uint16_t last_id;
};

static inline void count_member(void *arg, flock_update_t update, const char *member, uint16_t id)
{
    struct counts *counts = arg;
    snprintf(counts->last, sizeof counts->last, "%s", member);
    counts->last_id = id;
    counts->members[update]++;
}

static inline void count_metadata(void *arg, const char *key, const char *value)
{
    (void)key;
    (void)value;
    ((struct counts *)arg)->metadata++;
}

/* A provider whose initial view names the ids first..last at this address, and user metadata if `first` is 1. */
static inline flock_return_t register_member(uint16_t id, const char *config, uint16_t first, uint16_t last)
{
    flock_group_view_t view = FLOCK_GROUP_VIEW_INITIALIZER;
    struct flock_provider_args args = FLOCK_PROVIDER_ARGS_INIT;
    for (uint16_t i = first; i <= last; i++)
        flock_group_view_add_member(&view, address, i);
    flock_group_view_add_metadata(&view, "matthieu", "dorier");
    flock_group_view_add_metadata(&view, "shane", "snyder");
    args.initial_view = &view;
    return flock_provider_register(mid, id, config, &args, &providers[id]);
}

static inline void start_group(uint16_t count, const char *config)
{
    for (uint16_t id = 1; id <= count; id++)
        assert_ok(register_member(id, config, 1, count));
}

static inline void end_member(uint16_t id)
{
    if (providers[id])
        assert_ok(flock_provider_destroy(providers[id]));
    providers[id] = NULL;
}

/* In the order of ids, as users do. */
static inline void end_group(void)
{
    for (uint16_t id = 1; id <= GROUP_MAX; id++)
        end_member(id);
}

/* The view of one member, to be cleared, as a client sees it. */
static inline bool fetch_view(uint16_t id, flock_group_view_t *view)
{
    flock_client_t client;
    flock_group_handle_t handle;
    hg_addr_t self;
    assert_ok(flock_client_init(mid, ABT_POOL_NULL, &client));
    assert_int_equal(margo_addr_self(mid, &self), HG_SUCCESS);
    flock_return_t ret = flock_group_handle_create(client, self, id, FLOCK_MODE_INIT_UPDATE, &handle);
    if (ret == FLOCK_SUCCESS) {
        assert_ok(flock_group_get_view(handle, view));
        assert_ok(flock_group_handle_release(handle));
    }
    margo_addr_free(mid, self);
    assert_ok(flock_client_finalize(client));
    return ret == FLOCK_SUCCESS;
}

/* Whether a member sees exactly these ids ("1,2,5"). */
static inline bool sees(uint16_t id, const char *expected)
{
    char found[GROUP_MAX * 4] = "";
    flock_group_view_t view = FLOCK_GROUP_VIEW_INITIALIZER;
    fetch_view(id, &view);
    for (uint64_t i = 0; i < view.members.size; i++)
        snprintf(found + strlen(found), sizeof found - strlen(found), "%s%u", i ? "," : "",
                 view.members.data[i].provider_id);
    flock_group_view_clear(&view);
    return strcmp(found, expected) == 0;
}

static inline bool all_see(const char *expected)
{
    bool all = true;
    for (uint16_t id = 1; id <= GROUP_MAX && all; id++)
        all = !providers[id] || sees(id, expected);
    return all;
}

#define wait_for(condition, limit_ms)                                                                                  \
    do {                                                                                                               \
        int64_t until_ = dango_deadline_ns(limit_ms);                                                                  \
        while (!(condition)) {                                                                                         \
            if (dango_clock_ns() > until_)                                                                             \
                fail_msg("after %d ms still not: %s", (int)(limit_ms), #condition);                                    \
            margo_thread_sleep(mid, 5);                                                                                \
        }                                                                                                              \
    } while (0)

/* Holds all the time. */
#define stays(condition, duration_ms)                                                                                  \
    do {                                                                                                               \
        int64_t until_ = dango_deadline_ns(duration_ms);                                                               \
        while (dango_clock_ns() < until_) {                                                                            \
            if (!(condition))                                                                                          \
                fail_msg("not any more: %s", #condition);                                                              \
            margo_thread_sleep(mid, 20);                                                                               \
        }                                                                                                              \
    } while (0)

static inline int start_margo(void **state)
{
    (void)state;
    mid = margo_init(test_protocol(), MARGO_SERVER_MODE, 0, 0);
    if (!mid)
        return -1;
    own_address(mid, address, sizeof address);
    return 0;
}

static inline int stop_margo(void **state)
{
    (void)state;
    margo_finalize(mid);
    return 0;
}

static inline int end_group_teardown(void **state)
{
    (void)state;
    end_group();
    return 0;
}

#endif
