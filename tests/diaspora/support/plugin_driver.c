/*
 * A library that registers a driver type when it is loaded, and does nothing else: for the test of the registry.
 */
#include "diaspora/driver.h"

static const struct diaspora_driver_ops plugin_driver = {.abi = DIASPORA_DRIVER_ABI, .type = "plugged"};

__attribute__((constructor)) static void plug_in(void)
{
    (void)dango_diaspora_register_driver(&plugin_driver, NULL);
}
