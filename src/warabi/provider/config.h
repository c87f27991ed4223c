/*
 * From the configuration of a provider to its settings and its open target, and back.
 */
#ifndef DANGO_WARABI_PROVIDER_CONFIG_H
#define DANGO_WARABI_PROVIDER_CONFIG_H

#include "warabi/provider/provider.h"

/* Checks everything, also the options of the target and of the transfer manager; opens nothing. */
int wb_settings_parse(struct json_object *config, struct wb_provider_settings *settings, struct dango_error *err);
void wb_settings_release(struct wb_provider_settings *settings);

/* Opens what the settings describe; NULL in `target` if they describe none. */
int wb_target_open(const struct wb_provider_settings *settings, abt_io_instance_id io, struct wb_target **target,
                   struct dango_error *err);

/* The effective configuration, one new reference. */
struct json_object *wb_settings_dump(const struct wb_provider_settings *settings, const struct wb_target *target);

#endif
