/*
 * The accessors of struct bedrock_args, see bedrock/module.h. The one that needs a running engine is in resolve.c.
 */
#include "bedrock/args.h"

#include <json-c/json.h>

#include <assert.h>
#include <string.h>

const char *bedrock_args_name(const struct bedrock_args *args)
{
    return args->description->name;
}

uint16_t bedrock_args_provider_id(const struct bedrock_args *args)
{
    return (uint16_t)args->description->provider_id;
}

struct json_object *bedrock_args_config(const struct bedrock_args *args)
{
    assert(args->description->config);
    return args->description->config;
}

margo_instance_id bedrock_args_instance(const struct bedrock_args *args)
{
    return args->instance;
}

size_t bedrock_args_num_tags(const struct bedrock_args *args)
{
    return json_object_array_length(args->description->tags);
}

const char *bedrock_args_tag(const struct bedrock_args *args, size_t i)
{
    return i < bedrock_args_num_tags(args)
               ? json_object_get_string(json_object_array_get_idx(args->description->tags, i))
               : NULL;
}

static const struct bdk_resolved *find(const struct bedrock_args *args, const char *name)
{
    for (size_t i = 0; i < args->num_resolved; i++) {
        if (strcmp(args->resolved[i].decl->name, name) == 0)
            return &args->resolved[i];
    }
    return NULL;
}

size_t bedrock_args_num_dependencies(const struct bedrock_args *args, const char *name)
{
    const struct bdk_resolved *resolved = find(args, name);
    return resolved ? resolved->count : 0;
}

const struct bedrock_dependency *bedrock_args_dependency(const struct bedrock_args *args, const char *name, size_t i)
{
    const struct bdk_resolved *resolved = find(args, name);
    return resolved && i < resolved->count ? &resolved->items[i] : NULL;
}
