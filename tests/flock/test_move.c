/*
 * A gateway that changes its address: one MOVED at every member, at the mover, and at subscribed clients, with both dynamic
 * backends, for the primary as for others. Over tcp, where this process has more than one address.
 */
#include "tests/flock/groups.h"

#include "flock/internal.h"

#include <unistd.h>

#define CENTRALIZED                                                                                                    \
    "\"centralized\",\"config\":{\"ping_timeout_ms\":400,\"ping_interval_ms\":50,\"ping_max_num_timeouts\":2}"
#define SWIM                                                                                                           \
    "\"swim\",\"config\":{\"protocol_period_ms\":60,\"ping_timeout_ms\":40,\"ping_req_timeout_ms\":60,"                \
    "\"suspicion_timeout_ms\":300}"

static char directory[] = "/tmp/flock-move-XXXXXX";
static char path[64], centralized[512], swim[512], elsewhere[256];

/* ---- a gateway of two addresses ---- */

static uint16_t moved_id; /* the provider that is published under the second one; 0: none */

struct gateway {
    uint16_t id;
};

static flock_return_t gateway_init(flock_gateway_init_args_t *args, void **context)
{
    struct gateway *gateway = malloc(sizeof *gateway);
    gateway->id = args->provider_id;
    *context = gateway;
    return FLOCK_SUCCESS;
}

static flock_return_t gateway_destroy(void *context)
{
    free(context);
    return FLOCK_SUCCESS;
}

static flock_return_t gateway_config(void *context, void (*fn)(void *, const struct json_object *), void *uargs)
{
    (void)context;
    fn(uargs, NULL);
    return FLOCK_SUCCESS;
}

static const char *gateway_public(void *context)
{
    return ((struct gateway *)context)->id == moved_id ? elsewhere : address;
}

static const char *gateway_local(void *context)
{
    (void)context;
    return address;
}

static flock_gateway_impl gateway = {.name = "moving",
                                     .init_gateway = gateway_init,
                                     .destroy_gateway = gateway_destroy,
                                     .get_config = gateway_config,
                                     .get_public_address = gateway_public,
                                     .get_local_address = gateway_local};

/* ---- the tests ---- */

/* Whether every member sees these many, and the mover at the second address only. */
static bool all_see_it_elsewhere(size_t count)
{
    bool all = true;
    for (uint16_t id = 1; id <= GROUP_MAX && all; id++) {
        flock_group_view_t view = FLOCK_GROUP_VIEW_INITIALIZER;
        if (!providers[id] || id == moved_id) /* whom clients find by its new address */
            continue;
        fetch_view(id, &view);
        all = view.members.size == count && flock_group_view_find_member(&view, elsewhere, moved_id) &&
              !flock_group_view_find_member(&view, address, moved_id);
        flock_group_view_clear(&view);
    }
    return all;
}

static bool all_have_the_key(void)
{
    bool all = true;
    for (uint16_t id = 1; id <= 3 && all; id++) {
        flock_group_view_t view = FLOCK_GROUP_VIEW_INITIALIZER;
        all = fetch_view(id, &view) && flock_group_view_find_metadata(&view, "key");
        flock_group_view_clear(&view);
    }
    return all;
}

static bool file_has_it_elsewhere(void)
{
    flock_group_view_t view = FLOCK_GROUP_VIEW_INITIALIZER;
    bool has = flock_group_view_from_file(path, &view) == FLOCK_SUCCESS &&
               flock_group_view_find_member(&view, elsewhere, moved_id);
    flock_group_view_clear(&view);
    return has;
}

static void check_counts(const struct counts *counts)
{
    assert_int_equal(counts->members[FLOCK_MEMBER_MOVED], 1);
    assert_int_equal(counts->members[FLOCK_MEMBER_JOINED] + counts->members[FLOCK_MEMBER_LEFT] +
                         counts->members[FLOCK_MEMBER_DIED],
                     0);
    assert_string_equal(counts->last, elsewhere);
    assert_int_equal(counts->last_id, moved_id);
}

