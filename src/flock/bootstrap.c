/*
 * How a provider gets its initial view. The C functions of flock/flock-bootstrap.h, and the methods that a configuration
 * names: a table, so that another method (mpi, join, file) is one more entry.
 */
#include "flock/internal.h"
#include "flock/provider/flock.h"

#include <flock/flock-bootstrap.h>

#include "util/json.h"
#include "util/log.h"
#include "util/suggest.h"

#include <assert.h>

flock_return_t flock_group_view_init_from_self(margo_instance_id mid, uint16_t provider_id, flock_group_view_t *view)
{
    if (mid == MARGO_INSTANCE_NULL || !view)
        return FLOCK_ERR_INVALID_ARGS;
    char *address = flk_self_address(mid);
    if (!address)
        return FLOCK_ERR_FROM_MERCURY;
    flock_group_view_clear(view);
    bool added = flock_group_view_add_member(view, address, provider_id) != NULL;
    free(address);
    return added ? FLOCK_SUCCESS : FLOCK_ERR_ALLOCATION;
}

flock_return_t flock_group_view_init_from_file(const char *filename, flock_group_view_t *view)
{
    return flock_group_view_from_file(filename, view);
}

struct bootstrap_args {
    margo_instance_id mid;
    uint16_t provider_id;
    struct json_object *view; /* method "view"; may be NULL */
};

static int bootstrap_self(const struct bootstrap_args *args, flock_group_view_t *view, struct dango_error *err)
{
    assert(args->mid);
    flock_return_t ret = flock_group_view_init_from_self(args->mid, args->provider_id, view);
    return ret == FLOCK_SUCCESS ? 0 : dango_error_set(err, DANGO_ERR_INTERNAL, "cannot tell the own address");
}

static int bootstrap_view(const struct bootstrap_args *args, flock_group_view_t *view, struct dango_error *err)
{
    if (!args->view)
        return dango_error_set(err, DANGO_ERR_INVALID, "bootstrap method \"view\" needs the field \"view\"");
    int status = flk_view_from_json(args->view, view, err);
    return status == 0 ? 0 : dango_error_prefix(err, "view");
}

static const struct {
    const char *name;
    int (*build)(const struct bootstrap_args *args, flock_group_view_t *view, struct dango_error *err);
} methods[] = {{"self", bootstrap_self}, {"view", bootstrap_view}};

#define METHOD_COUNT (sizeof methods / sizeof methods[0])

/* Methods that exist elsewhere: users deserve a better answer than "unknown". */
static const char *const not_built_in[] = {"mpi", "join", "file"};

static int find_method(const char *name, size_t *index, struct dango_error *err)
{
    assert(name && index);
    const char *names[METHOD_COUNT];
    for (size_t i = 0; i < METHOD_COUNT; i++) {
        names[i] = methods[i].name;
        if (strcmp(name, names[i]) == 0) {
            *index = i;
            return 0;
        }
    }
    char list[128];
    dango_suggest_list("built in", name, names, METHOD_COUNT, list, sizeof list);
    for (size_t i = 0; i < sizeof not_built_in / sizeof not_built_in[0]; i++) {
        if (strcmp(name, not_built_in[i]) == 0)
            return dango_error_set(err, DANGO_ERR_UNSUPPORTED, "bootstrap method \"%s\" is not built in%s", name, list);
    }
    return dango_error_set(err, DANGO_ERR_INVALID, "unknown bootstrap method \"%s\"%s", name, list);
}

/* The name at position i of a string (i = 0) or an array of strings; NULL behind the last. */
static const char *method_at(struct json_object *bootstrap, size_t i)
{
    if (json_object_is_type(bootstrap, json_type_string))
        return i == 0 ? json_object_get_string(bootstrap) : NULL;
    if (!json_object_is_type(bootstrap, json_type_array) || i >= json_object_array_length(bootstrap))
        return NULL;
    struct json_object *name = json_object_array_get_idx(bootstrap, i);
    return json_object_is_type(name, json_type_string) ? json_object_get_string(name) : NULL;
}

