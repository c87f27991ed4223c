/*
 * Engines: a table by protocol, one thread each. See engine.h.
 */
#include "mofka/client/engine.h"

#include "margo/dango_margo.h"
#include "mercury/dango_hg.h"
#include "util/json.h"
#include "util/list.h"
#include "util/log.h"

#include <assert.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdlib.h>
#include <string.h>

struct mofka_engine {
    struct list_node link;
    unsigned references;
    pthread_t thread;
    sem_t started;
    margo_instance_id mid;
    ABT_pool pool;
    hg_id_t rpcs[MOFKA_RPC_COUNT];
    struct json_object *config;
    struct dango_error err; /* why it did not start */
    char protocol[];
};

/* Process-wide, because what it counts is: endpoints of the process. */
static pthread_mutex_t engines_lock = PTHREAD_MUTEX_INITIALIZER;
static struct list_node engines = {&engines, &engines};

static const char *const rpc_names[MOFKA_RPC_COUNT] = {
    [MOFKA_RPC_ATTACH] = "mofka_attach",       [MOFKA_RPC_PRODUCE] = "mofka_produce",
    [MOFKA_RPC_SUBSCRIBE] = "mofka_subscribe", [MOFKA_RPC_FETCH] = "mofka_fetch",
    [MOFKA_RPC_READ] = "mofka_read",           [MOFKA_RPC_ACKNOWLEDGE] = "mofka_acknowledge",
    [MOFKA_RPC_RENEW] = "mofka_renew",         [MOFKA_RPC_CLOSE] = "mofka_close",
    [MOFKA_RPC_INSPECT] = "mofka_inspect",     [MOFKA_RPC_SET_POSITION] = "mofka_set_position",
    [MOFKA_RPC_COMPLETE] = "mofka_complete",   [MOFKA_RPC_ERASE] = "mofka_erase",
    [MOFKA_RPC_SETTLE] = "mofka_settle",
};

/* After this time users are told whom they wait for, well before a call fails. */
#define SILENCE_MS 3000.0

static void tell_silence(void *arg, const char *address)
{
    (void)arg;
    log_warning("mofka",
                "no answer from %s for %g s: it hangs, is stopped, or is busy; waiting on (if it hangs, end it on its "
                "machine with kill -9, and start it again)",
                address, SILENCE_MS / 1000);
}

static int start(struct mofka_engine *engine)
{
    struct dango_error *err = &engine->err;
    engine->mid = dango_margo_init_json(engine->protocol, MARGO_CLIENT_MODE, NULL, engine->config, "driver.margo", err);
    if (!engine->mid)
        return err->code;
    dango_margo_on_silence(engine->mid, SILENCE_MS, tell_silence, NULL);
    margo_get_progress_pool(engine->mid, &engine->pool);
    for (int i = 0; i < MOFKA_RPC_COUNT; i++) {
        engine->rpcs[i] =
            margo_provider_register_name(engine->mid, rpc_names[i], hg_proc_mofka_message, hg_proc_mofka_message, NULL,
                                         MARGO_DEFAULT_PROVIDER_ID, ABT_POOL_NULL);
        if (engine->rpcs[i] == 0) {
            margo_finalize_and_wait(engine->mid);
            return dango_error_set(err, DANGO_ERR_INTERNAL, "cannot register RPC %s", rpc_names[i]);
        }
    }
    return 0;
}

static void *engine_thread(void *arg)
{
    struct mofka_engine *engine = arg;
    int code = start(engine);
    margo_instance_id mid = engine->mid;
    sem_post(&engine->started);
    if (code == 0)
        margo_wait_for_finalize(mid);
    return NULL;
}

static void engine_free(struct mofka_engine *engine)
{
    sem_destroy(&engine->started);
    json_object_put(engine->config);
    free(engine);
}

/* The options as given, with the default that a client needs: calls progress while the application does other work. */
static struct json_object *complete_config(struct json_object *margo)
{
    struct json_object *config = margo ? dango_json_copy(margo) : json_object_new_object();
    if (!dango_json_get(config, "use_progress_thread"))
        json_object_object_add(config, "use_progress_thread", json_object_new_boolean(1));
    return config;
}

