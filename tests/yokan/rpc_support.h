/*
 * Client and provider for the RPC tests of Yokan: one process that is both, or a child that is the provider.
 */
#ifndef TESTS_YOKAN_RPC_SUPPORT_H
#define TESTS_YOKAN_RPC_SUPPORT_H

#include "tests/support/protocol.h"
#include "tests/yokan/backends.h"

#include <yokan/collection.h>
#include <yokan/server.h>

#define PROVIDER_ID 42
#define EMPTY_ID    43 /* a provider without a database */

struct fixture {
    margo_instance_id mid;
    yk_provider_t provider, empty;
    yk_client_t client;
    yk_database_handle_t dbh;
    hg_addr_t addr;
    char address[256];
};

/* Asserts that a call has the given result, and shows which call had not. */
#define assert_ret(call, expected)                                                                                     \
    do {                                                                                                               \
        yk_return_t ret_ = (call);                                                                                     \
        if (ret_ != (expected))                                                                                        \
            fail_msg("%s: code %d instead of %d", #call, ret_, (expected));                                            \
    } while (0)
#define assert_ok(call) assert_ret(call, YOKAN_SUCCESS)

static inline void own_address(margo_instance_id mid, char *address, size_t capacity)
{
    hg_addr_t self;
    hg_size_t size = capacity;
    assert_int_equal(margo_addr_self(mid, &self), HG_SUCCESS);
    assert_int_equal(margo_addr_to_string(mid, address, &size, self), HG_SUCCESS);
    margo_addr_free(mid, self);
}

static inline void register_providers(struct fixture *f)
{
    char config[640];
    snprintf(config, sizeof config, "{\"database\":%s}", new_database_config());
    assert_ok(yk_provider_register(f->mid, PROVIDER_ID, config, NULL, &f->provider));
    assert_ok(yk_provider_register(f->mid, EMPTY_ID, "{}", NULL, &f->empty));
}

static inline void connect_client(struct fixture *f, const char *address)
{
    assert_int_equal(margo_addr_lookup(f->mid, address, &f->addr), HG_SUCCESS);
    assert_ok(yk_client_init(f->mid, &f->client));
    assert_ok(yk_database_handle_create(f->client, f->addr, PROVIDER_ID, true, &f->dbh));
}

static inline void disconnect_client(struct fixture *f)
{
    assert_ok(yk_database_handle_release(f->dbh));
    assert_ok(yk_client_finalize(f->client));
    margo_addr_free(f->mid, f->addr);
}

/* For tests whose process is both: *state is the fixture. */
static inline int set_up_both(void **state)
{
    static struct fixture f;
    memset(&f, 0, sizeof f);
    f.mid = margo_init(test_protocol(), MARGO_SERVER_MODE, 1, 2);
    assert_non_null(f.mid);
    own_address(f.mid, f.address, sizeof f.address);
    register_providers(&f);
    connect_client(&f, f.address);
    *state = &f;
    return 0;
}

static inline int tear_down_both(void **state)
{
    struct fixture *f = *state;
    disconnect_client(f);
    margo_finalize_and_wait(f->mid);
    return 0;
}

#endif
