/*
 * How a provider gets its initial view: the C functions of flock/flock-bootstrap.h, and the methods that a configuration
 * names, tried in order until one leads to a provider.
 *
 * Methods differ in what they do with the group file. `self` and `view` form a new group and take the file over (claim.c);
 * `join` and `file` need one that is there; `mpi` forms a new group of several processes, of which the first takes the file
 * over. A process that may form a group by itself holds the lock of the file from the failed attempt to join until its own
 * file is written, so that others that start at the same moment find that file and join. Where several processes form the
 * group together, the lock would make them wait for each other: there they agree on whether joining has worked.
 */
#include "flock/internal.h"
#include "flock/mpi.h"
#include "flock/provider/provider.h"
#include "mercury/dango_hg.h"

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

/* ---- the methods ---- */

static int bootstrap_self(const struct flk_bootstrap *bootstrap, flock_group_view_t *view, struct dango_error *err)
{
    assert(bootstrap->mid);
    flock_return_t ret = flock_group_view_init_from_self(bootstrap->mid, bootstrap->provider_id, view);
    return ret == FLOCK_SUCCESS ? 0 : dango_error_set(err, DANGO_ERR_INTERNAL, "cannot tell the own address");
}

static int bootstrap_view(const struct flk_bootstrap *bootstrap, flock_group_view_t *view, struct dango_error *err)
{
    if (!bootstrap->view)
        return dango_error_set(err, DANGO_ERR_INVALID, "bootstrap method \"view\" needs the field \"view\"");
    int status = flk_view_from_json(bootstrap->view, view, err);
    return status == 0 ? 0 : dango_error_prefix(err, "view");
}

/* The view of the file, and where this process is in it. */
static int read_own_file(const struct flk_bootstrap *bootstrap, flock_group_view_t *view, flock_member_t **self,
                         struct dango_error *err)
{
    assert(view && self);
    if (!bootstrap->file)
        return dango_error_set(err, DANGO_ERR_INVALID,
                               "bootstrap methods \"join\" and \"file\" need the field \"file\"");
    if (flk_group_file_read(bootstrap->file, view, err) != FLOCK_SUCCESS)
        return err->code;
    char *address = flk_self_address(bootstrap->mid);
    *self = address ? flock_group_view_find_member(view, address, bootstrap->provider_id) : NULL;
    free(address);
    const char *type = flock_group_view_find_metadata(view, "__type__");
    if (type && strcmp(type, bootstrap->group_type) != 0)
        return dango_error_set(err, DANGO_ERR_INVALID,
                               "%s is the file of a group of type \"%s\", this configuration is for type \"%s\"",
                               bootstrap->file, type, bootstrap->group_type);
    return 0;
}

static int bootstrap_file(const struct flk_bootstrap *bootstrap, flock_group_view_t *view, struct dango_error *err)
{
    flock_member_t *self = NULL;
    int status = read_own_file(bootstrap, view, &self, err);
    if (status != 0 || self)
        return status;
    return dango_error_set(err, DANGO_ERR_NOT_FOUND,
                           "%s does not list this process (provider id %u): use bootstrap method \"join\"",
                           bootstrap->file, bootstrap->provider_id);
}

/* A group that cannot be asked from here: better explained than said not to answer. */
static int check_protocol(const struct flk_bootstrap *bootstrap, const flock_group_view_t *view,
                          struct dango_error *err)
{
    const char *address = NULL;
    for (size_t i = 0; i < flock_group_view_member_count(view); i++) {
        hg_addr_t addr = HG_ADDR_NULL;
        address = flock_group_view_member_at(view, i)->address;
        hg_return_t ret = margo_addr_lookup(bootstrap->mid, address, &addr);
        margo_addr_free(bootstrap->mid, addr);
        if (ret != HG_PROTONOSUPPORT)
            return 0;
    }
    if (!address)
        return dango_error_set(err, DANGO_ERR_NOT_FOUND, "%s names no other member that could be asked",
                               bootstrap->file);
    return dango_error_set(err, DANGO_ERR_UNSUPPORTED,
                           "%s: the group speaks another protocol (%s) than this process (%s): start it with \"%.*s\"",
                           bootstrap->file, address, dango_hg_class_protocol(margo_get_class(bootstrap->mid)),
                           (int)strcspn(address, ":"), address);
}

/* A process that was a member before, at the same address, joins like any other. */
static int bootstrap_join(const struct flk_bootstrap *bootstrap, flock_group_view_t *view, struct dango_error *err)
{
    flock_member_t *self = NULL;
    int status = read_own_file(bootstrap, view, &self, err);
    if (status != 0)
        return status;
    if (self)
        flock_group_view_remove_member(view, self);
    return check_protocol(bootstrap, view, err);
}