/* Under the lock. */
static int engine_create(const char *protocol, struct json_object *margo, struct mofka_engine **engine,
                         struct dango_error *err)
{
    size_t length = strlen(protocol);
    struct mofka_engine *new = calloc(1, sizeof *new + length + 1);
    if (!new)
        return dango_error_set(err, DANGO_ERR_NO_MEMORY, "out of memory");
    memcpy(new->protocol, protocol, length + 1);
    new->references = 1;
    new->config = complete_config(margo);
    sem_init(&new->started, 0, 0);
    if (pthread_create(&new->thread, NULL, engine_thread, new) != 0) {
        engine_free(new);
        return dango_error_set(err, DANGO_ERR_NO_MEMORY, "cannot start a thread for the network");
    }
    while (sem_wait(&new->started) != 0)
        ;
    if (new->err.code != 0) {
        int code = dango_error_set(err, new->err.code, "%s", new->err.text);
        pthread_join(new->thread, NULL);
        engine_free(new);
        return code;
    }
    list_append(&engines, &new->link);
    *engine = new;
    return 0;
}

static struct mofka_engine *find(const char *protocol)
{
    list_for_each (node, &engines) {
        struct mofka_engine *engine = container_of(node, struct mofka_engine, link);
        if (strcmp(engine->protocol, protocol) == 0)
            return engine;
    }
    return NULL;
}

int mofka_engine_get(const char *protocol, struct json_object *margo, struct mofka_engine **engine,
                     struct dango_error *err)
{
    int code = 0;
    pthread_mutex_lock(&engines_lock);
    *engine = find(protocol);
    if (*engine) {
        (*engine)->references++;
        if (margo)
            log_warning("mofka", "driver option \"margo\" is ignored: this process uses %s already", protocol);
    } else {
        code = engine_create(protocol, margo, engine, err);
    }
    pthread_mutex_unlock(&engines_lock);
    return code;
}

void mofka_engine_put(struct mofka_engine *engine)
{
    if (!engine)
        return;
    pthread_mutex_lock(&engines_lock);
    assert(engine->references > 0);
    if (--engine->references == 0) {
        /* Under the lock: whoever opens the next driver of this protocol waits until this one is gone. */
        list_remove(&engine->link);
        margo_finalize(engine->mid);
        pthread_join(engine->thread, NULL);
        engine_free(engine);
    }
    pthread_mutex_unlock(&engines_lock);
}

margo_instance_id mofka_engine_instance(const struct mofka_engine *engine)
{
    return engine->mid;
}

void mofka_engine_defer(struct mofka_engine *engine, void (*body)(void *arg), void *arg)
{
    int rc = ABT_thread_create(engine->pool, body, arg, ABT_THREAD_ATTR_NULL, NULL);
    assert(rc == ABT_SUCCESS); /* what waits for it could never go on */
    (void)rc;
}

/* ---- calls ---- */

int mofka_target_init(struct mofka_target *target, struct mofka_engine *engine, const char *address,
                      uint16_t provider_id, struct dango_error *err)
{
    *target = (struct mofka_target){.engine = engine, .provider_id = provider_id, .address = strdup(address)};
    if (!target->address)
        return dango_error_set(err, DANGO_ERR_NO_MEMORY, "out of memory");
    hg_return_t ret = margo_addr_lookup(engine->mid, address, &target->addr);
    if (ret == HG_SUCCESS)
        return 0;
    mofka_target_fini(target);
    return dango_hg_explain_address(margo_get_class(engine->mid), address, ret, err);
}

void mofka_target_fini(struct mofka_target *target)
{
    if (target->addr)
        margo_addr_free(target->engine->mid, target->addr);
    free(target->address);
    *target = (struct mofka_target){0};
}

