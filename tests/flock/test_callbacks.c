/*
 * Updates: a backend of the test's own reports changes; callbacks hear of them in order, may add and remove callbacks
 * while they run, and are over when `remove` returns. The group file follows. A gateway of the test's own publishes
 * another address.
 */
#include "tests/flock/support.h"
#include "tests/support/protocol.h"

#include "util/json.h"

#include <pthread.h>
#include <unistd.h>

static margo_instance_id mid;
static char address[256];

/* ---- a backend that changes when the test says so ---- */

static struct {
    flock_backend_init_args_t args;
    flock_group_view_t view;
    bool early; /* report a member during the initialisation */
} group;

static void member_joins(const char *member, uint16_t id)
{
    FLOCK_GROUP_VIEW_LOCK(&group.view);
    flock_group_view_add_member(&group.view, member, id);
    FLOCK_GROUP_VIEW_UNLOCK(&group.view);
    group.args.member_update_callback(group.args.callback_context, FLOCK_MEMBER_JOINED, member, id);
}

static flock_return_t group_init(flock_backend_init_args_t *args, void **context)
{
    FLOCK_GROUP_VIEW_MOVE(&args->initial_view, &group.view);
    group.args = *args;
    *context = &group;
    if (group.early)
        member_joins("zz/early", 1);
    return FLOCK_SUCCESS;
}

static flock_return_t group_destroy(void *context)
{
    (void)context;
    flock_group_view_clear(&group.view);
    return FLOCK_SUCCESS;
}

static flock_return_t group_get_config(void *context, void (*fn)(void *, const struct json_object *), void *uargs)
{
    (void)context;
    struct json_object *config = json_object_new_object();
    json_object_object_add(config, "mine", json_object_new_boolean(true));
    fn(uargs, config);
    json_object_put(config);
    return FLOCK_SUCCESS;
}

static flock_return_t group_get_view(void *context, void (*fn)(void *, const flock_group_view_t *), void *uargs)
{
    (void)context;
    fn(uargs, &group.view);
    return FLOCK_SUCCESS;
}

static flock_backend_impl changing = {.name = "changing",
                                      .init_group = group_init,
                                      .destroy_group = group_destroy,
                                      .get_config = group_get_config,
                                      .get_view = group_get_view};

/* ---- callbacks that write down what they hear ---- */

struct listener {
    char heard[256];
    flock_provider_t provider;
    void *removes; /* removed when something is heard */
};

static void hear_member(void *context, flock_update_t update, const char *member, uint16_t id)
{
    struct listener *l = context;
    sprintf(l->heard + strlen(l->heard), "%d:%s:%u ", update, member, id);
    if (l->removes)
        assert_ok(flock_provider_remove_update_callbacks(l->provider, l->removes));
    l->removes = NULL;
}

static void hear_metadata(void *context, const char *key, const char *value)
{
    struct listener *l = context;
    sprintf(l->heard + strlen(l->heard), "%s=%s ", key, value);
}

static flock_provider_t start(const char *config)
{
    flock_provider_t provider;
    assert_ok(flock_provider_register(mid, 1, config, NULL, &provider));
    return provider;
}

static void listeners_hear_in_order(void **state)
{
    (void)state;
    struct listener a = {.provider = NULL}, b = {.provider = NULL};
    flock_provider_t provider = start("{\"group\":{\"type\":\"changing\"}}");
    assert_ret(flock_provider_remove_update_callbacks(provider, &a), FLOCK_ERR_INVALID_ARGS);
    assert_ok(flock_provider_add_update_callbacks(provider, hear_member, hear_metadata, &a));
    assert_ok(flock_provider_add_update_callbacks(provider, NULL, hear_metadata, &b));
    member_joins("x", 7);
    group.args.metadata_update_callback(group.args.callback_context, "k", "v");
    assert_string_equal(a.heard, "0:x:7 k=v ");
    assert_string_equal(b.heard, "k=v ");
    /* The same context again replaces the functions. */
    assert_ok(flock_provider_add_update_callbacks(provider, NULL, NULL, &a));
    member_joins("y", 7);
    assert_string_equal(a.heard, "0:x:7 k=v ");
    assert_ok(flock_provider_remove_update_callbacks(provider, &a));
    assert_ret(flock_provider_remove_update_callbacks(provider, &a), FLOCK_ERR_INVALID_ARGS);
    assert_ok(flock_provider_destroy(provider));
}

