/*
 * Environments: starting Argobots with its pools and execution streams (ESs), changing them, and ending them; see env.h
 * for who may end what.
 */
#include "margo/env.h"

#include "util/clock.h"
#include "util/json.h"
#include "util/log.h"

#include <argobots/dango_abt.h>

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TAG "margo"

/* The environment that has started Argobots: a property of the process, as Argobots is. */
static pthread_mutex_t owner_mutex = PTHREAD_MUTEX_INITIALIZER;
static struct mg_env *owner;

void mg_env_lock(struct mg_env *env)
{
    ABT_mutex_lock(ABT_MUTEX_MEMORY_GET_HANDLE(&env->mutex));
}

void mg_env_unlock(struct mg_env *env)
{
    ABT_mutex_unlock(ABT_MUTEX_MEMORY_GET_HANDLE(&env->mutex));
}

static int abt_error(struct dango_error *err, int code, const char *what)
{
    char text[64] = "";
    ABT_error_get_str(code, text, NULL);
    return dango_error_set(err, DANGO_ERR_INTERNAL, "%s: %s", what, text);
}

static bool on_primary_ult(void)
{
    ABT_bool primary = ABT_FALSE;
    return ABT_self_is_primary(&primary) == ABT_SUCCESS && primary;
}

/* ---- ending ---- */

static bool runs_on(ABT_xstream xstream)
{
    ABT_xstream self;
    return ABT_xstream_self(&self) == ABT_SUCCESS && self == xstream;
}

struct join {
    ABT_xstream xstream;
    ABT_eventual_memory done;
};

static void *join_from_outside(void *arg)
{
    struct join *join = arg;
    ABT_xstream_join(join->xstream);
    ABT_xstream_free(&join->xstream);
    ABT_eventual_set(ABT_EVENTUAL_MEMORY_GET_HANDLE(&join->done), NULL, 0);
    return NULL;
}

/* Where several ESs serve a pool, a thread may find itself on the one that it wants to end. It then waits aside, and
 * another one goes on with it. */
static void end_xstream(ABT_xstream xstream)
{
    struct join join = {xstream, ABT_EVENTUAL_INITIALIZER};
    pthread_t helper;
    if (!runs_on(xstream)) {
        join_from_outside(&join);
        return;
    }
    if (pthread_create(&helper, NULL, join_from_outside, &join) != 0) {
        log_error(TAG, "no thread could be created to end an execution stream: it stays");
        return;
    }
    ABT_eventual_wait(ABT_EVENTUAL_MEMORY_GET_HANDLE(&join.done), NULL);
    pthread_join(helper, NULL);
}

/* Whether the calling thread could go on without this ES. */
static bool may_end_xstream(const struct mg_layout *layout, const struct mg_xstream *xstream)
{
    ABT_thread self;
    ABT_pool pool;
    if (!runs_on(xstream->handle))
        return true;
    if (ABT_thread_self(&self) != ABT_SUCCESS || ABT_thread_get_last_pool(self, &pool) != ABT_SUCCESS)
        return false;
    for (size_t i = 0; i < layout->num_xstreams; i++) {
        const struct mg_xstream *other = layout->xstreams[i];
        for (size_t j = 0; other != xstream && j < other->num_pools; j++) {
            if (other->pools[j]->handle == pool)
                return true;
        }
    }
    return false;
}

static void free_pool_handle(struct mg_pool *pool)
{
    if (pool->owned && pool->handle != ABT_POOL_NULL)
        ABT_pool_free(&pool->handle);
}

/* Lets every ULT of the pools that only we serve come to its end, and gives __primary__ a scheduler of its own. */
static void leave_primary(struct mg_env *env)
{
    struct mg_xstream *primary = mg_layout_find_xstream(&env->layout, MG_PRIMARY);
    if (!primary || primary->handle == ABT_XSTREAM_NULL)
        return;
    for (size_t i = 0; i < primary->num_pools; i++) {
        size_t size = 0;
        while (ABT_pool_get_total_size(primary->pools[i]->handle, &size) == ABT_SUCCESS && size > 0)
            ABT_self_yield();
    }
    ABT_xstream_set_main_sched(primary->handle, ABT_SCHED_NULL);
}