struct method {
    const char *name;
    int (*build)(const struct flk_bootstrap *bootstrap, flock_group_view_t *view, struct dango_error *err);
    enum { CLAIM_NONE, CLAIM_SHORT, CLAIM_UNTIL_WRITTEN } claim;
};

/* The members of a given view start together, with the same file: none may wait for another to be complete. */
static const struct method methods[] = {
    {"self", bootstrap_self, CLAIM_UNTIL_WRITTEN},
    {"view", bootstrap_view, CLAIM_SHORT},
    {"mpi", flk_bootstrap_mpi, CLAIM_UNTIL_WRITTEN}, /* alone; with others it is done inside */
    {"join", bootstrap_join, CLAIM_NONE},
    {"file", bootstrap_file, CLAIM_NONE},
};

#define METHOD_COUNT (sizeof methods / sizeof methods[0])

static const struct method *find_method(const char *name, struct dango_error *err)
{
    assert(name);
    const char *names[METHOD_COUNT];
    for (size_t i = 0; i < METHOD_COUNT; i++) {
        names[i] = methods[i].name;
        if (strcmp(name, names[i]) == 0)
            return &methods[i];
    }
    char list[128];
    dango_suggest_list("methods", name, names, METHOD_COUNT, list, sizeof list);
    dango_error_set(err, DANGO_ERR_INVALID, "unknown bootstrap method \"%s\"%s", name, list);
    return NULL;
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

/* ---- checks ---- */

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
    const struct flk_bootstrap args = {.view = view};
    int status = json_object_is_type(bootstrap, json_type_string) ? 0 : check_list(bootstrap, err);
    for (size_t i = 0; status == 0 && method_at(bootstrap, i); i++) {
        const struct method *method = find_method(method_at(bootstrap, i), err);
        if (!method) {
            status = DANGO_ERR_INVALID;
        } else if (method->build == bootstrap_view) {
            /* Needs nothing that is not there yet: the check is the thing itself. */
            flock_group_view_t parsed = FLOCK_GROUP_VIEW_INITIALIZER;
            status = bootstrap_view(&args, &parsed, err);
            flock_group_view_clear(&parsed);
        }
    }
    return status;
}

int flk_bootstrap_check(struct json_object *bootstrap, struct json_object *view, struct json_object *ranks,
                        const char *path, struct dango_error *err)
{
    const char *dot = *path ? "." : "";
    struct dango_world world;
    size_t count;
    dango_world_read(&world);
    int *list = flk_mpi_ranks(ranks, &world, &count, err);
    if (!list)
        return dango_error_prefix(err, "%s%smpi_ranks", path, dot);
    free(list);
    int status = bootstrap ? check_methods(bootstrap, view, err)
                           : dango_error_set(err, DANGO_ERR_INVALID,
                                             "this field is required (how the group is formed: self, view, mpi, join "
                                             "or file, or a list of these)");
    return status == 0 ? 0 : dango_error_prefix(err, "%s%sbootstrap", path, dot);
}

/* ---- trying ---- */

/* One attempt at the list of methods. */
struct attempt {
    struct flk_bootstrap bootstrap;
    struct json_object *config, *list;
    const char *path;
    ABT_pool pool;
    struct flk_lock lock; /* of the file */
    bool together;        /* it has worked by a method that others of the launch take part in */
};

static bool has_method(const struct attempt *attempt, size_t from, const char *name)
{
    for (size_t i = from; method_at(attempt->list, i); i++) {
        if (strcmp(method_at(attempt->list, i), name) == 0)
            return true;
    }
    return false;
}

/* Several processes form the group together, further down the list. */
static bool is_collective(const struct attempt *attempt, size_t from)
{
    return has_method(attempt, from, "mpi") && flk_mpi_is_collective(&attempt->bootstrap);
}

static int claim(struct attempt *attempt, const struct method *method, const flock_group_view_t *view,
                 struct dango_error *err)
{
    const char *file = attempt->bootstrap.file;
    bool together = method->build == flk_bootstrap_mpi && flk_mpi_is_collective(&attempt->bootstrap);
    if (!file || method->claim == CLAIM_NONE || together)
        return 0;
    int status = 0;
    if (attempt->lock.fd < 0)
        status = flk_lock_take(&attempt->lock, attempt->bootstrap.mid, file, err);
    if (status == 0)
        status = flk_claim_file(attempt->bootstrap.mid, file, view, err);
    if (method->claim == CLAIM_SHORT)
        flk_lock_release(&attempt->lock);
    return status == 0 ? 0 : dango_error_prefix(err, "%s%sfile", attempt->path, *attempt->path ? "." : "");
}

