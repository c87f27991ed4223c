/*
 * The checks of plan.h, in the order in which a user would want to hear of them: type, engine, id, configuration,
 * dependencies.
 *
 * A reference to a provider that is created later cannot be resolved. The message then says which it is: a cycle, when
 * the later provider in turn leads back here, or merely the wrong order.
 */
#include "bedrock/plan.h"
#include "bedrock/args.h"
#include "util/json.h"
#include "util/log.h"
#include "util/suggest.h"
#include "util/world.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NAMES_MAX 128

/* The one that `reference` names; NULL if there is none. */
static const struct bdk_known *find_known(const struct bdk_known *known, size_t count,
                                          const struct bdk_reference *reference)
{
    for (size_t i = 0; i < count; i++) {
        bool same = reference->by_id ? known[i].provider_id == reference->provider_id
                                     : strcmp(known[i].name, reference->name) == 0;
        if (same)
            return &known[i];
    }
    return NULL;
}

static const struct bdk_known *find_id(const struct bdk_plan *plan, int64_t id)
{
    for (size_t i = 0; i < plan->num_known; i++) {
        if (plan->known[i].provider_id == id)
            return &plan->known[i];
    }
    return NULL;
}

int bdk_plan_check_id(const struct bdk_plan *plan, struct bdk_description *provider, struct dango_error *err)
{
    char label[BDK_LABEL_BYTES];
    if (provider->provider_id == BEDROCK_PROVIDER_ID_ANY) {
        int64_t id = 0;
        while (id < BEDROCK_PROVIDER_ID_ANY && (id == plan->management_id || find_id(plan, id)))
            id++;
        if (id == BEDROCK_PROVIDER_ID_ANY)
            return dango_error_set(err, DANGO_ERR_RANGE, "%s: no provider id is left",
                                   bdk_description_label(provider, label));
        provider->provider_id = id;
        return 0;
    }
    bdk_description_label(provider, label);
    if (provider->provider_id == plan->management_id)
        return dango_error_set(err, DANGO_ERR_EXISTS, "%s: provider id %d is used by bedrock", label,
                               (int)provider->provider_id);
    const struct bdk_known *other = find_id(plan, provider->provider_id);
    if (other)
        return dango_error_set(err, DANGO_ERR_EXISTS, "%s: provider id %d is already used by \"%s\"", label,
                               (int)provider->provider_id, other->name);
    return 0;
}

static int check_engine(const struct bdk_plan *plan, const struct bdk_description *provider, struct dango_error *err)
{
    if ((size_t)provider->engine < plan->num_engines)
        return 0;
    bool one = plan->num_engines == 1;
    return dango_error_set(err, DANGO_ERR_RANGE, "%s.engine: %d, but there %s %zu engine%s", provider->path,
                           (int)provider->engine, one ? "is" : "are", plan->num_engines, one ? "" : "s");
}

/* By the option table of the module, then by its own check. */
static int check_settings(const struct bedrock_module *module, const struct bedrock_args *args, struct dango_error *err)
{
    const struct bdk_description *provider = args->description;
    if (module->options) {
        char path[BDK_PATH_BYTES + 16];
        snprintf(path, sizeof path, "%s.config", provider->path);
        void *settings = calloc(1, module->settings_size + 1);
        if (!settings)
            return dango_error_set(err, DANGO_ERR_NO_MEMORY, "out of memory");
        int status = dango_options_parse(module->options, provider->config, path, settings, err);
        if (status == 0)
            dango_options_release(module->options, settings);
        free(settings);
        if (status < 0)
            return status;
    }
    if (module->check && module->check(args, err) < 0) {
        char label[BDK_LABEL_BYTES];
        return dango_error_prefix(err, "%s", bdk_description_label(provider, label));
    }
    return 0;
}

const struct bedrock_dependency_decl *bdk_plan_dependencies(const struct bedrock_module *module,
                                                            const struct bedrock_args *args, struct dango_error *err)
{
    if (!module->choose_dependencies)
        return module->dependencies;
    const struct bedrock_dependency_decl *list = module->choose_dependencies(args, err);
    if (!list && !err->code)
        dango_error_set(err, DANGO_ERR_INVALID, "the module does not say what it depends on");
    if (!list) {
        char label[BDK_LABEL_BYTES];
        dango_error_prefix(err, "%s", bdk_description_label(args->description, label));
    }
    return list;
}

/* ---- dependencies ---- */

