/*
 * The driver registry: registered names, libraries named by the user, and the errors.
 */
#include "tests/support/test.h"

#include "diaspora/driver.h"
#include "util/log.h"

static const struct diaspora_driver_ops streams = {.abi = DIASPORA_DRIVER_ABI, .type = "streams"};
static const struct diaspora_driver_ops streams_again = {.abi = DIASPORA_DRIVER_ABI, .type = "streams"};

static void registered_drivers_are_found(void **state)
{
    (void)state;
    assert_int_equal(dango_diaspora_register_driver(&streams, NULL), 0);
    assert_ptr_equal(dango_diaspora_find_driver("streams", NULL), &streams);
    /* The library of a registered name is not loaded. */
    assert_ptr_equal(dango_diaspora_find_driver("streams:libnowhere.so", NULL), &streams);
}

static void a_later_registration_replaces_the_earlier(void **state)
{
    (void)state;
    dango_log_set_level(DANGO_LOG_OFF);
    assert_int_equal(dango_diaspora_register_driver(&streams_again, NULL), 0);
    assert_ptr_equal(dango_diaspora_find_driver("streams", NULL), &streams_again);
}

static void another_interface_version_is_refused(void **state)
{
    (void)state;
    static const struct diaspora_driver_ops old = {.abi = 0, .type = "old"};
    struct dango_error err;
    assert_int_equal(dango_diaspora_register_driver(&old, &err), DANGO_ERR_UNSUPPORTED);
    assert_contains(err.text, "driver interface 0");
}

static void a_library_registers_when_loaded(void **state)
{
    (void)state;
    assert_null(dango_diaspora_find_driver("plugged", NULL));
    const struct diaspora_driver_ops *ops = dango_diaspora_find_driver("plugged:" PLUGIN, NULL);
    assert_non_null(ops);
    assert_string_equal(ops->type, "plugged");
    assert_ptr_equal(dango_diaspora_find_driver("plugged", NULL), ops);
}

static void unknown_names_are_errors(void **state)
{
    (void)state;
    struct dango_error err;
    assert_null(dango_diaspora_find_driver("steams", &err));
    assert_int_equal(err.code, DANGO_ERR_NOT_FOUND);
    assert_contains(err.text, "no driver \"steams\" (drivers: ");
    assert_contains(err.text, "did you mean \"streams\"?");
    assert_contains(err.text, "libdango-steams.so");
    assert_null(dango_diaspora_find_driver("unknown:libunknown.so", &err));
    assert_contains(err.text, "libunknown.so");
    assert_null(dango_diaspora_find_driver("other:" PLUGIN, &err));
    assert_contains(err.text, "does not register it");
    assert_null(dango_diaspora_find_driver("", &err));
    assert_null(dango_diaspora_find_driver(":lib.so", &err));
    assert_null(dango_diaspora_find_driver("../evil", &err));
    assert_int_equal(err.code, DANGO_ERR_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(registered_drivers_are_found),
        cmocka_unit_test(a_later_registration_replaces_the_earlier),
        cmocka_unit_test(another_interface_version_is_refused),
        cmocka_unit_test(a_library_registers_when_loaded),
        cmocka_unit_test(unknown_names_are_errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