/* View and provider. A view that leads to no provider is a failure of the method too. */
static int try_method(struct attempt *attempt, const struct method *method, flock_provider_t *provider,
                      struct dango_error *err)
{
    assert(!*provider);
    flock_group_view_t view = FLOCK_GROUP_VIEW_INITIALIZER;
    const struct flock_provider_args args = {.pool = attempt->pool, .initial_view = &view};
    int status = method->build(&attempt->bootstrap, &view, err);
    if (status == 0)
        status = claim(attempt, method, &view, err);
    if (status == 0 && dango_flock_register(attempt->bootstrap.mid, attempt->bootstrap.provider_id, attempt->config,
                                            attempt->path, &args, provider, err) != FLOCK_SUCCESS)
        status = err->code;
    flock_group_view_clear(&view);
    return status;
}

/* There is no group to join, and no method that forms one. */
static int advise_first(struct dango_error *err)
{
    if (err->code != DANGO_ERR_NOT_FOUND && err->code != DANGO_ERR_DISCONNECTED)
        return err->code;
    const struct dango_error before = *err;
    return dango_error_set(
        err, before.code,
        "%s; start the first server of a group with bootstrap \"self\", or all of them with [\"join\", "
        "\"self\"]",
        before.text);
}

/*
 * `join` when a later method forms a group. Alone: on a failure it is tried again under the lock, since another process may
 * have been forming the group just now. Together: all have joined, or none has.
 */
static int try_join(struct attempt *attempt, const struct method *method, size_t i, flock_provider_t *provider,
                    struct dango_error *err)
{
    int status = try_method(attempt, method, provider, err);
    if (is_collective(attempt, i + 1)) {
        if (!flk_mpi_agree(&attempt->bootstrap, status == 0) && status == 0) {
            flock_provider_destroy(*provider);
            *provider = NULL;
            status = dango_error_set(err, DANGO_ERR_AGAIN, "other processes of the launch could not join");
        }
        return status;
    }
    bool may_form = has_method(attempt, i + 1, "self") || has_method(attempt, i + 1, "mpi");
    if (status == 0 || !attempt->bootstrap.file)
        return status;
    if (!may_form)
        return advise_first(err);
    dango_error_clear(err);
    status = flk_lock_take(&attempt->lock, attempt->bootstrap.mid, attempt->bootstrap.file, err);
    if (status == 0)
        status = try_method(attempt, method, provider, err);
    if (status == 0)
        flk_lock_release(&attempt->lock);
    return status;
}

static int try_all(struct attempt *attempt, flock_provider_t *provider, struct dango_error *err)
{
    for (size_t i = 0;; i++) {
        const struct method *method = find_method(method_at(attempt->list, i), err);
        if (!method)
            return err->code;
        int status = method->build == bootstrap_join ? try_join(attempt, method, i, provider, err)
                                                     : try_method(attempt, method, provider, err);
        attempt->together = method->build == flk_bootstrap_mpi && flk_mpi_is_collective(&attempt->bootstrap);
        if (status == 0 || !method_at(attempt->list, i + 1))
            return status;
        log_warning("flock", "bootstrap method \"%s\" failed, trying the next: %s", method->name, err->text);
        dango_error_clear(err);
    }
}

int dango_flock_bootstrap(margo_instance_id mid, uint16_t provider_id, struct json_object *config, const char *path,
                          ABT_pool pool, flock_provider_t *provider, struct dango_error *err)
{
    assert(path && provider);
    const char *type = dango_json_get_string(dango_json_get(config, "group"), "type");
    struct attempt attempt = {
        .bootstrap = {.mid = mid,
                      .provider_id = provider_id,
                      .file = dango_json_get_string(config, "file"),
                      .group_type = type ? type : "",
                      .view = dango_json_get(config, "view")},
        .config = config,
        .list = dango_json_get(config, "bootstrap"),
        .path = path,
        .pool = pool,
        .lock = FLK_LOCK_NONE,
    };
    struct json_object *ranks = dango_json_get(config, "mpi_ranks");
    int status = flk_bootstrap_check(attempt.list, attempt.bootstrap.view, ranks, path, err);
    if (status != 0)
        return status;
    dango_world_read(&attempt.bootstrap.world);
    attempt.bootstrap.ranks = flk_mpi_ranks(ranks, &attempt.bootstrap.world, &attempt.bootstrap.rank_count, err);
    *provider = NULL;
    status = attempt.bootstrap.ranks ? try_all(&attempt, provider, err) : err->code;
    if (status == 0)
        flk_provider_keep_lock(*provider, &attempt.lock);
    /* Others of the launch, who wait for the lock or the file, may be needed before we are complete. */
    if (status == 0 && !attempt.together && flk_mpi_runs())
        status = dango_flock_publish(*provider, err);
    if (status == 0 && attempt.together) {
        flk_provider_keep_ranks(*provider, attempt.bootstrap.ranks, attempt.bootstrap.rank_count);
        attempt.bootstrap.ranks = NULL;
    }
    flk_lock_release(&attempt.lock);
    free(attempt.bootstrap.ranks);
    return status;
}