/* Whether the provider `from` leads, by references to names, to the one called `to`. `seen` has one flag for each. */
static bool leads_to(const struct bdk_plan *plan, size_t from, const char *to, bool *seen)
{
    if (strcmp(plan->all[from].name, to) == 0)
        return true;
    if (seen[from])
        return false;
    seen[from] = true;
    json_object_object_foreach (plan->all[from].dependencies, key, value) {
        (void)key;
        bool array = json_object_is_type(value, json_type_array);
        size_t count = array ? json_object_array_length(value) : 1;
        for (size_t i = 0; i < count; i++) {
            const char *name = json_object_get_string(array ? json_object_array_get_idx(value, i) : value);
            size_t next = 0;
            while (next < plan->num_all && strcmp(plan->all[next].name, name) != 0)
                next++;
            if (next < plan->num_all && leads_to(plan, next, to, seen))
                return true;
        }
    }
    return false;
}

static bool is_cycle(const struct bdk_plan *plan, const struct bdk_description *from, const char *to)
{
    bool *seen = calloc(plan->num_all, sizeof *seen);
    if (!seen)
        abort();
    bool cycle = leads_to(plan, (size_t)(from - plan->all), to, seen);
    free(seen);
    return cycle;
}

static const struct bdk_description *find_later(const struct bdk_plan *plan, const struct bdk_reference *reference)
{
    for (size_t i = 0; i < plan->num_all; i++) {
        const struct bdk_description *other = &plan->all[i];
        bool same = reference->by_id
                        ? other->provider_id == reference->provider_id && strcmp(other->type, reference->name) == 0
                        : strcmp(other->name, reference->name) == 0;
        if (same)
            return other;
    }
    return NULL;
}

static int no_provider(const struct bdk_plan *plan, const struct bdk_description *provider,
                       const struct bdk_reference *reference, const char *text, struct dango_error *err)
{
    const struct bdk_description *later = find_later(plan, reference);
    if (later && is_cycle(plan, later, provider->name))
        return dango_error_set(err, DANGO_ERR_INVALID,
                               "cyclic dependency: \"%s\" depends on \"%s\", which depends on it", provider->name,
                               later->name);
    if (later)
        return dango_error_set(err, DANGO_ERR_INVALID, "\"%s\" is created later (%s): put it before this provider",
                               text, later->path);
    const char *names[NAMES_MAX];
    size_t count = plan->num_known < NAMES_MAX ? plan->num_known : NAMES_MAX;
    char list[512];
    for (size_t i = 0; i < count; i++)
        names[i] = plan->known[i].name;
    return dango_error_set(
        err, DANGO_ERR_NOT_FOUND, "no provider named \"%s\"%s", text,
        dango_suggest_list("providers", reference->by_id ? NULL : reference->name, names, count, list, sizeof list));
}

static int check_rank(int rank, const char *text, struct dango_error *err)
{
    struct dango_world world;
    dango_world_read(&world);
    if (rank < world.size)
        return 0;
    return dango_error_set(err, DANGO_ERR_RANGE, "\"%s\": there is no rank %d, %s", text, rank,
                           world.launched ? "the launch has fewer processes"
                                          : "this process was not started by an MPI launcher");
}

/* A reference to a component of declared type `type`. */
static int check_component(const struct bdk_plan *plan, const struct bdk_description *provider, const char *type,
                           struct json_object *item, struct dango_error *err)
{
    struct bdk_reference reference;
    if (!json_object_is_type(item, json_type_string))
        return dango_error_set(err, DANGO_ERR_INVALID, "expected the name of a provider of type %s, got %s", type,
                               dango_json_kind(item));
    const char *text = json_object_get_string(item);
    int status = bdk_reference_parse(&reference, text, err);
    if (status < 0)
        return status;
    if (reference.by_id && strcmp(reference.name, type) != 0)
        return dango_error_set(err, DANGO_ERR_INVALID, "\"%s\" has type %s, expected %s", text, reference.name, type);
    if (reference.place == BDK_PLACE_RANK)
        return check_rank(reference.rank, text, err);
    if (reference.place == BDK_PLACE_ADDRESS)
        return 0;
    const struct bdk_known *target = find_known(plan->known, plan->num_known, &reference);
    if (!target)
        return no_provider(plan, provider, &reference, text, err);
    if (strcmp(target->type, type) != 0)
        return dango_error_set(err, DANGO_ERR_INVALID, "\"%s\" has type %s, expected %s", text, target->type, type);
    return 0;
}