static void listeners_may_remove_themselves_and_others(void **state)
{
    (void)state;
    flock_provider_t provider = start("{\"group\":{\"type\":\"changing\"}}");
    struct listener a = {"", provider, NULL}, b = {"", provider, NULL}, c = {"", provider, NULL};
    a.removes = &a;
    b.removes = &c;
    assert_ok(flock_provider_add_update_callbacks(provider, hear_member, NULL, &a));
    assert_ok(flock_provider_add_update_callbacks(provider, hear_member, NULL, &b));
    assert_ok(flock_provider_add_update_callbacks(provider, hear_member, NULL, &c));
    member_joins("x", 1);
    member_joins("y", 1);
    assert_string_equal(a.heard, "0:x:1 ");
    assert_string_equal(b.heard, "0:x:1 0:y:1 ");
    assert_string_equal(c.heard, "");
    assert_ok(flock_provider_destroy(provider));
}

/* ---- remove waits ---- */

struct slow {
    int entered, leave, over;
};

static void be_slow(void *context, flock_update_t update, const char *member, uint16_t id)
{
    struct slow *slow = context;
    (void)update, (void)member, (void)id;
    __atomic_store_n(&slow->entered, 1, __ATOMIC_RELEASE);
    while (!__atomic_load_n(&slow->leave, __ATOMIC_ACQUIRE))
        ABT_thread_yield();
    __atomic_store_n(&slow->over, 1, __ATOMIC_RELEASE);
}

static void join_in_ult(void *arg)
{
    (void)arg;
    member_joins("slow", 1);
}

static void leave_in_ult(void *arg)
{
    __atomic_store_n(&((struct slow *)arg)->leave, 1, __ATOMIC_RELEASE);
}

static void remove_waits_for_a_running_callback(void **state)
{
    (void)state;
    struct slow slow = {0};
    ABT_thread joiner, leaver;
    ABT_pool pool;
    flock_provider_t provider = start("{\"group\":{\"type\":\"changing\"}}");
    margo_get_handler_pool(mid, &pool);
    assert_ok(flock_provider_add_update_callbacks(provider, be_slow, NULL, &slow));
    assert_int_equal(ABT_thread_create(pool, join_in_ult, NULL, ABT_THREAD_ATTR_NULL, &joiner), 0);
    while (!__atomic_load_n(&slow.entered, __ATOMIC_ACQUIRE))
        ABT_thread_yield();
    assert_int_equal(ABT_thread_create(pool, leave_in_ult, &slow, ABT_THREAD_ATTR_NULL, &leaver), 0);
    assert_ok(flock_provider_remove_update_callbacks(provider, &slow));
    assert_true(__atomic_load_n(&slow.over, __ATOMIC_ACQUIRE));
    ABT_thread_free(&joiner);
    ABT_thread_free(&leaver);
    assert_ok(flock_provider_destroy(provider));
}

/* ---- the file and the clients see changes ---- */