static void end_environment(struct mg_env *env)
{
    for (size_t i = 0; i < env->layout.num_xstreams; i++) {
        if (env->layout.xstreams[i]->owned)
            end_xstream(env->layout.xstreams[i]->handle);
    }
    if (env->owns_abt)
        leave_primary(env);
    for (size_t i = 0; i < env->layout.num_pools; i++)
        free_pool_handle(env->layout.pools[i]);
    if (env->owns_abt) {
        pthread_mutex_lock(&owner_mutex);
        owner = NULL;
        pthread_mutex_unlock(&owner_mutex);
        ABT_finalize();
    }
    mg_layout_clear(&env->layout);
    free(env);
}

bool mg_env_may_end_here(const struct mg_env *env)
{
    if (env->owns_abt || env->base)
        return on_primary_ult();
    for (size_t i = 0; i < env->layout.num_xstreams; i++) {
        if (env->layout.xstreams[i]->owned && runs_on(env->layout.xstreams[i]->handle))
            return false;
    }
    return true;
}

void mg_env_retain(struct mg_env *env)
{
    mg_env_lock(env);
    env->sharers++;
    mg_env_unlock(env);
}

void mg_env_release(struct mg_env *env)
{
    mg_env_lock(env);
    assert(env->sharers > 0);
    bool last = --env->sharers == 0;
    mg_env_unlock(env);
    if (!last)
        return;
    struct mg_env *base = env->base;
    end_environment(env);
    if (base)
        mg_env_release(base);
}

/* ---- starting ---- */

/* Hands a setting to Argobots through its environment variable, or takes over what the user has set there. */
static void apply_setting(const char *variable, int64_t *value)
{
    const char *set = getenv(variable);
    if (set) {
        char *end;
        errno = 0;
        long long given = strtoll(set, &end, 10);
        if (end == set || *end != '\0' || errno != 0 || given < 0)
            log_warning(TAG, "%s=%s is not a number", variable, set);
        else
            *value = given;
        return;
    }
    char text[32];
    snprintf(text, sizeof text, "%lld", (long long)*value);
    setenv(variable, text, 0);
}

int mg_env_prepare(struct mg_options *options, bool *owns_abt, struct dango_error *err)
{
    *owns_abt = ABT_initialized() != ABT_SUCCESS;
    if (!*owns_abt)
        return 0;
    apply_setting("ABT_THREAD_STACKSIZE", &options->argobots.thread_stacksize);
    /* The customary 8 would make every burst of handlers map its stacks anew: it stands for the runtime's own
     * choice. */
    if (options->argobots.mem_max_num_stacks != MG_MAX_NUM_STACKS_DEFAULT || getenv("ABT_MEM_MAX_NUM_STACKS"))
        apply_setting("ABT_MEM_MAX_NUM_STACKS", &options->argobots.mem_max_num_stacks);
    int code = ABT_init(0, NULL);
    return code == ABT_SUCCESS ? 0 : abt_error(err, code, "could not start Argobots");
}

/* `lent`: it will be served by an ES that outlives us, whose scheduler frees it. */
static int make_pool(struct mg_pool *pool, bool lent, struct dango_error *err)
{
    int code = ABT_SUCCESS;
    ABT_pool_access access = (ABT_pool_access)pool->access;
    ABT_bool automatic = lent ? ABT_TRUE : ABT_FALSE;
    switch (pool->kind) {
    case MG_POOL_FIFO:
        code = ABT_pool_create_basic(ABT_POOL_FIFO, access, automatic, &pool->handle);
        break;
    case MG_POOL_FIFO_WAIT:
        code = ABT_pool_create_basic(ABT_POOL_FIFO_WAIT, access, automatic, &pool->handle);
        break;
    case MG_POOL_PRIO_WAIT:
        code = dango_abt_pool_create_prio(access, &pool->handle);
        break;
    case MG_POOL_EARLIEST_FIRST:
        code = dango_abt_pool_create_earliest_first(access, &pool->handle);
        break;
    default:
        assert(pool->handle != ABT_POOL_NULL);
        return 0;
    }
    if (code != ABT_SUCCESS)
        return abt_error(err, code, pool->name);
    pool->owned = !lent;
    return 0;
}