/* An engine, by index as integer or digits. */
static int check_engine_reference(const struct bdk_plan *plan, struct json_object *item, struct dango_error *err)
{
    const char *text = json_object_get_string(item);
    char *end;
    long index = strtol(text, &end, 10);
    if (!*text || *end || index < 0 || (size_t)index >= plan->num_engines)
        return dango_error_set(err, DANGO_ERR_NOT_FOUND, "no engine \"%s\" (engines: 0 to %zu)", text,
                               plan->num_engines - 1);
    return 0;
}

/* Pools and execution streams are looked up once the engines run; here only what is never right. */
static int check_runtime_reference(const char *type, struct json_object *item, struct dango_error *err)
{
    if (json_object_is_type(item, json_type_int) && json_object_get_int64(item) < 0)
        return dango_error_set(err, DANGO_ERR_NOT_FOUND, "no %s at index %d", type, json_object_get_int(item));
    return 0;
}

static int check_reference(const struct bdk_plan *plan, const struct bdk_description *provider,
                           const struct bedrock_dependency_decl *decl, struct json_object *item,
                           struct dango_error *err)
{
    int status;
    if (strcmp(decl->type, BEDROCK_TYPE_POOL) == 0 || strcmp(decl->type, BEDROCK_TYPE_XSTREAM) == 0)
        status = check_runtime_reference(decl->type, item, err);
    else if (strcmp(decl->type, BEDROCK_TYPE_MARGO) == 0)
        status = check_engine_reference(plan, item, err);
    else
        status = check_component(plan, provider, decl->type, item, err);
    if (status < 0)
        dango_error_prefix(err, "%s.dependencies.%s", provider->path, decl->name);
    return status;
}

static int check_dependency(const struct bdk_plan *plan, const struct bdk_description *provider,
                            const struct bedrock_dependency_decl *decl, struct dango_error *err)
{
    struct json_object *value = dango_json_get(provider->dependencies, decl->name);
    bool array = json_object_is_type(value, json_type_array);
    size_t count = array ? json_object_array_length(value) : value != NULL;
    char label[BDK_LABEL_BYTES];
    bdk_description_label(provider, label);
    if (count == 0 && (decl->flags & BEDROCK_REQUIRED))
        return dango_error_set(err, DANGO_ERR_INVALID, "%s: missing dependency \"%s\" (type %s)", label, decl->name,
                               decl->type);
    if (array && count != 1 && !(decl->flags & BEDROCK_ARRAY))
        return dango_error_set(err, DANGO_ERR_INVALID,
                               "%s.dependencies.%s: expected one reference, got an array of %zu", provider->path,
                               decl->name, count);
    int status = 0;
    for (size_t i = 0; i < count && status == 0; i++)
        status = check_reference(plan, provider, decl, array ? json_object_array_get_idx(value, i) : value, err);
    return status;
}

static void warn_of_undeclared(const struct bdk_description *provider, const struct bedrock_dependency_decl *list)
{
    json_object_object_foreach (provider->dependencies, key, value) {
        (void)value;
        const char *names[NAMES_MAX];
        size_t count = 0;
        bool declared = false;
        for (const struct bedrock_dependency_decl *decl = list; decl && decl->name && count < NAMES_MAX; decl++) {
            declared |= strcmp(decl->name, key) == 0;
            names[count++] = decl->name;
        }
        char tail[512];
        if (!declared)
            log_warning("bedrock", "%s.dependencies.%s is ignored: providers of type \"%s\" have no such dependency%s",
                        provider->path, key, provider->type,
                        dango_suggest_list("dependencies", key, names, count, tail, sizeof tail));
    }
}

int bdk_plan_check(const struct bdk_plan *plan, struct bdk_description *description, struct dango_error *err)
{
    assert(plan && description->name && err);
    char label[BDK_LABEL_BYTES];
    const struct bedrock_module *module = bdk_registry_find(plan->registry, description->type);
    if (!module) {
        char known[700];
        return dango_error_set(err, DANGO_ERR_NOT_FOUND, "%s: unknown provider type \"%s\"%s",
                               bdk_description_label(description, label), description->type,
                               bdk_registry_suggest(plan->registry, description->type, known, sizeof known));
    }
    /* The module is asked first: it may see that Bedrock chooses the id. */
    struct bedrock_args args = {.description = description};
    int status = check_engine(plan, description, err);
    if (status < 0 || (status = check_settings(module, &args, err)) < 0)
        return status;
    dango_error_clear(err);
    const struct bedrock_dependency_decl *list = bdk_plan_dependencies(module, &args, err);
    if (err->code || (status = bdk_plan_check_id(plan, description, err)) < 0)
        return err->code;
    warn_of_undeclared(description, list);
    for (; list && list->name && status == 0; list++)
        status = check_dependency(plan, description, list, err);
    return status;
}