static void changes_reach_file_and_clients(void **state)
{
    (void)state;
    char path[] = "/tmp/flock-changes-XXXXXX", config[128];
    flock_group_view_t view = FLOCK_GROUP_VIEW_INITIALIZER;
    flock_client_t client;
    flock_group_handle_t handle;
    hg_addr_t self;
    close(mkstemp(path));
    snprintf(config, sizeof config, "{\"group\":{\"type\":\"changing\"},\"file\":\"%s\"}", path);
    group.early = true;
    flock_provider_t provider = start(config);
    group.early = false;
    assert_ok(flock_group_view_init_from_file(path, &view));
    assert_int_equal(view.members.size, 2);
    assert_ok(flock_client_init(mid, ABT_POOL_NULL, &client));
    margo_addr_self(mid, &self);
    assert_ok(flock_group_handle_create(client, self, 1, FLOCK_MODE_INIT_UPDATE, &handle));
    member_joins("zz/late", 1);
    assert_ok(flock_group_view_init_from_file(path, &view));
    assert_non_null(flock_group_view_find_member(&view, "zz/late", 1));
    assert_ok(flock_group_get_view(handle, &view));
    assert_null(flock_group_view_find_member(&view, "zz/late", 1));
    assert_ok(flock_group_update_view(handle, NULL));
    assert_ok(flock_group_get_view(handle, &view));
    assert_non_null(flock_group_view_find_member(&view, "zz/late", 1));
    /* A change that the digest does not show: both names have the same hash. */
    member_joins("zz/Ca", 1);
    assert_ok(flock_group_update_view(handle, NULL));
    uint64_t digest = group.view.digest;
    flock_group_view_remove_member(&group.view, flock_group_view_find_member(&group.view, "zz/Ca", 1));
    member_joins("zz/D@", 1);
    assert_int_equal(group.view.digest, digest);
    assert_ok(flock_group_update_view(handle, NULL));
    assert_ok(flock_group_get_view(handle, &view));
    assert_non_null(flock_group_view_find_member(&view, "zz/D@", 1));
    assert_null(flock_group_view_find_member(&view, "zz/Ca", 1));
    /* Addresses are of any length. */
    char address_of_many[1001];
    memset(address_of_many, 'z', sizeof address_of_many - 1);
    address_of_many[1000] = '\0';
    member_joins(address_of_many, 65535);
    assert_ok(flock_group_update_view(handle, NULL));
    assert_ok(flock_group_get_view(handle, &view));
    assert_non_null(flock_group_view_find_member(&view, address_of_many, 65535));
    assert_ok(flock_group_view_init_from_file(path, &view));
    assert_non_null(flock_group_view_find_member(&view, address_of_many, 65535));
    flock_group_view_clear(&view);
    assert_ok(flock_group_handle_release(handle));
    assert_ok(flock_client_finalize(client));
    margo_addr_free(mid, self);
    assert_ok(flock_provider_destroy(provider));
    unlink(path);
}

/* ---- a subscriber that updates its handle itself ---- */

struct subscriber {
    flock_group_handle_t handle;
    int calls; /* atomic */
};

/* The second change is fetched here, so that the member that is asked has nothing new to say afterwards. */
static void change_and_update(void *arg, flock_update_t update, const char *member, uint16_t id)
{
    struct subscriber *subscriber = arg;
    (void)member;
    (void)id;
    assert_int_equal(update, FLOCK_MEMBER_JOINED);
    if (__atomic_load_n(&subscriber->calls, __ATOMIC_ACQUIRE) == 0) {
        member_joins("zz/second", 1);
        assert_ok(flock_group_update_view(subscriber->handle, NULL));
    }
    __atomic_add_fetch(&subscriber->calls, 1, __ATOMIC_ACQ_REL);
}

