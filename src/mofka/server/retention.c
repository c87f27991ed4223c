/*
 * Retention: removing full chunks that are too old, too much, or have been acknowledged by everybody who matters.
 *
 * It is looked at when a chunk has become full, when a position has passed the end of the first chunk, when the first chunk
 * becomes too old (a timer, armed only for that moment), and at start. The work is done by one ULT at a time; whoever finds
 * it at work makes it look once more. Consumers that matter are those named in acknowledged_by: without a saved position
 * they need everything.
 */
#include "mofka/server/provider.h"

#include "util/clock.h"
#include "util/log.h"

#include <inttypes.h>
#include <json-c/json.h>
#include <stdlib.h>

/* The timer looks again after this time at the latest, since the clock on the wall may be set, and not before that. */
#define PAUSE_MAX_NS (INT64_C(3600) * DANGO_NS_PER_S)
#define PAUSE_MIN_NS (INT64_C(1) * DANGO_NS_PER_S)

enum { IDLE, WORKING, AGAIN };

/* ---- options ---- */

static int add_name(struct mofka_retention *retention, struct json_object *json, size_t i, struct dango_error *err)
{
    const char *name = json_object_is_type(json, json_type_string) ? json_object_get_string(json) : "";
    size_t length = strlen(name);
    if (length == 0 || length > MOFKA_NAME_MAX)
        return dango_error_set(err, DANGO_ERR_INVALID,
                               "config.partition.retention.acknowledged_by[%zu]: expected the name of a consumer, of 1 "
                               "to %u bytes",
                               i, MOFKA_NAME_MAX);
    retention->names[i] = strdup(name);
    if (!retention->names[i])
        return dango_error_set(err, DANGO_ERR_NO_MEMORY, "out of memory");
    retention->name_count++;
    return 0;
}

static int take_names(struct mofka_retention *retention, struct json_object *json, struct dango_error *err)
{
    bool is_array = json_object_is_type(json, json_type_array);
    size_t count = is_array ? json_object_array_length(json) : json ? 1 : 0;
    int code = 0;
    retention->names = calloc(count + 1, sizeof(char *));
    if (!retention->names)
        return dango_error_set(err, DANGO_ERR_NO_MEMORY, "out of memory");
    for (size_t i = 0; code == 0 && i < count; i++)
        code = add_name(retention, is_array ? json_object_array_get_idx(json, i) : json, i, err);
    return code;
}

/* ---- work ---- */

/* The first event that a consumer that matters has not acknowledged. */
static uint64_t needed_from(struct mofka_provider *provider)
{
    const struct mofka_retention *retention = &provider->retention;
    uint64_t needed = UINT64_MAX;
    for (size_t i = 0; i < retention->name_count; i++) {
        uint64_t position = dango_mofka_positions_get(provider->positions, retention->names[i]);
        needed = position < needed ? position : needed;
    }
    return needed;
}

static void arm(struct mofka_provider *provider, uint64_t expires_ns)
{
    uint64_t now_ns = dango_clock_wall_ns();
    int64_t pause_ns = PAUSE_MIN_NS;
    if (expires_ns > now_ns + PAUSE_MIN_NS)
        pause_ns = expires_ns - now_ns < PAUSE_MAX_NS ? (int64_t)(expires_ns - now_ns) : PAUSE_MAX_NS;
    /* Under the lock, so that nothing is armed any more once `closing` was set under it. */
    pthread_mutex_lock(&provider->lock);
    if (!atomic_load(&provider->closing))
        dango_abt_timer_arm(&provider->retention.timer, dango_clock_ns() + pause_ns);
    pthread_mutex_unlock(&provider->lock);
}

