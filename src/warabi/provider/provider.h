/*
 * Internals of the provider: its state, and what its files offer each other.
 *
 * Life. Requests are inside the gate while they are handled; deregistration closes it. A handler finds the provider
 * through the registration of its RPC and may hold the pointer while another thread deregisters the provider: the
 * struct itself is therefore freed only when margo is finalised, which waits for all handlers.
 */
#ifndef DANGO_WARABI_PROVIDER_PROVIDER_H
#define DANGO_WARABI_PROVIDER_PROVIDER_H

#include "argobots/gate.h"
#include "warabi/provider/target.h"
#include "warabi/wire.h"

#include <warabi/server.h>

struct wb_transfer_manager_settings {
    int type; /* index into the names of managers */
    struct json_object *config;
};

struct wb_provider_settings {
    struct json_object *target; /* NULL: no target */
    struct wb_transfer_manager_settings transfer_manager;
};

struct warabi_provider {
    margo_instance_id mid;
    uint16_t id;
    ABT_pool pool;
    bool registered;          /* until deregistration */
    struct dango_gate gate;   /* requests being handled are inside */
    struct wb_target *target; /* NULL: none */
    struct wb_provider_settings settings;
    hg_id_t rpc_ids[WB_RPC_COUNT];
};

/* Registers the handlers. On failure none stays registered. */
int wb_handlers_register(struct warabi_provider *provider, struct dango_error *err);
void wb_handlers_deregister(struct warabi_provider *provider);

#endif
