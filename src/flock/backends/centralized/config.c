/*
 * Options of backend centralized. They are read from group.config and completed by the "__config__" of the view, by which
 * a joiner learns what the group runs with, and who its primary is. Options that the original does not have appear in the
 * effective configuration only when they are set.
 */
#include "flock/backends/centralized/centralized.h"

#include "flock/provider/flock.h"
#include "util/json.h"

#include <dango/options.h>

#include <assert.h>

const struct dango_option dango_flock_centralized_options[] = {
    DANGO_OPTION_REAL("ping_timeout_ms", struct flk_cen_settings, ping_timeout_ms, 1000.0, 0.0, 1e9,
                      "time after which a ping counts as failed"),
    DANGO_OPTION_JSON("ping_interval_ms", struct flk_cen_settings, ping_interval,
                      DANGO_JSON_INT | DANGO_JSON_REAL | DANGO_JSON_ARRAY, "1000.0",
                      "time between pings to the same member, or [min, max] to draw it from"),
    DANGO_OPTION_INT("ping_max_num_timeouts", struct flk_cen_settings, ping_max_num_timeouts, 3, 1, 1000000,
                     "failed pings in a row after which a member is declared dead"),
    DANGO_OPTION_STRING("primary_address", struct flk_cen_settings, primary_address, NULL,
                        "address of the primary; absent: the first member"),
    DANGO_OPTION_JSON("primary_provider_id", struct flk_cen_settings, primary_provider_id, DANGO_JSON_INT, NULL,
                      "provider id of the primary; absent: 0 with an address, else that of the first member"),
    DANGO_OPTION_REAL("join_timeout_ms", struct flk_cen_settings, join_timeout_ms, 5000.0, 1.0, 1e9,
                      "time that joining may take; more while the members replace a lost primary"),
    DANGO_OPTION_BOOL("failover", struct flk_cen_settings, failover, true, "whether a lost primary is replaced"),
    DANGO_OPTION_BOOL("failover_quorum", struct flk_cen_settings, failover_quorum, false,
                      "replace it only if more than half of the last view can be reached"),
    DANGO_OPTION_BOOL("rejoin", struct flk_cen_settings, rejoin, true,
                      "whether a member that was declared dead by mistake joins again"),
    DANGO_OPTION_END,
};

static const char *const only_if_set[] = {"join_timeout_ms", "failover", "failover_quorum", "rejoin"};

/* A number, or an array of two. */
static int read_interval(struct flk_cen_settings *settings, struct dango_error *err)
{
    struct json_object *json = settings->ping_interval;
    struct json_object *min = json, *max = json;
    if (json_object_is_type(json, json_type_array)) {
        min = json_object_array_length(json) == 2 ? json_object_array_get_idx(json, 0) : NULL;
        max = json_object_array_length(json) == 2 ? json_object_array_get_idx(json, 1) : NULL;
    }
    bool numbers = (json_object_is_type(min, json_type_double) || json_object_is_type(min, json_type_int)) &&
                   (json_object_is_type(max, json_type_double) || json_object_is_type(max, json_type_int));
    settings->interval_min_ms = numbers ? json_object_get_double(min) : -1;
    settings->interval_max_ms = numbers ? json_object_get_double(max) : -1;
    if (settings->interval_min_ms >= 0 && settings->interval_min_ms <= settings->interval_max_ms &&
        settings->interval_max_ms <= 1e9)
        return 0;
    return dango_error_set(err, DANGO_ERR_INVALID,
                           "ping_interval_ms: expected a number or [min, max] with 0 <= min <= max, found %s",
                           json_object_to_json_string(json));
}

static int check_primary_id(const struct flk_cen_settings *settings, struct dango_error *err)
{
    int64_t id = settings->primary_provider_id ? json_object_get_int64(settings->primary_provider_id) : 0;
    if (id >= 0 && id <= UINT16_MAX)
        return 0;
    return dango_error_set(err, DANGO_ERR_RANGE,
                           "primary_provider_id: expected a number between 0 and 65535, found %lld", (long long)id);
}

