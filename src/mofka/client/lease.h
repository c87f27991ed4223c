/*
 * Leases: keeps the sessions of a driver alive while nothing else is said, and notices servers that are alive as a
 * process but do not answer any more.
 *
 * One timer per driver, armed while there are sessions, sends a renewal for each of them every few seconds. When a
 * renewal fails, `lost` is called (in the progress loop, must not block).
 */
#ifndef DANGO_MOFKA_CLIENT_LEASE_H
#define DANGO_MOFKA_CLIENT_LEASE_H

#include "argobots/dango_abt.h"
#include "mofka/client/engine.h"
#include "util/list.h"

#include <stdbool.h>

/* The leases of a driver. */
struct mofka_leases {
    struct mofka_engine *engine;
    ABT_mutex lock; /* guards the list and the fields of its members marked with * */
    ABT_cond settled;
    struct list_node list;
    struct dango_abt_timer timer;
    bool armed;    /* the timer runs, or what it started */
    bool renewing; /* a ULT is to walk the list */
    bool closed;
    char *deaf; /* address of the server that did not answer the last goodbye, or NULL */
};

struct mofka_lease {
    struct list_node link;
    struct mofka_leases *leases;
    const struct mofka_target *target;
    uint64_t token;
    hg_handle_t handle;
    bool busy; /* * a renewal is on its way */
    void (*lost)(struct mofka_lease *lease, const struct dango_error *err);
};

int mofka_leases_init(struct mofka_leases *leases, struct mofka_engine *engine, struct dango_error *err);
/* All leases have been ended. Blocks until the timer is at rest. */
void mofka_leases_fini(struct mofka_leases *leases);

/* Begins to renew the session `token` of a partition; all arguments outlive the lease. */
int mofka_lease_begin(struct mofka_lease *lease, struct mofka_leases *leases, const struct mofka_target *target,
                      uint64_t token, void (*lost)(struct mofka_lease *lease, const struct dango_error *err),
                      struct dango_error *err);
/* Stops renewing, of a session that is lost. Blocks for a moment. */
void mofka_lease_drop(struct mofka_lease *lease);
/* Stops renewing and tells the server that the session is over; an error says that it does not know. Blocks. */
int mofka_lease_end(struct mofka_lease *lease, struct dango_error *err);

#endif
