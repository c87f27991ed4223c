/*
 * Configuration of Flock providers: the option tables, finding what they name, and the effective configuration.
 */
#include "flock/provider/provider.h"

#include "util/json.h"

#include <assert.h>

const struct dango_option dango_flock_options[] = {
    DANGO_OPTION_JSON("bootstrap", struct dango_flock_settings, bootstrap, DANGO_JSON_STRING | DANGO_JSON_ARRAY, NULL,
                      "how the group is formed: self, view, mpi, join or file, or a list that is tried in order"),
    DANGO_OPTION_STRING("file", struct dango_flock_settings, file, NULL,
                        "group file, to be written, and read by join and file; absent: none"),
    DANGO_OPTION_JSON("gateway", struct dango_flock_settings, gateway, DANGO_JSON_OBJECT, NULL,
                      "{\"type\", \"config\"}: which address is published; absent: type default"),
    DANGO_OPTION_JSON("group", struct dango_flock_settings, group, DANGO_JSON_OBJECT, NULL,
                      "{\"type\", \"config\"}: how the membership is kept up to date, e.g. static"),
    DANGO_OPTION_JSON("mpi_ranks", struct dango_flock_settings, mpi_ranks, DANGO_JSON_ARRAY, NULL,
                      "ranks that form the group (bootstrap mpi); absent: all"),
    DANGO_OPTION_BOOL("remove_file", struct dango_flock_settings, remove_file, false,
                      "remove the group file when the last member leaves"),
    DANGO_OPTION_JSON("view", struct dango_flock_settings, view, DANGO_JSON_OBJECT, NULL,
                      "initial members and metadata, in the format of a group file (bootstrap view)"),
    DANGO_OPTION_END,
};

/* Both "group" and "gateway". */
struct selection {
    char *type;
    struct json_object *config;
};

static const struct dango_option selection_options[] = {
    DANGO_OPTION_STRING("type", struct selection, type, NULL, "its name"),
    DANGO_OPTION_JSON("config", struct selection, config, DANGO_JSON_OBJECT, "{}", "its options"),
    DANGO_OPTION_END,
};

static int parse_selection(struct json_object *json, const char *path, const char *field, const char *default_type,
                           struct selection *selection, struct dango_error *err)
{
    assert(path && field && !selection->type);
    char place[256];
    snprintf(place, sizeof place, "%s%s%s", path, *path ? "." : "", field);
    int status = dango_options_parse(selection_options, json, place, selection, err);
    if (status != 0 || selection->type)
        return status;
    /* A default stands for the whole object; an object must say what it is. */
    if (!json && default_type && (selection->type = strdup(default_type)))
        return 0;
    dango_options_release(selection_options, selection);
    return dango_error_set(err, DANGO_ERR_INVALID, "%s.type: this field is required", place);
}

int flk_select_gateway(struct json_object *json, const char *path, flock_gateway_impl *given,
                       flock_gateway_impl **gateway, struct json_object **config, struct dango_error *err)
{
    struct selection selection = {0};
    int status = parse_selection(json, path, "gateway", given ? given->name : "default", &selection, err);
    if (status != 0)
        return status;
    *gateway = given ? given : flk_gateway_find(selection.type, err);
    *config = *gateway ? json_object_get(selection.config) : NULL;
    dango_options_release(selection_options, &selection);
    return *gateway ? 0 : dango_error_prefix(err, "%s%sgateway.type", path, *path ? "." : "");
}

int flk_select_backend(struct json_object *json, const char *path, flock_backend_impl *given,
                       flock_backend_impl **backend, struct json_object **config, struct dango_error *err)
{
    struct selection selection = {0};
    int status = parse_selection(json, path, "group", given ? given->name : NULL, &selection, err);
    if (status != 0)
        return status;
    *backend = given ? given : flk_backend_find(selection.type, err);
    *config = *backend ? json_object_get(selection.config) : NULL;
    dango_options_release(selection_options, &selection);
    return *backend ? 0 : dango_error_prefix(err, "%s%sgroup.type", path, *path ? "." : "");
}

/* "bootstrap" is required here and not in the table: the C interface takes the view from the program. */
int dango_flock_check(struct json_object *config, const char *path, struct dango_error *err)
{
    assert(path);
    struct dango_flock_settings settings = {0};
    struct json_object *ignored = NULL;
    flock_gateway_impl *gateway;
    flock_backend_impl *backend;
    int status = dango_options_parse(dango_flock_options, config, path, &settings, err);
    if (status != 0)
        return status;
    status = flk_bootstrap_check(settings.bootstrap, settings.view, settings.mpi_ranks, path, err);
    if (status == 0)
        status = flk_select_gateway(settings.gateway, path, NULL, &gateway, &ignored, err);
    json_object_put(ignored);
    ignored = NULL;
    if (status == 0)
        status = flk_select_backend(settings.group, path, NULL, &backend, &ignored, err);
    json_object_put(ignored);
    dango_options_release(dango_flock_options, &settings);
    return status;
}

/* What a backend or gateway reports is valid during the call only. */
static void copy_config(void *arg, const struct json_object *config)
{
    *(struct json_object **)arg = dango_json_copy((struct json_object *)(uintptr_t)config);
}

static struct json_object *describe(const char *type, struct json_object *config)
{
    assert(type);
    struct json_object *json = json_object_new_object();
    json_object_object_add(json, "type", json_object_new_string(type));
    json_object_object_add(json, "config", config ? config : json_object_new_object());
    return json;
}

struct json_object *dango_flock_config(flock_provider_t provider)
{
    assert(provider);
    struct json_object *gateway = NULL, *group = NULL;
    provider->gateway->get_config(provider->gateway_context, copy_config, &gateway);
    provider->backend->get_config(provider->backend_context, copy_config, &group);
    struct json_object *json = json_object_new_object();
    json_object_object_add(json, "gateway", describe(provider->gateway->name, gateway));
    json_object_object_add(json, "group", describe(provider->backend->name, group));
    if (provider->file.path)
        json_object_object_add(json, "file", json_object_new_string(provider->file.path));
    if (provider->file.remove)
        json_object_object_add(json, "remove_file", json_object_new_boolean(true));
    return json;
}

char *flock_provider_get_config(flock_provider_t provider)
{
    if (!provider)
        return NULL;
    struct json_object *json = dango_flock_config(provider);
    char *text = strdup(json_object_to_json_string_ext(json, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE));
    json_object_put(json);
    return text;
}