/* Fields of "__config__" that we know replace those of group.config. */
static flock_return_t complete(struct json_object *config, const flock_group_view_t *view, struct dango_error *err)
{
    const char *text = flock_group_view_find_metadata(view, "__config__");
    struct json_object *inherited = text ? dango_json_parse(text, strlen(text), err) : NULL;
    if (!text)
        return FLOCK_SUCCESS;
    if (!json_object_is_type(inherited, json_type_object)) {
        json_object_put(inherited);
        dango_error_set(err, DANGO_ERR_INVALID, "the metadata \"__config__\" of the initial view is no JSON object");
        return FLOCK_ERR_INVALID_ARGS;
    }
    for (const struct dango_option *option = dango_flock_centralized_options; option->type != DANGO_OPTION_TYPE_END;
         option++) {
        struct json_object *value = dango_json_get(inherited, option->name);
        if (value)
            json_object_object_add(config, option->name, json_object_get(value));
    }
    json_object_put(inherited);
    return FLOCK_SUCCESS;
}

/* The options of ours that were given. */
static struct json_object *pick_given(struct json_object *config)
{
    struct json_object *given = json_object_new_object();
    for (size_t i = 0; i < sizeof only_if_set / sizeof only_if_set[0]; i++) {
        struct json_object *value = dango_json_get(config, only_if_set[i]);
        if (value)
            json_object_object_add(given, only_if_set[i], json_object_get(value));
    }
    return given;
}

flock_return_t flk_cen_settings_read(struct json_object *config, const flock_group_view_t *view,
                                     struct flk_cen_settings *settings, struct dango_error *err)
{
    assert(config && view && settings);
    struct json_object *completed = dango_json_copy(config);
    flock_return_t ret = complete(completed, view, err);
    if (ret == FLOCK_SUCCESS) {
        ret = FLOCK_ERR_INVALID_CONFIG;
        if (dango_options_parse(dango_flock_centralized_options, completed, "group.config", settings, err) == 0) {
            if (read_interval(settings, err) == 0 && check_primary_id(settings, err) == 0)
                ret = FLOCK_SUCCESS;
            else
                dango_error_prefix(err, "group.config");
            settings->given = pick_given(completed);
        }
    }
    if (ret != FLOCK_SUCCESS)
        flk_cen_settings_release(settings);
    json_object_put(completed);
    return ret;
}

void flk_cen_settings_release(struct flk_cen_settings *settings)
{
    dango_options_release(dango_flock_centralized_options, settings);
    json_object_put(settings->given);
    settings->given = NULL;
}

static struct json_object *dump_interval(const struct flk_cen_settings *settings)
{
    if (settings->interval_min_ms >= settings->interval_max_ms)
        return json_object_new_double(settings->interval_min_ms);
    struct json_object *array = json_object_new_array();
    json_object_array_add(array, json_object_new_double(settings->interval_min_ms));
    json_object_array_add(array, json_object_new_double(settings->interval_max_ms));
    return array;
}

struct json_object *flk_cen_settings_dump(const struct flk_cen_settings *settings, const char *primary,
                                          uint16_t primary_id)
{
    assert(primary);
    struct json_object *json = json_object_new_object();
    json_object_object_add(json, "ping_timeout_ms", json_object_new_double(settings->ping_timeout_ms));
    json_object_object_add(json, "ping_interval_ms", dump_interval(settings));
    json_object_object_add(json, "ping_max_num_timeouts", json_object_new_int64(settings->ping_max_num_timeouts));
    json_object_object_add(json, "primary_address", json_object_new_string(primary));
    json_object_object_add(json, "primary_provider_id", json_object_new_int(primary_id));
    json_object_object_foreach (settings->given, key, value)
        json_object_object_add(json, key, json_object_get(value));
    return json;
}
