/*
 * Configuration of a provider: the option tables, the check of the part that depends on the type of the target, and
 * the opening of the target.
 */
#include "warabi/provider/config.h"

#include "warabi/dango_warabi.h"

#include "util/json.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

struct target_settings {
    char *type;
    struct json_object *config;
};

static const char *const transfer_managers[] = {"__default__", NULL};

static const struct dango_option transfer_manager_options[] = {
    DANGO_OPTION_CHOICE("type", struct wb_transfer_manager_settings, type, 0, transfer_managers,
                        "how data move between the network and the target"),
    DANGO_OPTION_JSON("config", struct wb_transfer_manager_settings, config, DANGO_JSON_OBJECT, "{}",
                      "options of the manager; __default__ has none"),
    DANGO_OPTION_END,
};

static const struct dango_option target_options[] = {
    DANGO_OPTION_STRING_REQUIRED("type", struct target_settings, type, "kind of storage"),
    DANGO_OPTION_JSON("config", struct target_settings, config, DANGO_JSON_OBJECT, "{}", "options of this kind"),
    DANGO_OPTION_END,
};

const struct dango_option dango_warabi_options[] = {
    DANGO_OPTION_JSON("target", struct wb_provider_settings, target, DANGO_JSON_OBJECT, NULL,
                      "where regions are stored: {\"type\": …, \"config\": …}; absent: the provider stores nothing"),
    DANGO_OPTION_OBJECT("transfer_manager", struct wb_provider_settings, transfer_manager, transfer_manager_options,
                        "how data move"),
    DANGO_OPTION_END,
};

/* Checks "target" and finds its type; the caller releases `settings`. */
static const struct wb_target_type *parse_target(struct json_object *json, struct target_settings *settings,
                                                 struct dango_error *err)
{
    memset(settings, 0, sizeof *settings);
    if (dango_options_parse(target_options, json, "target", settings, err) != 0)
        return NULL;
    const struct wb_target_type *type = wb_target_type_find(settings->type, err);
    if (!type) {
        dango_error_prefix(err, "target.type");
        dango_options_release(target_options, settings);
    }
    return type;
}

/* The options of the target against the table of its type. */
static int check_target_config(const struct wb_target_type *type, struct json_object *config, struct dango_error *err)
{
    void *settings = calloc(1, type->settings_size);
    if (!settings)
        return dango_error_set(err, DANGO_ERR_NO_MEMORY, "out of memory");
    int status = dango_options_parse(type->options, config, "target.config", settings, err);
    if (status == 0)
        dango_options_release(type->options, settings);
    free(settings);
    return status;
}

static int check_transfer_manager(const struct wb_provider_settings *settings, struct dango_error *err)
{
    static const struct dango_option none[] = {DANGO_OPTION_END};
    char unused;
    return dango_options_parse(none, settings->transfer_manager.config, "transfer_manager.config", &unused, err);
}

int wb_settings_parse(struct json_object *config, struct wb_provider_settings *settings, struct dango_error *err)
{
    memset(settings, 0, sizeof *settings);
    int status = dango_options_parse(dango_warabi_options, config, "", settings, err);
    if (status != 0)
        return status;
    status = check_transfer_manager(settings, err);
    if (status == 0 && settings->target) {
        struct target_settings target;
        const struct wb_target_type *type = parse_target(settings->target, &target, err);
        status = type ? check_target_config(type, target.config, err) : err ? err->code : DANGO_ERR_INVALID;
        if (type)
            dango_options_release(target_options, &target);
    }
    if (status != 0)
        wb_settings_release(settings);
    return status;
}

void wb_settings_release(struct wb_provider_settings *settings)
{
    dango_options_release(dango_warabi_options, settings);
}

int wb_target_open(const struct wb_provider_settings *settings, abt_io_instance_id io, struct wb_target **target,
                   struct dango_error *err)
{
    *target = NULL;
    if (!settings->target)
        return 0;
    struct target_settings parsed;
    const struct wb_target_type *type = parse_target(settings->target, &parsed, err);
    if (!type)
        return err ? err->code : DANGO_ERR_INVALID;
    int status = type->open(parsed.config, io, target, err);
    dango_options_release(target_options, &parsed);
    return status;
}

struct json_object *wb_settings_dump(const struct wb_provider_settings *settings, const struct wb_target *target)
{
    struct json_object *json = dango_options_dump(dango_warabi_options, settings);
    if (target) {
        struct json_object *effective = json_object_new_object();
        json_object_object_add(effective, "type", json_object_new_string(target->type->name));
        json_object_object_add(effective, "config", target->type->get_config(target));
        json_object_object_add(json, "target", effective);
    }
    return json;
}

int dango_warabi_check(struct json_object *config, struct dango_error *err)
{
    struct wb_provider_settings settings;
    int status = wb_settings_parse(config, &settings, err);
    if (status == 0)
        wb_settings_release(&settings);
    return status;
}