static void tell(struct mofka_provider *provider, const struct mofka_log_removal *removal)
{
    struct mofka_retention *retention = &provider->retention;
    if (removal->chunks > 0)
        log_info("mofka", "retention: removed %" PRIu64 " chunks (%" PRIu64 " bytes); events begin at %" PRIu64 " now",
                 removal->chunks, removal->bytes, removal->first_id);
    if (removal->held_back && !retention->held_back)
        log_warning("mofka",
                    "retention: chunks from event %" PRIu64 " on are too old or too much, but stay until all consumers "
                    "of retention.acknowledged_by have acknowledged them",
                    removal->first_id);
    retention->held_back = removal->held_back;
}

static void trim(struct mofka_provider *provider)
{
    struct mofka_retention *retention = &provider->retention;
    struct mofka_log *log = dango_mofka_partition_log(provider->partition);
    struct mofka_log_removal removal;
    struct dango_error err;
    retention->limits.needed_from_id = needed_from(provider);
    size_t before = dango_mofka_log_num_chunks(log);
    int code = dango_mofka_log_trim(log, &retention->limits, &removal, &err);
    atomic_store(&retention->num_chunks, before - removal.chunks);
    if (code != 0)
        log_error("mofka", "retention: %s", err.text);
    tell(provider, &removal);
    if (removal.expires_ns > 0)
        arm(provider, removal.expires_ns);
}

/* The body of a ULT. */
static void work(void *arg)
{
    struct mofka_provider *provider = arg;
    int expected;
    do {
        atomic_store(&provider->retention.state, WORKING);
        trim(provider);
        expected = WORKING;
    } while (!atomic_compare_exchange_strong(&provider->retention.state, &expected, IDLE));
}

/* Has somebody look. Without memory for a ULT the next occasion will do. */
static void look(struct mofka_provider *provider)
{
    int before = atomic_exchange(&provider->retention.state, AGAIN);
    if (before != IDLE)
        return;
    if (mofka_provider_run(provider, work, provider) != 0)
        atomic_store(&provider->retention.state, IDLE);
}

static void on_timer(void *arg)
{
    look(arg);
}

/* ---- occasions ---- */

void mofka_retention_grown(struct mofka_provider *provider)
{
    struct mofka_retention *retention = &provider->retention;
    if (!retention->enabled)
        return;
    struct mofka_log *log = dango_mofka_partition_log(provider->partition);
    if (dango_mofka_log_num_chunks(log) != atomic_load(&retention->num_chunks))
        look(provider);
}

void mofka_retention_acknowledged(struct mofka_provider *provider)
{
    if (provider->retention.name_count == 0)
        return;
    uint64_t end = dango_mofka_log_first_end(dango_mofka_partition_log(provider->partition));
    if (end > 0 && needed_from(provider) >= end)
        look(provider);
}

/* ---- life ---- */

int mofka_retention_init(struct mofka_provider *provider, const struct mofka_retention_options *options,
                         struct dango_error *err)
{
    struct mofka_retention *retention = &provider->retention;
    int code = take_names(retention, options->acknowledged_by, err);
    bool limited = options->max_age_s > 0 || options->max_bytes > 0;
    retention->limits.max_age_ns = (uint64_t)options->max_age_s * DANGO_NS_PER_S;
    retention->limits.max_bytes = (uint64_t)options->max_bytes;
    retention->limits.only_needed = retention->name_count > 0 && !limited;
    retention->enabled = retention->name_count > 0 || limited;
    dango_abt_timer_init(&retention->timer, on_timer, provider);
    return code;
}

void mofka_retention_start(struct mofka_provider *provider)
{
    if (provider->retention.enabled)
        look(provider);
}

void mofka_retention_stop(struct mofka_provider *provider)
{
    if (provider->retention.enabled)
        dango_abt_timer_cancel(&provider->retention.timer);
}

void mofka_retention_fini(struct mofka_provider *provider)
{
    struct mofka_retention *retention = &provider->retention;
    for (size_t i = 0; i < retention->name_count; i++)
        free(retention->names[i]);
    free(retention->names);
    retention->names = NULL;
    retention->name_count = 0;
}
