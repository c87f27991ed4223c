/*
 * What every backend owes to its program: a group is left when margo is finalised, whoever has forgotten to; work is done
 * in the pool that it was given; callbacks may ask and change what they like; addresses are as long as they are.
 */
#include "tests/flock/groups.h"

#include "flock/backends/backend.h"

#include <pthread.h>

#define CENTRALIZED                                                                                                    \
    "{\"group\":{\"type\":\"centralized\",\"config\":{\"ping_timeout_ms\":200,\"ping_interval_ms\":50%s}}}"
#define SWIM                                                                                                           \
    "{\"group\":{\"type\":\"swim\",\"config\":{\"protocol_period_ms\":60,\"ping_timeout_ms\":40,"                      \
    "\"ping_req_timeout_ms\":60,\"suspicion_timeout_ms\":300}}}"

/* What a joiner has to know of the primary, the provider 1. */
static const char *joiner_config(const char *type)
{
    static char primary[512], config[1024];
    if (strcmp(type, "swim") == 0)
        return SWIM;
    snprintf(primary, sizeof primary, ",\"primary_address\":\"%s\",\"primary_provider_id\":1", address);
    snprintf(config, sizeof config, CENTRALIZED, primary);
    return config;
}

static flock_provider_t join(margo_instance_id where, uint16_t id, const char *type, ABT_pool pool)
{
    flock_group_view_t view = FLOCK_GROUP_VIEW_INITIALIZER;
    struct flock_provider_args args = FLOCK_PROVIDER_ARGS_INIT;
    flock_provider_t provider;
    flock_group_view_add_member(&view, address, 1);
    args.initial_view = &view;
    args.pool = pool;
    assert_ok(flock_provider_register(where, id, joiner_config(type), &args, &provider));
    return provider;
}

static const char *const types[] = {"centralized", "swim"};

/* ---- the end of margo ---- */

static void who_forgets_to_destroy_leaves_all_the_same(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        static struct counts counts;
        memset(&counts, 0, sizeof counts);
        assert_ok(register_member(1, joiner_config(types[i]), 1, 1));
        assert_ok(flock_provider_add_update_callbacks(providers[1], count_member, count_metadata, &counts));
        margo_instance_id other = margo_init(test_protocol(), MARGO_SERVER_MODE, 1, 0);
        assert_non_null(other);
        join(other, 7, types[i], ABT_POOL_NULL);
        wait_for(counts.members[FLOCK_MEMBER_JOINED] == 1, 3000);
        margo_finalize(other);
        wait_for(counts.members[FLOCK_MEMBER_LEFT] == 1, 3000);
        assert_int_equal(counts.members[FLOCK_MEMBER_DIED], 0);
        assert_int_equal(counts.last_id, 7);
        end_group();
    }
}

/* ---- pools ---- */

struct place {
    ABT_pool expected;
    int right, wrong;
};

static void note_pool(void *arg, flock_update_t update, const char *member, uint16_t id)
{
    struct place *place = arg;
    ABT_pool pool = ABT_POOL_NULL;
    (void)update;
    (void)member;
    (void)id;
    ABT_self_get_last_pool(&pool);
    __atomic_add_fetch(pool == place->expected ? &place->right : &place->wrong, 1, __ATOMIC_RELAXED);
}

static void work_is_done_in_the_pool_of_the_provider(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        static struct place place;
        ABT_pool pool;
        ABT_xstream xstream;
        assert_int_equal(ABT_pool_create_basic(ABT_POOL_FIFO_WAIT, ABT_POOL_ACCESS_MPMC, ABT_TRUE, &pool), ABT_SUCCESS);
        assert_int_equal(ABT_xstream_create_basic(ABT_SCHED_BASIC_WAIT, 1, &pool, ABT_SCHED_CONFIG_NULL, &xstream),
                         ABT_SUCCESS);
        place = (struct place){.expected = pool};
        assert_ok(register_member(1, joiner_config(types[i]), 1, 1));
        providers[2] = join(mid, 2, types[i], pool);
        assert_ok(flock_provider_add_update_callbacks(providers[2], note_pool, NULL, &place));
        providers[3] = join(mid, 3, types[i], ABT_POOL_NULL);
        wait_for(__atomic_load_n(&place.right, __ATOMIC_RELAXED) == 1, 3000);
        end_member(3);
        wait_for(__atomic_load_n(&place.right, __ATOMIC_RELAXED) == 2, 3000);
        end_group();
        assert_int_equal(__atomic_load_n(&place.wrong, __ATOMIC_RELAXED), 0);
        ABT_xstream_join(xstream);
        ABT_xstream_free(&xstream);
    }
}

/* ---- callbacks ---- */

struct curious {
    int members, asked;
    struct counts counts;
};

/* Asks its own provider by an RPC, and changes the list of callbacks. */
static void ask(void *arg, flock_update_t update, const char *member, uint16_t id)
{
    struct curious *curious = arg;
    flock_group_view_t view = FLOCK_GROUP_VIEW_INITIALIZER;
    (void)update;
    (void)member;
    (void)id;
    assert_true(fetch_view(2, &view));
    curious->members = (int)view.members.size;
    flock_group_view_clear(&view);
    if (curious->asked++ == 0)
        assert_ok(flock_provider_add_update_callbacks(providers[2], count_member, count_metadata, &curious->counts));
}

