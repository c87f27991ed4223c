/*
 * Protocol strings and their errors, addresses, registration: everything that needs no peer.
 */
#include "tests/mercury/peer.h"

#include <dango/error.h>
#include <unistd.h>

static void check_protocol(const char *protocol)
{
    struct dango_error err;
    hg_class_t *hg_class = dango_hg_init(protocol, true, NULL, &err);

    if (!hg_class)
        fail_msg("%s: %s", protocol, err.text);
    assert_string_equal(dango_hg_class_protocol(hg_class), "na+sm");
    assert_string_equal(HG_Class_get_name(hg_class), "na");
    assert_string_equal(HG_Class_get_protocol(hg_class), "sm");
    assert_true(HG_Class_is_listening(hg_class));
    assert_int_equal(HG_Finalize(hg_class), HG_SUCCESS);
}

static void test_protocols(void **state)
{
    static const char *const good[] = {"na+sm", "sm", "sm:", "sm://", "na+sm:", "na+sm://", "na+sm://my-name.1"};

    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        check_protocol(good[i]);
}

static void check_refused(const char *protocol, const char *part)
{
    struct dango_error err;

    assert_null(dango_hg_init(protocol, true, NULL, &err));
    assert_int_not_equal(err.code, 0);
    assert_contains(err.text, part);
}

static void test_protocol_errors(void **state)
{
    (void)state;
    check_refused("ofi+shm", "no transport for protocol \"ofi+shm\": between processes of one node use na+sm");
    check_refused("ofi+verb", "no transport for protocol \"ofi+verb\" (built in: na+sm");
    check_refused("ucx+all", "na+sm");
    check_refused("", "built in");
    check_refused("na+smm", "did you mean \"na+sm\"?");
    check_refused("na+tpc", "did you mean \"na+tcp\"?");
    check_refused("ofi+sm", "use na+sm");
    check_refused("tcp://[fe80::1%lo]:0", "an address with a scope means nothing on another machine");
    check_refused("tcp://[fe80::1]", "means nothing on another machine");
    check_refused("sm:/x", "expected PROTOCOL or PROTOCOL://HOST");
    check_refused("na+sm://a b", "letters");
    check_refused(NULL, "no protocol");
    assert_null(HG_Init("nonsense", HG_TRUE));
    assert_null(HG_Init_opt2(NULL, HG_FALSE, HG_VERSION(2, 4), NULL));
}

static void check_client(const char *address, const char *expected)
{
    char *protocol = dango_hg_client_protocol(address);

    assert_string_equal(protocol, expected);
    free(protocol);
}

static void test_client_protocol(void **state)
{
    (void)state;
    check_client("na+sm://12-0", "na+sm");
    check_client("tcp://[::1]:5", "tcp");
    check_client("ofi+tcp://127.0.0.1:5", "ofi+tcp");
    check_client("ofi+tcp://[::1]:5", "ofi+tcp://[::1]");
    check_client("ofi+tcp://[fd00::1]:5", "ofi+tcp://[::]");
    check_client("tcp", "tcp");
}

static void test_name_taken(void **state)
{
    hg_class_t *first = HG_Init("na+sm://taken", HG_TRUE);
    struct dango_error err;

    (void)state;
    assert_non_null(first);
    assert_null(dango_hg_init("na+sm://taken", true, NULL, &err));
    assert_contains(err.text, "na+sm://taken");
    HG_Finalize(first);
}

static void get_text(hg_class_t *hg_class, hg_addr_t addr, char *text, hg_size_t size)
{
    assert_int_equal(HG_Addr_to_string(hg_class, text, &size, addr), HG_SUCCESS);
    assert_int_equal(size, strlen(text) + 1);
}

