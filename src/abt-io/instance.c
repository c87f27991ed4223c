/*
 * Life of an instance: its configuration, its pool (its own with execution streams that sleep when idle, or the
 * caller's), and its end.
 *
 * Finalisation closes the gate: new calls are executed by their callers, and those in flight are waited for, in an
 * external pool too. Only then are streams joined and memory released, so that no work unit ever sees a dead instance.
 */
#include "abt-io/abtio.h"
#include "abt-io/ring.h"

#include "util/clock.h"
#include "util/json.h"
#include "util/log.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

static void pool_destroy(struct abt_io_instance *instance)
{
    for (int64_t i = 0; i < instance->num_xstreams; i++)
        ABT_xstream_free(&instance->xstreams[i]);
    free(instance->xstreams);
    if (instance->settings.internal_pool_flag && instance->pool != ABT_POOL_NULL)
        ABT_pool_free(&instance->pool);
}

/* On failure the caller destroys what exists. */
static int pool_create(struct abt_io_instance *instance, struct dango_error *err)
{
    int64_t count = instance->settings.internal_pool.num_xstreams;
    assert(count > 0);
    instance->xstreams = calloc((size_t)count, sizeof *instance->xstreams);
    if (!instance->xstreams)
        return dango_error_set(err, DANGO_ERR_NO_MEMORY, "out of memory");
    if (ABT_pool_create_basic(ABT_POOL_FIFO_WAIT, ABT_POOL_ACCESS_MPMC, ABT_FALSE, &instance->pool) != ABT_SUCCESS)
        return dango_error_set(err, DANGO_ERR_NO_MEMORY, "cannot create a pool");
    while (instance->num_xstreams < count) {
        ABT_xstream *xstream = &instance->xstreams[instance->num_xstreams];
        if (ABT_xstream_create_basic(ABT_SCHED_BASIC_WAIT, 1, &instance->pool, ABT_SCHED_CONFIG_NULL, xstream) !=
            ABT_SUCCESS)
            return dango_error_set(err, DANGO_ERR_NO_MEMORY,
                                   "internal_pool.num_xstreams: only %lld of %lld execution streams could be created",
                                   (long long)instance->num_xstreams, (long long)count);
        instance->num_xstreams++;
    }
    return 0;
}

/* Without rings everything works as well, only with one thread per operation in flight: a warning, not an error. */
static void rings_create(struct abt_io_instance *instance)
{
    struct abtio_settings *settings = &instance->settings;
    if (settings->num_urings == 0)
        return;
    struct dango_error err;
    instance->rings = abtio_rings_create((unsigned)settings->num_urings, &settings->ring_flags, &err);
    if (!instance->rings) {
        log_warning("abt-io",
                    "num_urings: io_uring is not available (%s); all operations run in the pool, which should have "
                    "execution streams of its own",
                    err.text);
        settings->num_urings = 0;
    }
}

static void destroy(struct abt_io_instance *instance)
{
    abtio_rings_destroy(instance->rings);
    pool_destroy(instance);
    abtio_settings_release(&instance->settings);
    json_object_put(instance->foreign);
    free(instance);
}

abt_io_instance_id dango_abt_io_create(struct json_object *config, ABT_pool pool, struct dango_error *err)
{
    if (ABT_initialized() != ABT_SUCCESS) {
        dango_error_set(err, DANGO_ERR_INVALID, "Argobots is not initialised: call ABT_init first");
        return NULL;
    }
    struct abt_io_instance *instance = calloc(1, sizeof *instance);
    if (!instance) {
        dango_error_set(err, DANGO_ERR_NO_MEMORY, "out of memory");
        return NULL;
    }
    instance->pool = pool;
    instance->start_ns = dango_clock_ns();
    int status = abtio_settings_parse(config, pool != ABT_POOL_NULL, &instance->settings, err);
    if (status != 0) {
        free(instance);
        return NULL;
    }
    if (instance->settings.internal_pool_flag && pool_create(instance, err) != 0) {
        destroy(instance);
        return NULL;
    }
    rings_create(instance);
    if (instance->settings.trace_io)
        abtio_trace_header();
    return instance;
}

static abt_io_instance_id create_from_text(const char *text, ABT_pool pool, struct dango_error *err)
{
    struct json_object *config = dango_json_parse(text, strlen(text), err);
    if (!config)
        return NULL;
    if (!json_object_is_type(config, json_type_object)) {
        dango_error_set(err, DANGO_ERR_INVALID, "expected an object, found %s", dango_json_kind(config));
        json_object_put(config);
        return NULL;
    }
    struct json_object *known, *foreign;
    abtio_config_split(config, &known, &foreign);
    abt_io_instance_id aid = dango_abt_io_create(known, pool, err);
    if (aid)
        aid->foreign = json_object_get(foreign);
    json_object_put(known);
    json_object_put(foreign);
    json_object_put(config);
    return aid;
}

abt_io_instance_id abt_io_init_ext(const struct abt_io_init_info *args)
{
    const char *text = args && args->json_config && *args->json_config ? args->json_config : "{}";
    struct dango_error err;
    abt_io_instance_id aid = create_from_text(text, args ? args->progress_pool : ABT_POOL_NULL, &err);
    if (!aid)
        log_error("abt-io", "could not initialise an instance: %s", err.text);
    return aid;
}

abt_io_instance_id abt_io_init(int backing_thread_count)
{
    struct dango_error err;
    struct json_object *config = json_object_new_object();
    json_object_object_add(config, "backing_thread_count", json_object_new_int(backing_thread_count));
    abt_io_instance_id aid = dango_abt_io_create(config, ABT_POOL_NULL, &err);
    if (!aid)
        log_error("abt-io", "could not initialise an instance: %s", err.text);
    json_object_put(config);
    return aid;
}

abt_io_instance_id abt_io_init_pool(ABT_pool progress_pool)
{
    struct abt_io_init_info args = {.progress_pool = progress_pool};
    return abt_io_init_ext(&args);
}

void abt_io_finalize(abt_io_instance_id aid)
{
    if (!aid)
        return;
    dango_gate_close(&aid->gate);
    destroy(aid);
}

size_t abt_io_get_pending_op_count(abt_io_instance_id aid)
{
    return aid ? (size_t)dango_gate_count(&aid->gate) : (size_t)-1;
}

ABT_pool dango_abt_io_pool(abt_io_instance_id aid)
{
    assert(aid);
    return aid->rings ? ABT_POOL_NULL : aid->pool;
}

struct json_object *dango_abt_io_config(abt_io_instance_id aid)
{
    assert(aid);
    struct json_object *json = abtio_settings_dump(&aid->settings);
    if (aid->foreign) {
        json_object_object_foreach (aid->foreign, key, value)
            json_object_object_add(json, key, dango_json_copy(value));
    }
    return json;
}

char *abt_io_get_config(abt_io_instance_id aid)
{
    if (!aid)
        return NULL;
    struct json_object *json = dango_abt_io_config(aid);
    char *text = strdup(json_object_to_json_string_ext(json, JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_SPACED |
                                                                 JSON_C_TO_STRING_NOSLASHESCAPE));
    json_object_put(json);
    return text;
}