static void what_an_update_fetches_is_reported_at_once(void **state)
{
    (void)state;
    struct subscriber subscriber = {.calls = 0};
    flock_client_t client;
    hg_addr_t self;
    flock_provider_t provider = start("{\"group\":{\"type\":\"changing\"}}");
    assert_ok(flock_client_init(mid, ABT_POOL_NULL, &client));
    margo_addr_self(mid, &self);
    assert_ok(flock_group_handle_create(client, self, 1, FLOCK_MODE_INIT_UPDATE, &subscriber.handle));
    assert_ok(flock_group_subscribe(subscriber.handle, change_and_update, NULL, &subscriber));
    member_joins("zz/first", 1);
    for (int i = 0; i < 300 && __atomic_load_n(&subscriber.calls, __ATOMIC_ACQUIRE) < 2; i++)
        margo_thread_sleep(mid, 10);
    assert_int_equal(__atomic_load_n(&subscriber.calls, __ATOMIC_ACQUIRE), 2);
    assert_ok(flock_group_handle_release(subscriber.handle));
    assert_ok(flock_client_finalize(client));
    margo_addr_free(mid, self);
    assert_ok(flock_provider_destroy(provider));
}

/* ---- a gateway ---- */

static flock_return_t gateway_init(flock_gateway_init_args_t *args, void **context)
{
    (void)args;
    *context = address;
    return FLOCK_SUCCESS;
}

static flock_return_t gateway_destroy(void *context)
{
    (void)context;
    return FLOCK_SUCCESS;
}

static const char *gateway_public(void *context)
{
    (void)context;
    return "tcp://public:1";
}

static const char *gateway_local(void *context)
{
    return context;
}

static flock_gateway_impl outside = {.name = "outside",
                                     .init_gateway = gateway_init,
                                     .destroy_gateway = gateway_destroy,
                                     .get_config = group_get_config,
                                     .get_public_address = gateway_public,
                                     .get_local_address = gateway_local};

static void a_gateway_changes_the_published_address(void **state)
{
    (void)state;
    flock_group_view_t view = FLOCK_GROUP_VIEW_INITIALIZER;
    struct flock_provider_args args = FLOCK_PROVIDER_ARGS_INIT;
    flock_provider_t provider;
    flock_group_view_add_member(&view, address, 1);
    flock_group_view_add_member(&view, address, 2);
    args.initial_view = &view;
    args.gateway = &outside;
    assert_ok(flock_provider_register(mid, 1, "{\"group\":{\"type\":\"changing\"}}", &args, &provider));
    assert_string_equal(group.args.self_addr_str, "tcp://public:1");
    assert_false(group.args.join);
    assert_non_null(flock_group_view_find_member(&group.view, "tcp://public:1", 1));
    assert_non_null(flock_group_view_find_member(&group.view, address, 2));
    assert_int_equal(group.view.members.size, 2);
    flock_group_view_add_member(&view, "tcp://public:1", 1);
    flock_group_view_add_member(&view, address, 2);
    assert_int_equal(group.view.digest, view.digest);
    assert_string_equal(group.view.members.data[0].address, view.members.data[0].address);
    flock_group_view_clear(&view);
    char *config = flock_provider_get_config(provider);
    assert_contains(config, "{\"gateway\":{\"type\":\"outside\",\"config\":{\"mine\":true}}");
    free(config);
    assert_ok(flock_provider_destroy(provider));
}

static int init(void **state)
{
    (void)state;
    mid = margo_init(test_protocol(), MARGO_SERVER_MODE, 0, 0);
    own_address(mid, address, sizeof address);
    assert_ok(flock_register_backend(&changing));
    assert_ok(flock_register_backend(&changing));
    assert_ok(flock_register_gateway(&outside));
    assert_ret(flock_register_gateway(NULL), FLOCK_ERR_INVALID_ARGS);
    return 0;
}

static int fini(void **state)
{
    (void)state;
    margo_finalize(mid);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(listeners_hear_in_order),
        cmocka_unit_test(listeners_may_remove_themselves_and_others),
        cmocka_unit_test(remove_waits_for_a_running_callback),
        cmocka_unit_test(changes_reach_file_and_clients),
        cmocka_unit_test(what_an_update_fetches_is_reported_at_once),
        cmocka_unit_test(a_gateway_changes_the_published_address),
    };
    return cmocka_run_group_tests(tests, init, fini);
}