static void test_addresses(void **state)
{
    hg_class_t *hg_class = HG_Init("na+sm", HG_FALSE);
    char text[256], start[64];
    hg_addr_t self, same, other, copy;
    hg_size_t size = 3;

    (void)state;
    assert_int_equal(HG_Addr_self(hg_class, &self), HG_SUCCESS);
    get_text(hg_class, self, text, sizeof text);
    snprintf(start, sizeof start, "na+sm://%d-", (int)getpid());
    assert_memory_equal(text, start, strlen(start));
    assert_int_equal(HG_Addr_lookup2(hg_class, text, &same), HG_SUCCESS);
    assert_true(HG_Addr_cmp(hg_class, self, same));
    assert_int_equal(HG_Addr_lookup2(hg_class, text + strlen("na+"), &copy), HG_SUCCESS);
    assert_true(HG_Addr_cmp(hg_class, self, copy));
    assert_int_equal(HG_Addr_lookup2(hg_class, "na+sm://1-0", &other), HG_SUCCESS);
    assert_false(HG_Addr_cmp(hg_class, self, other));

    assert_int_equal(HG_Addr_to_string(hg_class, text, &size, self), HG_OVERFLOW);
    assert_true(size > 3);
    assert_int_equal(HG_Addr_to_string(hg_class, NULL, &size, self), HG_SUCCESS);
    assert_int_equal(HG_Addr_to_string(hg_class, NULL, NULL, self), HG_INVALID_ARG);
    assert_int_equal(HG_Addr_to_string(NULL, NULL, &size, self), HG_INVALID_ARG);
    assert_int_equal(HG_Addr_to_string(hg_class, NULL, &size, HG_ADDR_NULL), HG_INVALID_ARG);

    assert_int_equal(HG_Addr_free(hg_class, copy), HG_SUCCESS);
    assert_int_equal(HG_Addr_dup(hg_class, other, &copy), HG_SUCCESS);
    assert_int_equal(HG_Addr_dup(hg_class, HG_ADDR_NULL, &copy), HG_INVALID_ARG);
    assert_int_equal(HG_Addr_free(hg_class, copy), HG_SUCCESS);
    assert_int_equal(HG_Addr_free(hg_class, HG_ADDR_NULL), HG_SUCCESS);
    assert_int_equal(HG_Addr_free(hg_class, same), HG_SUCCESS);
    assert_int_equal(HG_Finalize(hg_class), HG_BUSY);
    assert_int_equal(HG_Addr_free(hg_class, other), HG_SUCCESS);
    assert_int_equal(HG_Addr_free(hg_class, self), HG_SUCCESS);
    assert_int_equal(HG_Finalize(hg_class), HG_SUCCESS);
}

static hg_return_t looked_up(const struct hg_cb_info *info)
{
    assert_int_equal(info->type, HG_CB_LOOKUP);
    *(hg_addr_t *)info->arg = info->info.lookup.addr;
    return HG_SUCCESS;
}

static void test_lookups(void **state)
{
    hg_class_t *hg_class = HG_Init("na+sm", HG_FALSE);
    hg_context_t *context = HG_Context_create(hg_class);
    hg_addr_t addr = HG_ADDR_NULL;
    unsigned count;

    (void)state;
    assert_int_equal(HG_Addr_lookup2(hg_class, "ofi+tcp://1.2.3.4:5", &addr), HG_PROTONOSUPPORT);
    assert_null(addr);
    assert_int_equal(HG_Addr_lookup2(hg_class, "na+sm://", &addr), HG_INVALID_ARG);
    assert_int_equal(HG_Addr_lookup2(hg_class, "na+sm:1-0", &addr), HG_INVALID_ARG);
    assert_int_equal(HG_Addr_lookup2(hg_class, "na+sm://a/b", &addr), HG_INVALID_ARG);
    assert_int_equal(HG_Addr_lookup2(hg_class, "", &addr), HG_INVALID_ARG);
    assert_int_equal(HG_Addr_lookup2(hg_class, NULL, &addr), HG_INVALID_ARG);
    assert_int_equal(HG_Addr_lookup(context, looked_up, &addr, "sm://1-0", HG_OP_ID_IGNORE), HG_SUCCESS);
    assert_null(addr);
    assert_int_equal(HG_Progress(context, 0), HG_SUCCESS);
    assert_int_equal(HG_Trigger(context, 0, 10, &count), HG_SUCCESS);
    assert_int_equal(count, 1);
    assert_non_null(addr);
    assert_int_equal(HG_Progress(context, 0), HG_TIMEOUT);
    HG_Addr_free(hg_class, addr);
    HG_Context_destroy(context);
    assert_int_equal(HG_Finalize(hg_class), HG_SUCCESS);
}

