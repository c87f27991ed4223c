/*
 * Texts of network addresses, what endpoints choose, and what users are told when they write something else.
 */
#include "tests/support/test.h"

#include "mercury.h"
#include "mercury/dango_hg.h"
#include "mercury/na/address.h"

static const struct na_init_info_4_0 no_options;

static void check_split(const char *text, const char *host, int port)
{
    char found[NA_IP_NAME_MAX];
    int found_port;

    assert_int_equal(na_ip_split(text, found, sizeof found, &found_port, NULL), 0);
    assert_string_equal(found, host);
    assert_int_equal(found_port, port);
}

static void test_split(void **state)
{
    (void)state;
    check_split("", "", -1);
    check_split(":0", "", 0);
    check_split(":65535", "", 65535);
    check_split("eth0", "eth0", -1);
    check_split("eth0:80", "eth0", 80);
    check_split("10.0.0.5:1234", "10.0.0.5", 1234);
    check_split("::1", "::1", -1);
    check_split("[::1]", "::1", -1);
    check_split("[fd00::2]:7", "fd00::2", 7);
}

static void check_bad(const char *text, const char *part)
{
    char host[NA_IP_NAME_MAX];
    struct dango_error err = {0};
    int port;

    assert_true(na_ip_split(text, host, sizeof host, &port, &err) < 0);
    assert_contains(err.text, part);
}

static void test_bad_texts(void **state)
{
    char text[NA_IP_NAME_MAX + 20];

    (void)state;
    check_bad("host:", "not a port");
    check_bad("host:65536", "not a port");
    check_bad("host:-1", "not a port");
    check_bad("host:1x", "not a port");
    check_bad("[::1", "expected [IPV6]");
    check_bad("[::1]x", "expected [IPV6]");
    check_bad("1:2:3", "not an IPv6 address");
    check_bad("::1:99999", "[ADDRESS]:PORT");
    memset(text, 'h', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    check_bad(text, "characters");
}

static void check_choice(const char *text, const struct na_init_info_4_0 *options, const char *published)
{
    struct na_ip_choice choice;
    struct dango_error err = {0};
    char address[128];

    if (na_ip_choose(text, options, &choice, &err))
        fail_msg("%s: %s", text, err.text);
    na_ip_format(&choice.publish, address, sizeof address);
    assert_string_equal(address, published);
}

static void test_choices(void **state)
{
    const struct na_init_info_4_0 loopback = {.ip_subnet = "127.0.0.0/8"};
    struct na_ip_choice choice;

    (void)state;
    check_choice("127.0.0.1", &no_options, "127.0.0.1:0");
    check_choice("lo", &no_options, "127.0.0.1:0");
    check_choice("localhost:5", &no_options, "127.0.0.1:0");
    check_choice("", &loopback, "127.0.0.1:0");
    check_choice("*:1", &loopback, "127.0.0.1:0");
    assert_int_equal(na_ip_choose("", &no_options, &choice, NULL), 0);
    assert_int_equal(na_ip_choose("0.0.0.0:77", &no_options, &choice, NULL), 0);
    assert_int_equal(na_ip_port(&choice.bind), 77);
    assert_int_equal(choice.bind.v4.sin_addr.s_addr, INADDR_ANY);
    assert_int_not_equal(choice.publish.v4.sin_addr.s_addr, INADDR_ANY);
}

static void check_no_choice(const char *text, const char *subnet, const char *part)
{
    const struct na_init_info_4_0 options = {.ip_subnet = subnet};
    struct na_ip_choice choice;
    struct dango_error err = {0};

    assert_true(na_ip_choose(text, &options, &choice, &err) < 0);
    assert_contains(err.text, part);
}

static void test_no_choice(void **state)
{
    (void)state;
    check_no_choice("", "10.1.0.0", "ADDRESS/BITS");
    check_no_choice("", "10.1.0.0/33", "ADDRESS/BITS");
    check_no_choice("", "203.0.113.0/29", "no interface has an address in 203.0.113.0/29");
    check_no_choice("no-such-host.invalid", NULL, "interfaces: ");
}

/* ---- classes ---- */

static void check_start(const char *protocol, const char *address)
{
    char text[256];
    hg_size_t size = sizeof text;
    hg_addr_t self;
    struct dango_error err = {0};
    hg_class_t *hg_class = dango_hg_init(protocol, true, NULL, &err);

    if (!hg_class)
        fail_msg("%s", err.text);
    HG_Addr_self(hg_class, &self);
    HG_Addr_to_string(hg_class, text, &size, self);
    HG_Addr_free(hg_class, self);
    assert_memory_equal(text, address, strlen(address));
    assert_string_equal(dango_hg_class_protocol(hg_class), "tcp");
    HG_Finalize(hg_class);
}

static void test_start(void **state)
{
    (void)state;
    check_start("tcp", "tcp://");
    check_start("tcp:", "tcp://");
    check_start("tcp://", "tcp://");
    check_start("na+tcp://127.0.0.1:0", "tcp://127.0.0.1:");
    check_start("tcp://lo", "tcp://127.0.0.1:");
    check_start("tcp://0.0.0.0", "tcp://");
}

static void check_refused(const char *protocol, const char *part)
{
    struct dango_error err = {0};

    assert_null(dango_hg_init(protocol, true, NULL, &err));
    assert_contains(err.text, part);
}

static void test_refused(void **state)
{
    char text[256];
    hg_size_t size = sizeof text;
    hg_addr_t self;
    hg_class_t *hg_class = HG_Init("tcp://127.0.0.1", HG_TRUE);

    (void)state;
    HG_Addr_self(hg_class, &self);
    HG_Addr_to_string(hg_class, text, &size, self);
    HG_Addr_free(hg_class, self);
    check_refused(text, "in use by another process");
    HG_Finalize(hg_class);
    check_refused("tcp://203.0.113.7", "not an address of this machine");
    check_refused("tcp://loo", "did you mean \"lo\"?");
    check_refused("tcp://lo:99999", "not a port");
}

/* What an address of a peer may look like. */
static void test_lookup(void **state)
{
    static const char *const same[] = {"tcp://127.0.0.1:5", "na+tcp://127.0.0.1:5"};
    static const char *const bad[] = {"tcp://127.0.0.1", "tcp://127.0.0.1:0", "tcp://:5", "tcp://", "tcp:127.0.0.1:5"};
    hg_class_t *hg_class = HG_Init("tcp://127.0.0.1", HG_FALSE);
    hg_addr_t first, other;

    (void)state;
    assert_int_equal(HG_Addr_lookup2(hg_class, same[0], &first), HG_SUCCESS);
    assert_int_equal(HG_Addr_lookup2(hg_class, same[1], &other), HG_SUCCESS);
    assert_true(HG_Addr_cmp(hg_class, first, other));
    HG_Addr_free(hg_class, other);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(HG_Addr_lookup2(hg_class, bad[i], &other), HG_INVALID_ARG);
    assert_int_equal(HG_Addr_lookup2(hg_class, "na+sm://1-0", &other), HG_PROTONOSUPPORT);
    assert_int_equal(HG_Addr_lookup2(hg_class, "tcp://no-such-host.invalid:5", &other), HG_HOSTUNREACH);
    HG_Addr_free(hg_class, first);
    HG_Finalize(hg_class);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_split),     cmocka_unit_test(test_bad_texts), cmocka_unit_test(test_choices),
        cmocka_unit_test(test_no_choice), cmocka_unit_test(test_start),     cmocka_unit_test(test_refused),
        cmocka_unit_test(test_lookup),
    };
    return cmocka_run_group_tests_name("mercury-address", tests, NULL, NULL);
}
