/*
 * See master.h.
 */
#include "mofka/registry/master.h"

#include "util/json.h"

#include <stdint.h>
#include <string.h>

bool dango_mofka_has_tag(struct json_object *provider, const char *tag)
{
    struct json_object *tags = dango_json_get(provider, "tags");
    if (!json_object_is_type(tags, json_type_array))
        return false;
    for (size_t i = 0; i < json_object_array_length(tags); i++) {
        struct json_object *item = json_object_array_get_idx(tags, i);
        if (json_object_is_type(item, json_type_string) && strcmp(json_object_get_string(item), tag) == 0)
            return true;
    }
    return false;
}

int dango_mofka_find_master(struct json_object *config)
{
    struct json_object *providers = dango_json_get(config, "providers");
    if (!json_object_is_type(providers, json_type_array))
        return -1;
    for (size_t i = 0; i < json_object_array_length(providers); i++) {
        struct json_object *provider = json_object_array_get_idx(providers, i);
        const char *type = dango_json_get_string(provider, "type");
        int64_t id = json_object_get_int64(dango_json_get(provider, "provider_id"));
        if (type && strcmp(type, "yokan") == 0 && dango_mofka_has_tag(provider, MOFKA_MASTER_TAG) && id >= 0 &&
            id <= UINT16_MAX)
            return (int)id;
    }
    return -1;
}
