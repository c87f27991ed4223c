/*
 * Configuration: the option table, the rules that a table cannot express (fixed values, the shorthand
 * backing_thread_count, what an external pool makes meaningless), and the effective configuration, which is valid
 * input again. What is wrong is an error; what is merely without effect is a warning.
 */
#include "abt-io/abtio.h"
#include "abt-io/ring.h"

#include "util/json.h"
#include "util/log.h"
#include "util/suggest.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define VERSION      "0.9.0" /* of the interface that we offer */
#define XSTREAMS_MAX 1024

static const struct dango_option pool_options[] = {
    DANGO_OPTION_INT("num_xstreams", struct abtio_pool_settings, num_xstreams, 16, 1, XSTREAMS_MAX,
                     "execution streams that serve the pool"),
    DANGO_OPTION_STRING("kind", struct abtio_pool_settings, kind, "fifo_wait", "fixed"),
    DANGO_OPTION_STRING("access", struct abtio_pool_settings, access, "mpmc", "fixed"),
    DANGO_OPTION_END,
};

const struct dango_option dango_abt_io_options[] = {
    DANGO_OPTION_STRING("version", struct abtio_settings, version, VERSION, "version of the interface; output only"),
    DANGO_OPTION_BOOL("null_io_write", struct abtio_settings, null_io_write, false,
                      "writes succeed without touching the file, to measure everything else"),
    DANGO_OPTION_BOOL("null_io_read", struct abtio_settings, null_io_read, false,
                      "reads succeed without touching the file or the buffer"),
    DANGO_OPTION_BOOL("trace_io", struct abtio_settings, trace_io, false,
                      "one line per operation on standard error; if absent, the environment variable ABT_IO_TRACE_IO "
                      "decides"),
    DANGO_OPTION_INT("num_urings", struct abtio_settings, num_urings, 0, 0, 64,
                     "io_uring rings for positional reads and writes and for syncs; 0: all operations run in the pool"),
    DANGO_OPTION_BOOL("internal_pool_flag", struct abtio_settings, internal_pool_flag, true,
                      "whether the pool belongs to the instance; output only"),
    DANGO_OPTION_OBJECT("internal_pool", struct abtio_settings, internal_pool, pool_options,
                        "the pool of the instance, when none is given"),
    DANGO_OPTION_JSON("liburing_flags", struct abtio_settings, liburing_flags, DANGO_JSON_ARRAY, "[]",
                      "IOSQE_ASYNC, IORING_SETUP_SQPOLL, IORING_SETUP_COOP_TASKRUN, IORING_SETUP_SINGLE_ISSUER, "
                      "IORING_SETUP_DEFER_TASKRUN"),
    DANGO_OPTION_INT("backing_thread_count", struct abtio_settings, backing_thread_count, 0, 1, XSTREAMS_MAX,
                     "short for internal_pool.num_xstreams"),
    DANGO_OPTION_END,
};

static const char *const ring_flags[] = {"IOSQE_ASYNC", "IORING_SETUP_SQPOLL", "IORING_SETUP_COOP_TASKRUN",
                                         "IORING_SETUP_SINGLE_ISSUER", "IORING_SETUP_DEFER_TASKRUN"};
#define RING_FLAGS (sizeof ring_flags / sizeof *ring_flags)

/* Sets a string that is not the user's to choose. */
static int fix_text(const char *name, char **field, const char *value, struct dango_error *err)
{
    assert(*field);
    if (strcmp(*field, value) == 0)
        return 0;
    log_warning("abt-io", "%s is always \"%s\", \"%s\" is ignored", name, value, *field);
    free(*field);
    *field = strdup(value);
    return *field ? 0 : dango_error_set(err, DANGO_ERR_NO_MEMORY, "%s: out of memory", name);
}