static int check_list(struct json_object *bootstrap, struct dango_error *err)
{
    if (!json_object_is_type(bootstrap, json_type_array))
        return dango_error_set(err, DANGO_ERR_INVALID, "expected the name of a method or a list of names, found %s",
                               dango_json_kind(bootstrap));
    size_t count = json_object_array_length(bootstrap);
    for (size_t i = 0; i < count; i++) {
        if (!json_object_is_type(json_object_array_get_idx(bootstrap, i), json_type_string))
            return dango_error_set(err, DANGO_ERR_INVALID, "entry %zu: expected the name of a method", i);
    }
    return count ? 0 : dango_error_set(err, DANGO_ERR_INVALID, "the list of methods is empty");
}

static int check_methods(struct json_object *bootstrap, struct json_object *view, struct dango_error *err)
{
    const struct bootstrap_args args = {.view = view};
    int status = json_object_is_type(bootstrap, json_type_string) ? 0 : check_list(bootstrap, err);
    for (size_t i = 0; status == 0 && method_at(bootstrap, i); i++) {
        size_t index = 0;
        status = find_method(method_at(bootstrap, i), &index, err);
        if (status == 0 && methods[index].build == bootstrap_view) {
            /* Needs nothing that is not there yet: the check is the thing itself. */
            flock_group_view_t parsed = FLOCK_GROUP_VIEW_INITIALIZER;
            status = bootstrap_view(&args, &parsed, err);
            flock_group_view_clear(&parsed);
        }
    }
    return status;
}

int flk_bootstrap_check(struct json_object *bootstrap, struct json_object *view, const char *path,
                        struct dango_error *err)
{
    int status = bootstrap ? check_methods(bootstrap, view, err)
                           : dango_error_set(err, DANGO_ERR_INVALID,
                                             "this field is required (how the group is formed: self or view)");
    return status == 0 ? 0 : dango_error_prefix(err, "%s%sbootstrap", path, *path ? "." : "");
}

/* One method: view and provider. A view that leads to no provider is a failure of the method too. */
static int try_method(margo_instance_id mid, uint16_t provider_id, struct json_object *config, const char *path,
                      size_t i, ABT_pool pool, flock_provider_t *provider, struct dango_error *err)
{
    flock_group_view_t view = FLOCK_GROUP_VIEW_INITIALIZER;
    const struct bootstrap_args bootstrap_args = {mid, provider_id, dango_json_get(config, "view")};
    const struct flock_provider_args args = {.pool = pool, .initial_view = &view};
    size_t index = 0;
    int status = find_method(method_at(dango_json_get(config, "bootstrap"), i), &index, err);
    if (status == 0)
        status = methods[index].build(&bootstrap_args, &view, err);
    const char *file = dango_json_get_string(config, "file");
    if (status == 0 && file && flk_claim_file(mid, file, &view, err) != 0)
        status = dango_error_prefix(err, "%s%sfile", path, *path ? "." : "");
    if (status == 0 && dango_flock_register(mid, provider_id, config, path, &args, provider, err) != FLOCK_SUCCESS)
        status = err->code;
    flock_group_view_clear(&view);
    return status;
}

int dango_flock_bootstrap(margo_instance_id mid, uint16_t provider_id, struct json_object *config, const char *path,
                          ABT_pool pool, flock_provider_t *provider, struct dango_error *err)
{
    assert(path && provider);
    struct json_object *bootstrap = dango_json_get(config, "bootstrap");
    int status = flk_bootstrap_check(bootstrap, dango_json_get(config, "view"), path, err);
    for (size_t i = 0; status == 0; i++) {
        int result = try_method(mid, provider_id, config, path, i, pool, provider, err);
        if (result == 0 || !method_at(bootstrap, i + 1))
            return result;
        log_warning("flock", "bootstrap method \"%s\" failed, trying the next: %s", method_at(bootstrap, i), err->text);
        dango_error_clear(err);
    }
    return status;
}