int mofka_call_error(const struct mofka_target *target, hg_return_t ret, struct dango_error *err)
{
    assert(ret != HG_SUCCESS);
    switch (ret) {
    case HG_TIMEOUT:
        return dango_error_set(err, DANGO_ERR_TIMEOUT, "the server at %s does not answer", target->address);
    case HG_NOENTRY:
        return dango_error_set(err, DANGO_ERR_DISCONNECTED,
                               "the server at %s has no partition with provider id %u (was it restarted?)",
                               target->address, target->provider_id);
    case HG_CANCELED:
        return dango_error_set(err, DANGO_ERR_CANCELED, "canceled");
    case HG_NOMEM:
        return dango_error_set(err, DANGO_ERR_NO_MEMORY, "out of memory");
    default:
        return dango_error_set(err, DANGO_ERR_DISCONNECTED, "the server at %s is gone (%s)", target->address,
                               HG_Error_to_string(ret));
    }
}

int mofka_handle_create(const struct mofka_target *target, enum mofka_rpc rpc, hg_handle_t *handle,
                        struct dango_error *err)
{
    hg_return_t ret = margo_create(target->engine->mid, target->addr, target->engine->rpcs[rpc], handle);
    return ret == HG_SUCCESS ? 0 : mofka_call_error(target, ret, err);
}

int mofka_call_start(const struct mofka_target *target, hg_handle_t handle, const diaspora_segment *parts, size_t count,
                     double timeout_ms, void (*done)(void *arg, hg_return_t ret), void *arg, struct dango_error *err)
{
    struct mofka_message message = {.parts = parts, .part_count = count};
    hg_return_t ret = margo_provider_cforward_timed(target->provider_id, handle, &message, timeout_ms, done, arg);
    return ret == HG_SUCCESS ? 0 : mofka_call_error(target, ret, err);
}

/* Calls by a handle and blocks. */
static int call_by(const struct mofka_target *target, hg_handle_t handle, const diaspora_segment *parts, size_t count,
                   double timeout_ms, mofka_take take, void *arg, struct dango_error *err)
{
    int code;
    struct mofka_message message = {.parts = parts, .part_count = count};
    hg_return_t ret = margo_provider_forward_timed(target->provider_id, handle, &message, timeout_ms);
    if (ret == HG_SUCCESS)
        ret = margo_get_output(handle, &message);
    if (ret == HG_SUCCESS) {
        code = take(arg, &message, err);
        margo_free_output(handle, &message);
    } else {
        code = mofka_call_error(target, ret, err);
    }
    return code;
}

int mofka_call_take(const struct mofka_target *target, enum mofka_rpc rpc, const diaspora_segment *parts, size_t count,
                    double timeout_ms, mofka_take take, void *arg, struct dango_error *err)
{
    hg_handle_t handle;
    int code = mofka_handle_create(target, rpc, &handle, err);
    if (code != 0)
        return code;
    code = call_by(target, handle, parts, count, timeout_ms, take, arg, err);
    margo_destroy(handle);
    return code;
}

struct fixed_answer {
    void *base;
    size_t size;
};

static int take_fixed(void *arg, const struct mofka_message *message, struct dango_error *err)
{
    const struct fixed_answer *answer = arg;
    return dango_mofka_decode_answer(message, answer->base, answer->size, err);
}

int mofka_call_by(const struct mofka_target *target, hg_handle_t handle, const diaspora_segment *parts, size_t count,
                  void *answer, size_t answer_size, double timeout_ms, struct dango_error *err)
{
    struct fixed_answer fixed = {answer, answer_size};
    return call_by(target, handle, parts, count, timeout_ms, take_fixed, &fixed, err);
}

int mofka_call_timed(const struct mofka_target *target, enum mofka_rpc rpc, const diaspora_segment *parts, size_t count,
                     void *answer, size_t answer_size, double timeout_ms, struct dango_error *err)
{
    struct fixed_answer fixed = {answer, answer_size};
    return mofka_call_take(target, rpc, parts, count, timeout_ms, take_fixed, &fixed, err);
}

int mofka_call(const struct mofka_target *target, enum mofka_rpc rpc, const diaspora_segment *parts, size_t count,
               void *answer, size_t answer_size, struct dango_error *err)
{
    return mofka_call_timed(target, rpc, parts, count, answer, answer_size, MOFKA_CALL_MS, err);
}