/* Keeps the flags that exist; what is not even a string is an error. */
static int filter_ring_flags(struct abtio_settings *settings, struct dango_error *err)
{
    struct json_object *kept = json_object_new_array();
    size_t count = json_object_array_length(settings->liburing_flags);
    for (size_t i = 0; i < count; i++) {
        struct json_object *item = json_object_array_get_idx(settings->liburing_flags, i);
        if (!json_object_is_type(item, json_type_string)) {
            json_object_put(kept);
            return dango_error_set(err, DANGO_ERR_INVALID, "liburing_flags[%zu]: expected a string, found %s", i,
                                   dango_json_kind(item));
        }
        const char *name = json_object_get_string(item);
        char list[512];
        if (abtio_ring_flag(name, &settings->ring_flags))
            json_object_array_add(kept, json_object_get(item));
        else
            log_warning("abt-io", "liburing_flags[%zu]: unknown flag \"%s\" is ignored%s", i, name,
                        dango_suggest_list("flags", name, ring_flags, RING_FLAGS, list, sizeof list));
    }
    json_object_put(settings->liburing_flags);
    settings->liburing_flags = kept;
    return 0;
}

static void choose_trace(struct json_object *config, struct abtio_settings *settings)
{
    const char *variable = getenv("ABT_IO_TRACE_IO");
    if (!dango_json_get(config, "trace_io") && variable)
        settings->trace_io = strtol(variable, NULL, 10) != 0;
}

static void choose_pool(struct json_object *config, bool external_pool, struct abtio_settings *settings)
{
    settings->internal_pool_flag = !external_pool;
    if (external_pool) {
        if (dango_json_get(config, "internal_pool"))
            log_warning("abt-io", "internal_pool is ignored: the instance was given a pool");
        if (settings->backing_thread_count)
            log_warning("abt-io", "backing_thread_count is ignored: the instance was given a pool");
    } else if (settings->backing_thread_count) {
        if (dango_json_get(dango_json_get(config, "internal_pool"), "num_xstreams"))
            log_warning("abt-io", "backing_thread_count is ignored: internal_pool.num_xstreams is given");
        else
            settings->internal_pool.num_xstreams = settings->backing_thread_count;
    }
}

int abtio_settings_parse(struct json_object *config, bool external_pool, struct abtio_settings *settings,
                         struct dango_error *err)
{
    memset(settings, 0, sizeof *settings);
    int status = dango_options_parse(dango_abt_io_options, config, "", settings, err);
    if (status != 0)
        return status;
    status = fix_text("version", &settings->version, VERSION, err);
    if (status == 0)
        status = fix_text("internal_pool.kind", &settings->internal_pool.kind, "fifo_wait", err);
    if (status == 0)
        status = fix_text("internal_pool.access", &settings->internal_pool.access, "mpmc", err);
    if (status == 0)
        status = filter_ring_flags(settings, err);
    if (status != 0) {
        abtio_settings_release(settings);
        return status;
    }
    choose_trace(config, settings);
    choose_pool(config, external_pool, settings);
    return 0;
}

void abtio_settings_release(struct abtio_settings *settings)
{
    dango_options_release(dango_abt_io_options, settings);
}

struct json_object *abtio_settings_dump(const struct abtio_settings *settings)
{
    struct json_object *json = dango_options_dump(dango_abt_io_options, settings);
    json_object_object_del(json, "backing_thread_count");
    if (!settings->internal_pool_flag)
        json_object_object_del(json, "internal_pool");
    return json;
}

static bool is_known(const char *name)
{
    for (const struct dango_option *o = dango_abt_io_options; o->type != DANGO_OPTION_TYPE_END; o++) {
        if (strcmp(o->name, name) == 0)
            return true;
    }
    return false;
}

void abtio_config_split(struct json_object *config, struct json_object **known, struct json_object **foreign)
{
    *known = json_object_new_object();
    *foreign = json_object_new_object();
    json_object_object_foreach (config, key, value) {
        bool ours = is_known(key);
        if (!ours)
            log_warning("abt-io", "unknown field \"%s\" is ignored", key);
        json_object_object_add(ours ? *known : *foreign, key, json_object_get(value));
    }
}