static int freed;

static void count_free(void *data)
{
    (void)data;
    freed++;
}

static void test_registration(void **state)
{
    hg_class_t *hg_class = HG_Init("na+sm", HG_FALSE);
    hg_id_t id = HG_Register_name(hg_class, "a", NULL, NULL, NULL), found;
    uint8_t flag = 9;

    (void)state;
    freed = 0;
    assert_int_equal(id, 5381 * 33 + 'a');
    assert_int_equal(HG_Register_name(hg_class, NULL, NULL, NULL, NULL), 0);
    assert_int_equal(HG_Register(hg_class, 0, NULL, NULL, NULL), HG_INVALID_ARG);
    assert_int_equal(HG_Registered(hg_class, id, &flag), HG_SUCCESS);
    assert_true(flag);
    assert_int_equal(HG_Registered_name(hg_class, "b", &found, &flag), HG_SUCCESS);
    assert_false(flag);
    assert_int_equal(found, id + 1);

    assert_int_equal(HG_Register_data(hg_class, id, &flag, count_free), HG_SUCCESS);
    assert_int_equal(HG_Register_data(hg_class, id + 1, &flag, count_free), HG_NOENTRY);
    assert_ptr_equal(HG_Registered_data(hg_class, id), &flag);
    assert_null(HG_Registered_data(hg_class, id + 1));
    assert_int_equal(HG_Register_data(hg_class, id, &found, count_free), HG_SUCCESS);
    assert_int_equal(freed, 1);
    /* Registering again keeps the data. */
    assert_int_equal(HG_Register(hg_class, id, hg_proc_int32_t, NULL, NULL), HG_SUCCESS);
    assert_ptr_equal(HG_Registered_data(hg_class, id), &found);
    assert_int_equal(freed, 1);

    assert_int_equal(HG_Registered_disable_response(hg_class, id, HG_TRUE), HG_SUCCESS);
    assert_int_equal(HG_Registered_disabled_response(hg_class, id, &flag), HG_SUCCESS);
    assert_true(flag);
    assert_int_equal(HG_Registered_disable_response(hg_class, 77, HG_TRUE), HG_NOENTRY);
    assert_int_equal(HG_Deregister(hg_class, id), HG_SUCCESS);
    assert_int_equal(freed, 2);
    assert_int_equal(HG_Deregister(hg_class, id), HG_NOENTRY);
    id = HG_Register_name(hg_class, "c", NULL, NULL, NULL);
    HG_Register_data(hg_class, id, &flag, count_free);
    assert_int_equal(HG_Finalize(hg_class), HG_SUCCESS);
    assert_int_equal(freed, 3);
}

static void test_error_names(void **state)
{
    (void)state;
    assert_string_equal(HG_Error_to_string(HG_TIMEOUT), "HG_TIMEOUT");
    assert_string_equal(HG_Error_to_string(HG_SUCCESS), "HG_SUCCESS");
    assert_non_null(HG_Error_to_string((hg_return_t)-5));
    assert_int_equal(HG_OTHER_ERROR, 26);
    assert_int_equal(HG_RETURN_MAX, 27);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_protocols),       cmocka_unit_test(test_protocol_errors),
        cmocka_unit_test(test_client_protocol), cmocka_unit_test(test_name_taken),
        cmocka_unit_test(test_addresses),       cmocka_unit_test(test_lookups),
        cmocka_unit_test(test_registration),    cmocka_unit_test(test_error_names),
    };
    return cmocka_run_group_tests_name("mercury-class", tests, NULL, NULL);
}
