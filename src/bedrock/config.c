/*
 * Reading of the checked document, see config.h. The rules for single providers are in description.c and plan.c.
 */
#include "bedrock/config.h"
#include "bedrock/plan.h"
#include "util/json.h"
#include "util/log.h"
#include "util/suggest.h"

#include <bedrock/module.h>

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const struct dango_option bdk_settings_options[] = {
    DANGO_OPTION_STRING("pool", struct bdk_settings, pool, NULL,
                        "pool that runs the management RPCs; by default the RPC pool of the engine"),
    DANGO_OPTION_INT("provider_id", struct bdk_settings, provider_id, 0, 0, UINT16_MAX - 1,
                     "id of the management provider"),
    DANGO_OPTION_REAL("dependency_resolution_timeout", struct bdk_settings, dependency_resolution_timeout, 30, 0, 86400,
                      "seconds that a provider of another process may take to appear"),
    DANGO_OPTION_STRING("name", struct bdk_settings, name, NULL,
                        "what this server is called in its group, also after a restart; by default its rank, or its "
                        "position in the group"),
    DANGO_OPTION_END,
};

/* The sections of a document: this table is for the reference page and for unknown names. */
struct sections {
    struct json_object *margo, *libraries, *providers, *bedrock;
};

const struct dango_option bdk_config_options[] = {
    DANGO_OPTION_JSON("margo", struct sections, margo, DANGO_JSON_OBJECT | DANGO_JSON_ARRAY, "{}",
                      "the network engine, or an array of engines; see margo.md"),
    DANGO_OPTION_JSON("libraries", struct sections, libraries, DANGO_JSON_ARRAY, "[]",
                      "module libraries to load, in this order"),
    DANGO_OPTION_JSON("providers", struct sections, providers, DANGO_JSON_ARRAY, "[]",
                      "providers to create, in this order; see below"),
    DANGO_OPTION_JSON("bedrock", struct sections, bedrock, DANGO_JSON_OBJECT, "{}", "the daemon itself, see below"),
    DANGO_OPTION_END,
};

/* Sections of older releases: what they configured are ordinary providers now, or gone. */
static bool is_old_section(const char *key)
{
    static const char *const old[] = {"abt_io", "ssg", "mona", "clients"};
    for (size_t i = 0; i < sizeof old / sizeof *old; i++) {
        if (strcmp(old[i], key) == 0)
            return true;
    }
    return false;
}

static int check_sections(struct json_object *document, struct dango_error *err)
{
    static const char *const names[] = {"margo", "libraries", "providers", "bedrock"};
    const size_t count = sizeof names / sizeof *names;
    json_object_object_foreach (document, key, value) {
        (void)value;
        size_t i = 0;
        while (i < count && strcmp(names[i], key) != 0)
            i++;
        if (i < count)
            continue;
        char list[256];
        if (!is_old_section(key))
            return dango_error_set(err, DANGO_ERR_INVALID, "unknown field \"%s\"%s", key,
                                   dango_suggest_list("fields", key, names, count, list, sizeof list));
        log_warning("bedrock", "section \"%s\" is ignored: such things are configured in \"providers\" now", key);
    }
    return 0;
}

const char *bdk_config_engine_path(const struct bdk_config *config, size_t i, char buffer[BDK_PATH_BYTES])
{
    if (config->engines_are_array)
        snprintf(buffer, BDK_PATH_BYTES, "margo[%zu]", i);
    else
        snprintf(buffer, BDK_PATH_BYTES, "margo");
    return buffer;
}

static int parse_engines(struct bdk_config *config, struct json_object *margo, struct dango_error *err)
{
    config->engines_are_array = json_object_is_type(margo, json_type_array);
    if (config->engines_are_array) {
        config->engines = json_object_get(margo);
    } else {
        config->engines = json_object_new_array();
        json_object_array_add(config->engines, margo ? json_object_get(margo) : json_object_new_object());
    }
    size_t count = json_object_array_length(config->engines);
    if (count == 0)
        return dango_error_set(err, DANGO_ERR_INVALID, "margo: an empty array; expected at least one engine");
    for (size_t i = 0; i < count; i++) {
        struct json_object *engine = json_object_array_get_idx(config->engines, i);
        char path[BDK_PATH_BYTES];
        if (!json_object_is_type(engine, json_type_object))
            return dango_error_set(err, DANGO_ERR_INVALID, "%s: expected an object, got %s",
                                   bdk_config_engine_path(config, i, path), dango_json_kind(engine));
    }
    return 0;
}