static void bind_xstream(const struct mg_xstream *xstream)
{
    int code = ABT_SUCCESS;
    if (xstream->num_affinity > 0)
        code = ABT_xstream_set_affinity(xstream->handle, (int)xstream->num_affinity, xstream->affinity);
    else if (xstream->cpubind >= 0)
        code = ABT_xstream_set_cpubind(xstream->handle, xstream->cpubind);
    if (code != ABT_SUCCESS)
        log_warning(TAG, "execution stream \"%s\" could not be bound to its CPUs", xstream->name);
}

static int make_xstream(struct mg_xstream *xstream, struct dango_error *err)
{
    ABT_pool pools[DANGO_ABT_MAX_POOLS];
    assert(xstream->num_pools <= DANGO_ABT_MAX_POOLS);
    for (size_t i = 0; i < xstream->num_pools; i++)
        pools[i] = xstream->pools[i]->handle;
    int code, count = (int)xstream->num_pools;
    ABT_sched_predef sched = (ABT_sched_predef)xstream->sched;
    if (strcmp(xstream->name, MG_PRIMARY) == 0) {
        code = ABT_xstream_self(&xstream->handle);
        if (code == ABT_SUCCESS)
            code = ABT_xstream_set_main_sched_basic(xstream->handle, sched, count, pools);
    } else {
        code = ABT_xstream_create_basic(sched, count, pools, ABT_SCHED_CONFIG_NULL, &xstream->handle);
        xstream->owned = code == ABT_SUCCESS;
    }
    if (code != ABT_SUCCESS)
        return abt_error(err, code, xstream->name);
    bind_xstream(xstream);
    return 0;
}

/* The scheduler of an ES that is not ours takes the pools that nobody else serves. */
static int lend_pools(const struct mg_xstream *xstream, struct dango_error *err)
{
    for (size_t i = 0; i < xstream->num_pools; i++) {
        if (!xstream->pools[i]->adopted)
            continue;
        int code = dango_abt_xstream_add_pool(xstream->handle, xstream->pools[i]->handle);
        if (code != ABT_SUCCESS)
            return abt_error(err, code, xstream->pools[i]->name);
    }
    return 0;
}

/* __primary__ as the program made it: the caller's ES and its first pool. */
static int find_external_primary(struct mg_layout *layout, struct dango_error *err)
{
    struct mg_xstream *xstream = mg_layout_find_xstream(layout, MG_PRIMARY);
    struct mg_pool *pool = mg_layout_find_pool(layout, MG_PRIMARY);
    assert(xstream && pool);
    if (ABT_xstream_self(&xstream->handle) != ABT_SUCCESS)
        return dango_error_set(err, DANGO_ERR_INVALID,
                               "Argobots was initialised by the program: start from one of its execution streams");
    int code = ABT_xstream_get_main_pools(xstream->handle, 1, &pool->handle);
    return code == ABT_SUCCESS ? 0 : abt_error(err, code, MG_PRIMARY);
}

static int make_all(struct mg_env *env, struct dango_error *err)
{
    struct mg_layout *layout = &env->layout;
    int status = env->owns_abt ? 0 : find_external_primary(layout, err);
    for (size_t i = 0; i < layout->num_pools && status == 0; i++)
        status = make_pool(layout->pools[i], !env->owns_abt && layout->pools[i]->adopted, err);
    for (size_t i = 0; i < layout->num_xstreams && status == 0; i++) {
        struct mg_xstream *xstream = layout->xstreams[i];
        status = xstream->sched == MG_SCHED_EXTERNAL ? lend_pools(xstream, err) : make_xstream(xstream, err);
    }
    return status;
}

