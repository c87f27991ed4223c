/*
 * The modules of modules.h.
 */
#include "tests/bedrock/modules.h"

#include "util/json.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

char journal[4096];

struct thing_settings {
    int64_t size;
    int color, fail;
};

struct thing {
    struct thing_settings settings;
    char name[64];
};

enum { FAIL_NEVER, FAIL_CREATE, FAIL_READY };

static const char *const colors[] = {"red", "green", NULL};
static const char *const moments[] = {"never", "create", "ready", NULL};
static const struct dango_option thing_options[] = {
    DANGO_OPTION_INT("size", struct thing_settings, size, 1, 1, 100, "how large"),
    DANGO_OPTION_CHOICE("color", struct thing_settings, color, 0, colors, "which color"),
    DANGO_OPTION_CHOICE("fail", struct thing_settings, fail, FAIL_NEVER, moments, "when to fail"),
    DANGO_OPTION_END,
};

static const struct bedrock_dependency_decl thing_dependencies[] = {
    {"pool", BEDROCK_TYPE_POOL, 0, "a pool"},
    {"friend", "thing", 0, "another one"},
    {"friends", "thing", BEDROCK_ARRAY, "any number of others"},
    {"xstream", BEDROCK_TYPE_XSTREAM, 0, "an execution stream"},
    {"engine", BEDROCK_TYPE_MARGO, 0, "an engine"},
    BEDROCK_DEPENDENCIES_END,
};

static const struct bedrock_dependency_decl store_dependencies[] = {
    {"pool", BEDROCK_TYPE_POOL, BEDROCK_REQUIRED, "a pool"},
    BEDROCK_DEPENDENCIES_END,
};

static void note(const char *what, const char *name)
{
    size_t used = strlen(journal);
    snprintf(journal + used, sizeof journal - used, "%s %s; ", what, name);
}

static int thing_create(const struct bedrock_args *args, void **component, struct dango_error *err)
{
    struct thing *thing = calloc(1, sizeof *thing);
    if (dango_options_parse(thing_options, bedrock_args_config(args), "config", &thing->settings, err) < 0) {
        free(thing);
        return err->code;
    }
    snprintf(thing->name, sizeof thing->name, "%s", bedrock_args_name(args));
    if (thing->settings.fail == FAIL_CREATE) {
        free(thing);
        return dango_error_set(err, DANGO_ERR_IO, "told to fail");
    }
    const char *slow_ms = getenv("THING_SLOW_MS");
    if (slow_ms)
        margo_thread_sleep(bedrock_args_instance(args), atof(slow_ms));
    note("create", thing->name);
    *component = thing;
    return 0;
}

static int thing_ready(void *component, struct dango_error *err)
{
    struct thing *thing = component;
    if (thing->settings.fail == FAIL_READY)
        return dango_error_set(err, DANGO_ERR_IO, "told to fail when ready");
    note("ready", thing->name);
    return 0;
}

static void thing_destroy(void *component)
{
    struct thing *thing = component;
    const char *slow_ms = getenv("THING_SLOW_END_MS");
    if (slow_ms)
        usleep((useconds_t)(1000 * atof(slow_ms)));
    note("destroy", thing->name);
    free(thing);
}

static struct json_object *thing_get_config(void *component)
{
    struct thing *thing = component;
    return dango_options_dump(thing_options, &thing->settings);
}

static int thing_update_config(void *component, struct json_object *config, struct dango_error *err)
{
    struct thing *thing = component;
    struct thing_settings settings = {0};
    if (dango_options_parse(thing_options, config, "config", &settings, err) < 0)
        return err->code;
    thing->settings = settings;
    return 0;
}

static int store_check(const struct bedrock_args *args, struct dango_error *err)
{
    if (json_object_get_int(dango_json_get(bedrock_args_config(args), "size")) == 13)
        return dango_error_set(err, DANGO_ERR_INVALID, "config.size: 13 brings bad luck");
    return 0;
}

static const struct bedrock_module thing_module = {
    BEDROCK_MODULE_HEADER("thing"),
    .summary = "does nothing, and notes what it is asked to do",
    .options = thing_options,
    .settings_size = sizeof(struct thing_settings),
    .dependencies = thing_dependencies,
    .create = thing_create,
    .ready = thing_ready,
    .destroy = thing_destroy,
    .get_config = thing_get_config,
    .update_config = thing_update_config,
};

static const struct bedrock_module store_module = {
    BEDROCK_MODULE_HEADER("store"), .summary = "needs a pool", .dependencies = store_dependencies,
    .check = store_check,           .create = thing_create,    .destroy = thing_destroy,
};

BEDROCK_MODULES(&thing_module, &store_module)
