/*
 * The environment of an instance: its layout as it runs, and Argobots itself if we started it. An instance and its
 * secondary instances share one environment, which ends with the last of them.
 *
 * The lists and reference counts are guarded by the environment's lock; entries of pools are stable, so that a pointer
 * held by an RPC (with a reference) is used without it. Where the caller must not block, it says so.
 *
 * Ending an environment joins execution streams (ESs). That cannot be done by a thread that runs on one of them, and
 * Argobots can be finalised by the main thread alone: mg_env_may_end_here tells, and finalize.c sees to it that the
 * last release happens in the right place. The environment that started Argobots lives as long as any other that uses
 * it.
 */
#ifndef DANGO_MARGO_ENV_H
#define DANGO_MARGO_ENV_H

#include "margo/config.h"

#include <stdatomic.h>

struct mg_env {
    ABT_mutex_memory mutex;
    struct mg_layout layout;
    unsigned sharers;
    ABT_mutex_memory removal;     /* one ES is removed at a time */
    _Atomic(ABT_xstream) leaving; /* the one: progress loops keep away from it */
    bool owns_abt;                /* we initialised Argobots and run __primary__ */
    struct mg_env *base;          /* the environment that does, if it is another of ours; held */
};

/* Whether the calling thread may drop the last sharer. */
bool mg_env_may_end_here(const struct mg_env *env);

/* Starts Argobots unless it runs, with the stack settings of `options`, which are set to what is in force. */
int mg_env_prepare(struct mg_options *options, bool *owns_abt, struct dango_error *err);

/* Makes pools and ESs of a complete layout, which becomes the environment's. One sharer. NULL on error: then what
 * mg_env_prepare did is undone too. Blocks while ESs start. */
struct mg_env *mg_env_start(struct mg_layout *layout, bool owns_abt, struct dango_error *err);

void mg_env_retain(struct mg_env *env);
void mg_env_release(struct mg_env *env);

void mg_env_lock(struct mg_env *env);
void mg_env_unlock(struct mg_env *env);

/* Changes at run time. They take the lock. PERMISSION: in use; BUSY: the instance itself needs it. */
int mg_env_add_pool(struct mg_env *env, struct json_object *json, const char *path, struct mg_pool **pool,
                    struct dango_error *err);
int mg_env_add_external_pool(struct mg_env *env, const char *name, ABT_pool handle, bool own, struct mg_pool **pool,
                             struct dango_error *err);
int mg_env_add_xstream(struct mg_env *env, struct json_object *json, const char *path, struct mg_xstream **xstream,
                       struct dango_error *err);
/* `pool` and `xstream` have been looked up under the lock, which is held; it is released. */
int mg_env_remove_pool(struct mg_env *env, struct mg_pool *pool, struct dango_error *err);
int mg_env_remove_xstream(struct mg_env *env, struct mg_xstream *xstream, struct dango_error *err);

/* The entry of a pool that an instance knows by handle; NULL if it does not. Takes the lock. */
struct mg_pool *mg_env_find_handle(struct mg_env *env, ABT_pool handle);

/* Whether the calling thread is on an ES that is being removed, which cannot end while it is kept busy. */
bool mg_env_must_leave(const struct mg_env *env);

/* References on entries of pools, NULL allowed. They take the lock. */
void mg_env_ref_pool(struct mg_env *env, struct mg_pool *pool);
void mg_env_unref_pool(struct mg_env *env, struct mg_pool *pool);

#endif