/* Enters the environment as the one that runs Argobots, or finds that one. */
static void find_base(struct mg_env *env)
{
    pthread_mutex_lock(&owner_mutex);
    if (env->owns_abt)
        owner = env;
    else
        env->base = owner;
    pthread_mutex_unlock(&owner_mutex);
    if (env->base)
        mg_env_retain(env->base);
}

struct mg_env *mg_env_start(struct mg_layout *layout, bool owns_abt, struct dango_error *err)
{
    struct mg_env *env = calloc(1, sizeof *env);
    if (!env) {
        dango_error_set(err, DANGO_ERR_NO_MEMORY, "out of memory");
        if (owns_abt)
            ABT_finalize();
        return NULL;
    }
    env->layout = *layout;
    *layout = (struct mg_layout){0};
    env->owns_abt = owns_abt;
    env->sharers = 1;
    find_base(env);
    if (make_all(env, err) != 0) {
        mg_env_release(env);
        return NULL;
    }
    return env;
}

/* ---- changes at run time ---- */

int mg_env_add_pool(struct mg_env *env, struct json_object *json, const char *path, struct mg_pool **pool,
                    struct dango_error *err)
{
    if (dango_json_get_string(json, "name") && strcmp(dango_json_get_string(json, "name"), MG_PRIMARY) == 0)
        return dango_error_set(err, DANGO_ERR_INVALID, "%s.name: \"" MG_PRIMARY "\" cannot be added", path);
    mg_env_lock(env);
    int status = DANGO_ERR_INVALID;
    struct mg_pool *added = mg_config_parse_pool(json, path, &env->layout, err);
    if (added) {
        status = make_pool(added, false, err);
        if (status != 0)
            mg_layout_drop_pool(&env->layout, added);
        else
            *pool = added;
    }
    mg_env_unlock(env);
    return status;
}

int mg_env_add_external_pool(struct mg_env *env, const char *name, ABT_pool handle, bool own, struct mg_pool **pool,
                             struct dango_error *err)
{
    mg_env_lock(env);
    int status = 0;
    if (name && mg_layout_find_pool(&env->layout, name))
        status = dango_error_set(err, DANGO_ERR_EXISTS, "pool \"%s\" exists already", name);
    for (size_t i = 0; i < env->layout.num_pools && status == 0; i++) {
        if (env->layout.pools[i]->handle == handle)
            status = dango_error_set(err, DANGO_ERR_EXISTS, "this pool is known as \"%s\"", env->layout.pools[i]->name);
    }
    if (status == 0) {
        *pool = mg_layout_add_pool(&env->layout, name, MG_POOL_EXTERNAL, ABT_POOL_ACCESS_MPMC, err);
        status = *pool ? 0 : DANGO_ERR_NO_MEMORY;
    }
    if (status == 0) {
        (*pool)->handle = handle;
        (*pool)->owned = own;
    }
    mg_env_unlock(env);
    return status;
}

int mg_env_add_xstream(struct mg_env *env, struct json_object *json, const char *path, struct mg_xstream **xstream,
                       struct dango_error *err)
{
    if (dango_json_get_string(json, "name") && strcmp(dango_json_get_string(json, "name"), MG_PRIMARY) == 0)
        return dango_error_set(err, DANGO_ERR_INVALID, "%s.name: \"" MG_PRIMARY "\" cannot be added", path);
    mg_env_lock(env);
    int status = DANGO_ERR_INVALID;
    struct mg_xstream *added = mg_config_parse_xstream(json, path, &env->layout, err);
    if (added) {
        status = make_xstream(added, err);
        if (status != 0)
            mg_layout_drop_xstream(&env->layout, added);
        else
            *xstream = added;
    }
    mg_env_unlock(env);
    return status;
}