static void move(const char *config, uint16_t id)
{
    static struct counts counts[4], client_counts; /* live as long as the providers */
    flock_client_t client;
    flock_group_handle_t handle;
    hg_addr_t self;
    memset(counts, 0, sizeof counts);
    memset(&client_counts, 0, sizeof client_counts);
    moved_id = 0;
    start_group(3, config);
    for (uint16_t i = 1; i <= 3; i++)
        assert_ok(flock_provider_add_update_callbacks(providers[i], count_member, count_metadata, &counts[i]));
    assert_ok(flock_client_init(mid, ABT_POOL_NULL, &client));
    margo_addr_self(mid, &self);
    assert_ok(flock_group_handle_create(client, self, id == 3 ? 2 : 3, 0, &handle));
    assert_ok(flock_group_subscribe(handle, count_member, count_metadata, &client_counts));
    assert_ok(flock_group_metadata_set(handle, "key", "value"));
    wait_for(all_have_the_key(), 3000); /* each is in step with the others: none will ask for a whole view */
    assert_ok(flock_provider_update_address(providers[id])); /* nothing has changed */
    assert_true(all_see("1,2,3"));
    moved_id = id;
    assert_ok(flock_provider_update_address(providers[id]));
    wait_for(all_see_it_elsewhere(3) && file_has_it_elsewhere(), 5000);
    wait_for(client_counts.members[FLOCK_MEMBER_MOVED] == 1, 5000);
    stays(all_see_it_elsewhere(3), 1000);
    for (uint16_t i = 1; i <= 3; i++)
        check_counts(&counts[i]);
    check_counts(&client_counts);
    char *text = flock_provider_get_statistics(providers[id]);
    assert_contains(text, elsewhere);
    free(text);
    assert_ok(flock_group_handle_release(handle));
    margo_addr_free(mid, self);
    assert_ok(flock_client_finalize(client));
    /* It leaves under its new name. */
    end_member(id);
    uint16_t other = id == 2 ? 3 : 2;
    wait_for(counts[other].members[FLOCK_MEMBER_LEFT] == 1, 3000);
    assert_string_equal(counts[other].last, elsewhere);
    assert_int_equal(counts[other].members[FLOCK_MEMBER_DIED], 0);
}

static void a_secondary_moves(void **state)
{
    (void)state;
    move(centralized, 2);
}

static void the_primary_moves(void **state)
{
    (void)state;
    move(centralized, 1);
}

static void a_swim_member_moves(void **state)
{
    (void)state;
    move(swim, 2);
}

static void the_writer_of_the_file_moves(void **state)
{
    (void)state;
    move(swim, 1);
}

static void what_cannot_move(void **state)
{
    (void)state;
    moved_id = 0;
    assert_ret(flock_provider_update_address(NULL), FLOCK_ERR_INVALID_ARGS);
    assert_ok(register_member(1, "{\"group\":{\"type\":\"static\"},\"gateway\":{\"type\":\"moving\"}}", 1, 1));
    assert_ok(flock_provider_update_address(providers[1]));
    moved_id = 1;
    assert_ret(flock_provider_update_address(providers[1]), FLOCK_ERR_OP_UNSUPPORTED);
    char *text = flock_provider_get_statistics(providers[1]);
    assert_contains(text, address);
    free(text);
    end_group();
    /* The primary is gone, and has not been replaced yet. */
    moved_id = 0;
    assert_ok(register_member(2, "{\"gateway\":{\"type\":\"moving\"},\"group\":{\"type\":\"centralized\"}}", 1, 2));
    moved_id = 2;
    assert_ret(flock_provider_update_address(providers[2]), FLOCK_ERR_FROM_MERCURY);
    assert_true(sees(2, "1,2"));
}

static int end(void **state)
{
    end_group_teardown(state);
    unlink(path);
    return 0;
}

/* The name is another address than the numbers. */
static int init(void **state)
{
    (void)state;
    mid = margo_init("tcp://127.0.0.1:0", MARGO_SERVER_MODE, 0, 0);
    if (!mid || !mkdtemp(directory))
        return -1;
    own_address(mid, address, sizeof address);
    snprintf(elsewhere, sizeof elsewhere, "tcp://localhost%s", strrchr(address, ':'));
    snprintf(path, sizeof path, "%s/group.json", directory);
    static const char config[] = "{\"file\":\"%s\",\"gateway\":{\"type\":\"moving\"},\"group\":{\"type\":%s}}";
    snprintf(centralized, sizeof centralized, config, path, CENTRALIZED);
    snprintf(swim, sizeof swim, config, path, SWIM);
    return flock_register_gateway(&gateway) == FLOCK_SUCCESS ? 0 : -1;
}

static int fini(void **state)
{
    stop_margo(state);
    return rmdir(directory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(a_secondary_moves, end),
        cmocka_unit_test_teardown(the_primary_moves, end),
        cmocka_unit_test_teardown(a_swim_member_moves, end),
        cmocka_unit_test_teardown(the_writer_of_the_file_moves, end),
        cmocka_unit_test_teardown(what_cannot_move, end),
    };
    return cmocka_run_group_tests(tests, init, fini);
}
