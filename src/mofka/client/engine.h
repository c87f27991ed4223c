/*
 * The network engine of a process: one Margo instance per protocol, shared by all drivers.
 *
 * It lives on a thread of its own, which starts Margo and sleeps until the last driver has gone: so it does not matter
 * from which threads drivers are opened and closed, and Argobots, if nobody has started it, has a main thread that
 * stays. The options of the first driver of a protocol decide; later ones are ignored with a warning.
 */
#ifndef DANGO_MOFKA_CLIENT_ENGINE_H
#define DANGO_MOFKA_CLIENT_ENGINE_H

#include "mofka/wire/wire.h"

#include <margo.h>

/* How long the answer to a call may take. */
#define MOFKA_CALL_MS 30000.0

enum mofka_rpc {
    MOFKA_RPC_ATTACH,
    MOFKA_RPC_PRODUCE,
    MOFKA_RPC_SETTLE,
    MOFKA_RPC_SUBSCRIBE,
    MOFKA_RPC_FETCH,
    MOFKA_RPC_READ,
    MOFKA_RPC_ACKNOWLEDGE,
    MOFKA_RPC_RENEW,
    MOFKA_RPC_CLOSE,
    MOFKA_RPC_INSPECT,
    MOFKA_RPC_SET_POSITION,
    MOFKA_RPC_COMPLETE,
    MOFKA_RPC_ERASE,
    MOFKA_RPC_COUNT
};

struct mofka_engine;

struct json_object;

/* `margo` may be NULL. Blocks while the instance starts. */
int mofka_engine_get(const char *protocol, struct json_object *margo, struct mofka_engine **engine,
                     struct dango_error *err);
/* The last one stops the instance and waits for its thread. */
void mofka_engine_put(struct mofka_engine *engine);

margo_instance_id mofka_engine_instance(const struct mofka_engine *engine);

/* Runs `body` in a ULT, soon, never inside this call. For what must not be done where it is found. */
void mofka_engine_defer(struct mofka_engine *engine, void (*body)(void *arg), void *arg);

/* ---- calls to partition providers ---- */

/* Where a partition lives. */
struct mofka_target {
    struct mofka_engine *engine;
    hg_addr_t addr;
    uint16_t provider_id;
    char *address; /* text, for messages */
};

int mofka_target_init(struct mofka_target *target, struct mofka_engine *engine, const char *address,
                      uint16_t provider_id, struct dango_error *err);
void mofka_target_fini(struct mofka_target *target);

/* A handle for calls of one kind, to be used again and again, one call at a time; freed with margo_destroy. */
int mofka_handle_create(const struct mofka_target *target, enum mofka_rpc rpc, hg_handle_t *handle,
                        struct dango_error *err);

/* Starts a call; `done` runs in the progress loop and must not block. On failure it is not called. timeout_ms 0: none. */
int mofka_call_start(const struct mofka_target *target, hg_handle_t handle, const diaspora_segment *parts, size_t count,
                     double timeout_ms, void (*done)(void *arg, hg_return_t ret), void *arg, struct dango_error *err);

/* Calls and blocks. `answer` receives the fixed structure of the answer. */
int mofka_call(const struct mofka_target *target, enum mofka_rpc rpc, const diaspora_segment *parts, size_t count,
               void *answer, size_t answer_size, struct dango_error *err);
int mofka_call_timed(const struct mofka_target *target, enum mofka_rpc rpc, const diaspora_segment *parts, size_t count,
                     void *answer, size_t answer_size, double timeout_ms, struct dango_error *err);
/* The same by a handle of the caller's, who may cancel it from elsewhere. */
int mofka_call_by(const struct mofka_target *target, hg_handle_t handle, const diaspora_segment *parts, size_t count,
                  void *answer, size_t answer_size, double timeout_ms, struct dango_error *err);
/* The same for answers with more than a fixed structure: `take` looks at the whole message; its code is that of the call. */
typedef int (*mofka_take)(void *arg, const struct mofka_message *message, struct dango_error *err);
int mofka_call_take(const struct mofka_target *target, enum mofka_rpc rpc, const diaspora_segment *parts, size_t count,
                    double timeout_ms, mofka_take take, void *arg, struct dango_error *err);

/* What the outcome of a call means to the user. */
int mofka_call_error(const struct mofka_target *target, hg_return_t ret, struct dango_error *err);

#endif
