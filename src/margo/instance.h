/*
 * The instance, and what the files of Margo offer to each other.
 *
 * Life: created by init.c with one reference; finalize.c counts handlers, runs the stages of finalisation and frees it
 * when it is finalised, nobody waits, and no reference is left, or later, where that cannot be done. `mutex` guards the
 * fields that say so; where both are taken, the instance's mutex comes before the environment's. Neither is held while
 * a callback of the user runs.
 */
#ifndef DANGO_MARGO_INSTANCE_H
#define DANGO_MARGO_INSTANCE_H

#include "margo/config.h"
#include "margo/env.h"
#include "margo/spin.h"
#include "util/list.h"

#include <margo.h>

#include <stdatomic.h>

/* The logger of an instance, or the global one. */
struct mg_logger {
    struct margo_logger sink;
    _Atomic int level;
};

/* Who hears of peers that do not answer (silence.c); set before the first call. */
struct mg_silence {
    void (*told)(void *arg, const char *address); /* NULL: nobody */
    void *arg;
    double after_ms;
    struct mg_silent_peer {
        uint32_t checksum; /* of its address */
        int64_t told_ns;   /* 0: none */
    } peers[64];           /* by the thread of the timers only */
};

struct margo_instance {
    /* network */
    hg_class_t *hg_class;
    hg_context_t *hg_context;
    hg_handle_t keeper; /* keeps the context's memory after its end, for threads that are late */
    bool owns_class;
    bool owns_context;
    bool listening;
    bool never_sleep; /* na_no_block */

    /* threads */
    struct mg_env *env;
    margo_instance_id parent;                /* a reference */
    struct mg_pool *rpc_pool;                /* pinned */
    _Atomic(struct mg_pool *) progress_pool; /* pinned */
    struct mg_options options;
    struct mg_logger logger;

    /* progress loop (progress.c) */
    ABT_thread progress_ult;
    atomic_bool stop;                    /* leave the loop */
    atomic_bool attention;               /* yield once */
    atomic_bool stopped;                 /* the loop is gone: nothing will complete any more */
    _Atomic int64_t progress_timeout_ms; /* MG_PROGRESS_TIMEOUT_DEFAULT_MS: no bound */
    _Atomic int64_t spindown_ms;
    struct mg_spin spin;
    unsigned no_cork; /* rounds of the loop to come that do not collect messages */

    struct mg_silence silence;

    /* finalisation (finalize.c) */
    _Atomic uint64_t handlers; /* MG_FINALISING | number of running handlers */
    ABT_mutex_memory mutex;
    ABT_cond_memory changed;      /* `finalised`, `waiters`, or the state of a timer */
    unsigned refs;                /* mutex */
    unsigned waiters;             /* mutex */
    bool initial_released;        /* mutex: the reference that finalisation drops is gone already */
    bool finalised;               /* mutex */
    struct list_node prefinalize; /* mutex: struct callback */
    struct list_node finalize;    /* mutex: struct callback */
    struct list_node retired;     /* in the list of finalize.c */
    bool ended;                   /* its lock: nothing is left but the memory */

    /* registrations (rpc.c) and timers (timer.c) */
    struct list_node rpcs;   /* mutex: struct mg_rpc */
    struct list_node timers; /* mutex: struct margo_timer */
    hg_id_t shutdown_id;
    atomic_bool remote_shutdown;
};

static inline void mg_lock(margo_instance_id mid)
{
    ABT_mutex_lock(ABT_MUTEX_MEMORY_GET_HANDLE(&mid->mutex));
}

static inline void mg_unlock(margo_instance_id mid)
{
    ABT_mutex_unlock(ABT_MUTEX_MEMORY_GET_HANDLE(&mid->mutex));
}

/* ---- rpc.c ---- */

/* What goes with a registered RPC; the data of Mercury's registration. */
struct mg_rpc {
    struct list_node link;
    _Atomic(margo_instance_id) mid; /* NULL after deregistration; requests being dispatched look at it */
    hg_id_t id;
    char *name;
    hg_proc_cb_t in_proc;
    hg_proc_cb_t out_proc;
    bool one_way;
    _Atomic(ABT_pool) pool;
    struct mg_pool *pool_entry; /* referenced; NULL if the instance does not know the pool */
    void *_Atomic data;         /* as mid */
    void (*free_data)(void *);
};

/* Id of an RPC of a provider: Jenkins' hash of the name, and the provider's id. */
hg_id_t mg_rpc_id(const char *name, uint16_t provider_id);

/* Points a handle to another provider's RPC of the same name, registering it if it is not known yet. */
hg_return_t mg_rpc_retarget(hg_handle_t handle, struct mg_rpc *rpc, uint16_t provider_id);

void mg_rpc_deregister_all(margo_instance_id mid);

/* ---- handler.c ---- */

/* Our part of the space that Mercury keeps in a handle. */
struct mg_handle {
    margo_instance_id mid;
};

/* ---- finalize.c ---- */

#define MG_FINALISING (UINT64_C(1) << 63)

/* Counts a handler in; false if the instance is finalising. */
bool mg_handler_enter(margo_instance_id mid);
/* Counts it out; the last one finalises if that was asked for. */
void mg_handler_leave(margo_instance_id mid);

/* Ends the instances that could not be ended where they were finalised, if this is the main thread. */
void mg_reap(void);

/* ---- progress.c ---- */

int mg_progress_start(margo_instance_id mid, struct dango_error *err);
void mg_progress_stop(margo_instance_id mid);
bool mg_progress_is_self(margo_instance_id mid);

/* ---- timer.c ---- */

/* Fires what is still armed, waits for the callbacks, and parts the timers from the instance. After the progress loop
 * has stopped, when no timer can be started any more. */
void mg_timer_end_all(margo_instance_id mid);

/* ---- silence.c ---- */

/* When whoever forwards now is to call mg_silence_tell, unless it has an answer; DANGO_NEVER: not at all. */
int64_t mg_silence_ends_ns(margo_instance_id mid);
/* Tells of the peer that a handle is forwarded to. On the thread of the timers. */
void mg_silence_tell(margo_instance_id mid, hg_handle_t handle);

/* ---- builtin.c ---- */

/* Registers __shutdown__ and __identity__. */
int mg_builtin_register(margo_instance_id mid, struct dango_error *err);

/* ---- init.c ---- */

/* Ends the context, if it is ours: whoever waits for the network wakes up with HG_CANCELED. */
void mg_close_context(margo_instance_id mid);

/* Releases everything of a finalised instance but its memory. */
void mg_instance_end(margo_instance_id mid);

/* ---- logging.c ---- */

void mg_logger_init(struct mg_logger *logger, const struct margo_logger *sink);

#endif