int mg_env_remove_pool(struct mg_env *env, struct mg_pool *pool, struct dango_error *err)
{
    size_t size = 0;
    int status = 0;
    ABT_pool_get_total_size(pool->handle, &size);
    if (pool->pins > 0)
        status = dango_error_set(err, DANGO_ERR_BUSY,
                                 "pool \"%s\" cannot be removed: it runs the progress loop or handlers by default",
                                 pool->name);
    else if (strcmp(pool->name, MG_PRIMARY) == 0)
        status = dango_error_set(err, DANGO_ERR_BUSY, "pool \"" MG_PRIMARY "\" cannot be removed");
    else if (pool->refs > 0)
        status =
            dango_error_set(err, DANGO_ERR_PERMISSION, "pool \"%s\" is in use (%u references)", pool->name, pool->refs);
    else if (mg_layout_pool_is_served(&env->layout, pool))
        status = dango_error_set(err, DANGO_ERR_PERMISSION, "pool \"%s\" is served by an execution stream", pool->name);
    else if (size > 0)
        status = dango_error_set(err, DANGO_ERR_PERMISSION, "pool \"%s\" holds %zu threads", pool->name, size);
    if (status == 0) {
        free_pool_handle(pool);
        mg_layout_drop_pool(&env->layout, pool);
    }
    mg_env_unlock(env);
    return status;
}

int mg_env_remove_xstream(struct mg_env *env, struct mg_xstream *xstream, struct dango_error *err)
{
    int status = 0;
    ABT_xstream handle = xstream->handle;
    bool owned = xstream->owned;
    if (strcmp(xstream->name, MG_PRIMARY) == 0)
        status = dango_error_set(err, DANGO_ERR_PERMISSION, "xstream \"" MG_PRIMARY "\" cannot be removed");
    else if (xstream->refs > 0)
        status = dango_error_set(err, DANGO_ERR_PERMISSION, "xstream \"%s\" is in use (%u references)", xstream->name,
                                 xstream->refs);
    else if (!may_end_xstream(&env->layout, xstream))
        status = dango_error_set(err, DANGO_ERR_PERMISSION, "xstream \"%s\" cannot be removed by its own thread",
                                 xstream->name);
    if (status == 0)
        mg_layout_drop_xstream(&env->layout, xstream);
    mg_env_unlock(env);
    /* Joining waits for threads, which may need the lock. */
    if (status == 0 && owned) {
        ABT_mutex_lock(ABT_MUTEX_MEMORY_GET_HANDLE(&env->removal));
        atomic_store(&env->leaving, handle);
        end_xstream(handle);
        atomic_store(&env->leaving, ABT_XSTREAM_NULL);
        ABT_mutex_unlock(ABT_MUTEX_MEMORY_GET_HANDLE(&env->removal));
    }
    return status;
}

bool mg_env_must_leave(const struct mg_env *env)
{
    ABT_xstream leaving = atomic_load_explicit(&env->leaving, memory_order_relaxed);
    return leaving != ABT_XSTREAM_NULL && runs_on(leaving);
}

/* ---- references ---- */

struct mg_pool *mg_env_find_handle(struct mg_env *env, ABT_pool handle)
{
    struct mg_pool *found = NULL;
    mg_env_lock(env);
    for (size_t i = 0; i < env->layout.num_pools && !found; i++) {
        if (env->layout.pools[i]->handle == handle)
            found = env->layout.pools[i];
    }
    mg_env_unlock(env);
    return found;
}

void mg_env_ref_pool(struct mg_env *env, struct mg_pool *pool)
{
    if (!pool)
        return;
    mg_env_lock(env);
    pool->refs++;
    mg_env_unlock(env);
}

void mg_env_unref_pool(struct mg_env *env, struct mg_pool *pool)
{
    if (!pool)
        return;
    mg_env_lock(env);
    assert(pool->refs > 0);
    pool->refs--;
    mg_env_unlock(env);
}
