/*
 * Backend "static": the view is what it was at the start. No protocol, no options, nobody joins; members that die stay
 * listed. Since nothing ever changes, nothing needs a lock.
 */
#include "flock/internal.h"

#include "util/json.h"
#include "util/log.h"

#include <assert.h>

struct static_group {
    flock_group_view_t view;
};

static flock_return_t static_init(flock_backend_init_args_t *args, void **context)
{
    assert(args && args->config && context);
    if (args->join)
        return FLOCK_ERR_OP_FORBIDDEN;
    if (json_object_object_length(args->config) > 0)
        log_warning("flock", "backend static has no options: group.config is ignored");
    struct static_group *group = calloc(1, sizeof *group);
    if (!group)
        return FLOCK_ERR_ALLOCATION;
    FLOCK_GROUP_VIEW_MOVE(&args->initial_view, &group->view);
    if (!flock_group_view_add_metadata(&group->view, "__config__", "{}") ||
        !flock_group_view_add_metadata(&group->view, "__type__", "static")) {
        flock_group_view_clear(&group->view);
        free(group);
        return FLOCK_ERR_ALLOCATION;
    }
    *context = group;
    return FLOCK_SUCCESS;
}

static flock_return_t static_destroy(void *context)
{
    assert(context);
    struct static_group *group = context;
    flock_group_view_clear(&group->view);
    free(group);
    return FLOCK_SUCCESS;
}

static flock_return_t static_get_config(void *context, void (*fn)(void *, const struct json_object *), void *uargs)
{
    (void)context;
    struct json_object *config = json_object_new_object();
    fn(uargs, config);
    json_object_put(config);
    return FLOCK_SUCCESS;
}

static flock_return_t static_get_view(void *context, void (*fn)(void *, const flock_group_view_t *), void *uargs)
{
    assert(context && fn);
    struct static_group *group = context;
    fn(uargs, &group->view);
    return FLOCK_SUCCESS;
}

static flock_return_t static_add_metadata(void *context, const char *key, const char *value)
{
    (void)context;
    (void)key;
    (void)value;
    return FLOCK_ERR_OP_UNSUPPORTED;
}

static flock_return_t static_remove_metadata(void *context, const char *key)
{
    (void)context;
    (void)key;
    return FLOCK_ERR_OP_UNSUPPORTED;
}

flock_backend_impl flk_static_backend = {
    .name = "static",
    .init_group = static_init,
    .destroy_group = static_destroy,
    .get_config = static_get_config,
    .get_view = static_get_view,
    .add_metadata = static_add_metadata,
    .remove_metadata = static_remove_metadata,
};