static int parse_libraries(struct bdk_config *config, struct json_object *libraries, struct dango_error *err)
{
    if (!libraries)
        return 0;
    if (!json_object_is_type(libraries, json_type_array))
        return dango_error_set(err, DANGO_ERR_INVALID, "libraries: expected an array of strings, got %s",
                               dango_json_kind(libraries));
    for (size_t i = 0; i < json_object_array_length(libraries); i++) {
        struct json_object *library = json_object_array_get_idx(libraries, i);
        if (!json_object_is_type(library, json_type_string))
            return dango_error_set(err, DANGO_ERR_INVALID, "libraries[%zu]: expected a string, got %s", i,
                                   dango_json_kind(library));
    }
    config->num_libraries = json_object_array_length(libraries);
    return 0;
}

static int check_unique_name(const struct bdk_config *config, size_t i, struct dango_error *err)
{
    const struct bdk_description *provider = &config->providers[i];
    for (size_t j = 0; j < i; j++) {
        if (strcmp(config->providers[j].name, provider->name) == 0)
            return dango_error_set(err, DANGO_ERR_EXISTS, "%s.name: \"%s\" is already used by %s", provider->path,
                                   provider->name, config->providers[j].path);
    }
    return 0;
}

static int parse_providers(struct bdk_config *config, struct json_object *providers, struct dango_error *err)
{
    if (!providers)
        return 0;
    if (!json_object_is_type(providers, json_type_array))
        return dango_error_set(err, DANGO_ERR_INVALID, "providers: expected an array, got %s",
                               dango_json_kind(providers));
    size_t count = json_object_array_length(providers);
    config->providers = calloc(count + 1, sizeof *config->providers);
    if (!config->providers)
        return dango_error_set(err, DANGO_ERR_NO_MEMORY, "out of memory");
    for (size_t i = 0; i < count; i++) {
        char path[BDK_PATH_BYTES];
        snprintf(path, sizeof path, "providers[%zu]", i);
        int status = bdk_description_parse(&config->providers[i], json_object_array_get_idx(providers, i), path, err);
        if (status < 0)
            return status;
        config->num_providers++;
        if ((status = check_unique_name(config, i, err)) < 0)
            return status;
    }
    return 0;
}

int bdk_config_parse(struct bdk_config *config, struct json_object *document, struct dango_error *err)
{
    assert(config && json_object_is_type(document, json_type_object));
    *config = (struct bdk_config){.document = json_object_get(document)};
    int status;
    if ((status = check_sections(document, err)) < 0 ||
        (status = parse_engines(config, dango_json_get(document, "margo"), err)) < 0 ||
        (status = dango_options_parse(bdk_settings_options, dango_json_get(document, "bedrock"), "bedrock",
                                      &config->settings, err)) < 0 ||
        (status = parse_libraries(config, dango_json_get(document, "libraries"), err)) < 0 ||
        (status = parse_providers(config, dango_json_get(document, "providers"), err)) < 0)
        bdk_config_release(config);
    return status;
}

void bdk_config_release(struct bdk_config *config)
{
    for (size_t i = 0; i < config->num_providers; i++)
        bdk_description_release(&config->providers[i]);
    free(config->providers);
    dango_options_release(bdk_settings_options, &config->settings);
    json_object_put(config->engines);
    json_object_put(config->document);
    *config = (struct bdk_config){0};
}

const char *bdk_config_library(const struct bdk_config *config, size_t i)
{
    assert(i < config->num_libraries);
    return json_object_get_string(json_object_array_get_idx(dango_json_get(config->document, "libraries"), i));
}

int bdk_config_check(struct bdk_config *config, struct bdk_registry *registry, struct dango_error *err)
{
    struct bdk_known *known = calloc(config->num_providers + 1, sizeof *known);
    if (!known)
        return dango_error_set(err, DANGO_ERR_NO_MEMORY, "out of memory");
    struct bdk_plan plan = {
        .registry = registry,
        .management_id = (uint16_t)config->settings.provider_id,
        .num_engines = json_object_array_length(config->engines),
        .known = known,
        .all = config->providers,
        .num_all = config->num_providers,
    };
    int status = 0;
    for (size_t i = 0; i < config->num_providers && status == 0; i++) {
        struct bdk_description *provider = &config->providers[i];
        status = bdk_plan_check(&plan, provider, err);
        known[i] = (struct bdk_known){.name = provider->name,
                                      .type = provider->type,
                                      .path = provider->path,
                                      .provider_id = (uint16_t)provider->provider_id};
        plan.num_known++;
    }
    free(known);
    return status;
}