static void callbacks_may_ask_for_the_view(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        static struct curious curious;
        memset(&curious, 0, sizeof curious);
        assert_ok(register_member(1, joiner_config(types[i]), 1, 1));
        providers[2] = join(mid, 2, types[i], ABT_POOL_NULL);
        assert_ok(flock_provider_add_update_callbacks(providers[2], ask, NULL, &curious));
        providers[3] = join(mid, 3, types[i], ABT_POOL_NULL);
        wait_for(curious.asked == 1, 3000);
        assert_int_equal(curious.members, 3);
        end_member(3);
        wait_for(curious.asked == 2 && curious.counts.members[FLOCK_MEMBER_LEFT] == 1, 3000);
        assert_int_equal(curious.members, 2);
        /* At the end there is nobody to be asked any more. */
        assert_ok(flock_provider_remove_update_callbacks(providers[2], &curious));
        end_group();
    }
}

/* ---- clients that subscribe when they are made ---- */

static void a_mode_that_subscribes(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        flock_client_t client;
        flock_group_handle_t handle;
        hg_addr_t self;
        assert_ok(register_member(1, joiner_config(types[i]), 1, 1));
        assert_ok(flock_client_init(mid, ABT_POOL_NULL, &client));
        margo_addr_self(mid, &self);
        assert_ok(flock_group_handle_create(client, self, 1, FLOCK_MODE_INIT_UPDATE | FLOCK_MODE_SUBSCRIBE, &handle));
        providers[2] = join(mid, 2, types[i], ABT_POOL_NULL);
        flock_group_view_t view = FLOCK_GROUP_VIEW_INITIALIZER;
        wait_for((flock_group_get_view(handle, &view), view.members.size == 2), 3000);
        /* The copy is the caller's to change, whatever its capacity. */
        for (uint16_t id = 10; id < 50; id++)
            assert_non_null(flock_group_view_add_member(&view, address, id));
        flock_group_view_clear(&view);
        assert_ok(flock_group_handle_release(handle));
        margo_addr_free(mid, self);
        assert_ok(flock_client_finalize(client));
        end_group();
    }
}

/* ---- strange members of an initial view ---- */

/* No address at all, and a very long one that nobody has: they are members until it is found out. */
static void members_that_cannot_be_reached_do_not_matter(void **state)
{
    (void)state;
    char strange[1001] = "xx://";
    memset(strange + 5, 'y', sizeof strange - 6);
    for (int i = 0; i < 2; i++) {
        flock_group_view_t view = FLOCK_GROUP_VIEW_INITIALIZER;
        struct flock_provider_args args = FLOCK_PROVIDER_ARGS_INIT;
        args.initial_view = &view;
        for (uint16_t id = 1; id <= 2; id++) {
            for (uint16_t k = 1; k <= 2; k++)
                flock_group_view_add_member(&view, address, k);
            flock_group_view_add_member(&view, strange, 1);
            assert_ok(flock_provider_register(mid, id, joiner_config(types[i]), &args, &providers[id]));
        }
        assert_true(fetch_view(1, &view));
        assert_non_null(flock_group_view_find_member(&view, strange, 1));
        flock_group_view_clear(&view);
        wait_for(all_see("1,2"), 5000);
        end_group();
    }
}

/* ---- registries ---- */

#define THREADS 4
#define NAMES   12

static flock_backend_impl impls[THREADS * NAMES];
static char names[THREADS * NAMES][16];

static void *register_some(void *arg)
{
    size_t thread = (size_t)(uintptr_t)arg;
    for (size_t i = 0; i < NAMES; i++) {
        /* Half of them are registered by two threads. */
        size_t entry = (i % 2 ? thread : thread / 2 * 2) * NAMES + i;
        assert_ok(flock_register_backend(&impls[entry]));
        assert_ptr_equal(flk_backend_find(names[entry], NULL), &impls[entry]);
    }
    return NULL;
}

static void backends_are_registered_from_several_threads(void **state)
{
    (void)state;
    pthread_t threads[THREADS];
    for (size_t i = 0; i < THREADS * NAMES; i++) {
        snprintf(names[i], sizeof names[i], "backend-%zu", i);
        impls[i] = flk_static_backend;
        impls[i].name = names[i];
    }
    for (size_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, register_some, (void *)(uintptr_t)i), 0);
    for (size_t i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    /* The table has an end. */
    flock_return_t ret = FLOCK_SUCCESS;
    static char more[64][16];
    static flock_backend_impl others[64];
    for (size_t i = 0; i < 64 && ret == FLOCK_SUCCESS; i++) {
        snprintf(more[i], sizeof more[i], "more-%zu", i);
        others[i] = flk_static_backend;
        others[i].name = more[i];
        ret = flock_register_backend(&others[i]);
    }
    assert_int_equal(ret, FLOCK_ERR_ALLOCATION);
}

/* Two that start together do not do the same things. */
static void random_numbers_differ(void **state)
{
    (void)state;
    uint64_t seeds[100];
    for (size_t i = 0; i < 100; i++) {
        seeds[i] = flk_random_seed(seeds);
        assert_int_not_equal(seeds[i], 0);
        for (size_t k = 0; k < i; k++)
            assert_int_not_equal(seeds[i], seeds[k]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(who_forgets_to_destroy_leaves_all_the_same, end_group_teardown),
        cmocka_unit_test_teardown(work_is_done_in_the_pool_of_the_provider, end_group_teardown),
        cmocka_unit_test_teardown(callbacks_may_ask_for_the_view, end_group_teardown),
        cmocka_unit_test_teardown(a_mode_that_subscribes, end_group_teardown),
        cmocka_unit_test_teardown(members_that_cannot_be_reached_do_not_matter, end_group_teardown),
        cmocka_unit_test(backends_are_registered_from_several_threads),
        cmocka_unit_test(random_numbers_differ),
    };
    return cmocka_run_group_tests(tests, start_margo, stop_margo);
}
