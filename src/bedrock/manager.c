/*
 * Life of providers, see manager.h.
 *
 * Start: check against what exists → resolve dependencies → create → list it and wake those who wait for it → ready.
 * Whatever fails, the steps before are undone and the provider was never there.
 */
#include "bedrock/manager.h"
#include "bedrock/resolve.h"
#include "util/clock.h"
#include "util/json.h"
#include "util/log.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

void bdk_manager_init(struct bdk_manager *manager, struct bdk_registry *registry, const struct bdk_engines *engines,
                      const struct bdk_settings *settings)
{
    *manager = (struct bdk_manager){
        .operations = ABT_MUTEX_MEMORY_GET_HANDLE(&manager->operations_memory),
        .lock = ABT_MUTEX_MEMORY_GET_HANDLE(&manager->lock_memory),
        .changed = ABT_COND_MEMORY_GET_HANDLE(&manager->changed_memory),
        .operations_memory = ABT_MUTEX_INITIALIZER,
        .lock_memory = ABT_MUTEX_INITIALIZER,
        .changed_memory = ABT_COND_INITIALIZER,
        .registry = registry,
        .engines = engines,
        .management_id = (uint16_t)settings->provider_id,
        .resolution_timeout_s = settings->dependency_resolution_timeout,
    };
    list_init(&manager->providers);
}

struct bdk_provider *bdk_manager_find(struct bdk_manager *manager, const struct bdk_reference *reference)
{
    list_for_each (node, &manager->providers) {
        struct bdk_provider *provider = container_of(node, struct bdk_provider, link);
        const struct bdk_description *description = &provider->description;
        bool same = reference->by_id ? description->provider_id == reference->provider_id &&
                                           strcmp(description->type, reference->name) == 0
                                     : strcmp(description->name, reference->name) == 0;
        if (same)
            return provider;
    }
    return NULL;
}

/* ---- start ---- */

/* Providers as the plan wants them: valid while `lock` is held. To be freed. */
static struct bdk_known *known_providers(struct bdk_manager *manager, size_t *count)
{
    size_t n = 0;
    list_for_each (node, &manager->providers)
        n++;
    struct bdk_known *known = calloc(n + 1, sizeof *known);
    if (!known)
        abort();
    *count = 0;
    list_for_each (node, &manager->providers) {
        const struct bdk_description *description = &container_of(node, struct bdk_provider, link)->description;
        known[(*count)++] = (struct bdk_known){.name = description->name,
                                               .type = description->type,
                                               .path = description->path,
                                               .provider_id = (uint16_t)description->provider_id};
    }
    return known;
}

static int check_name(const struct bdk_plan *plan, const struct bdk_description *description, struct dango_error *err)
{
    for (size_t i = 0; i < plan->num_known; i++) {
        if (strcmp(plan->known[i].name, description->name) == 0)
            return dango_error_set(err, DANGO_ERR_EXISTS, "%s.name: \"%s\" is already used by a provider of type %s",
                                   description->path, description->name, plan->known[i].type);
    }
    return 0;
}

/* Against the providers that exist now. */
static int check(struct bdk_manager *manager, struct bdk_description *description, bool planned,
                 struct dango_error *err)
{
    struct bdk_plan plan = {
        .registry = manager->registry, .management_id = manager->management_id, .num_engines = manager->engines->count};
    ABT_mutex_lock(manager->lock);
    struct bdk_known *known = known_providers(manager, &plan.num_known);
    plan.known = known;
    int status = manager->ending ? dango_error_set(err, DANGO_ERR_CANCELED, "the daemon is shutting down")
                                 : check_name(&plan, description, err);
    if (status == 0)
        status = planned ? bdk_plan_check_id(&plan, description, err) : bdk_plan_check(&plan, description, err);
    ABT_mutex_unlock(manager->lock);
    free(known);
    return status;
}

static int create_component(struct bdk_manager *manager, struct bdk_provider *provider, struct dango_error *err)
{
    const struct bdk_description *description = &provider->description;
    struct bedrock_args args = {.description = description,
                                .instance = manager->engines->list[description->engine].mid,
                                .resolved = provider->resolved,
                                .num_resolved = provider->num_resolved};
    dango_error_clear(err);
    int status = provider->module->create(&args, &provider->component, err);
    if (status == 0)
        return 0;
    if (!err->code)
        dango_error_set(err, DANGO_ERR_INTERNAL, "creation failed, and the module does not say why");
    return dango_error_prefix(err, "%s (\"%s\", type \"%s\")", description->path, description->name, description->type);
}

static int make_ready(struct bdk_provider *provider, struct dango_error *err)
{
    const struct bdk_description *description = &provider->description;
    dango_error_clear(err);
    if (!provider->module->ready || provider->module->ready(provider->component, err) == 0)
        return 0;
    return dango_error_prefix(err, "%s (\"%s\", type \"%s\")", description->path, description->name, description->type);
}

/* Unlists it, waits for those who look at it, and destroys it. */
static void destroy(struct bdk_manager *manager, struct bdk_provider *provider)
{
    ABT_mutex_lock(manager->lock);
    assert(provider->dependents == 0);
    list_remove(&provider->link);
    while (provider->users > 0)
        ABT_cond_wait(manager->changed, manager->lock);
    ABT_mutex_unlock(manager->lock);
    log_debug("bedrock", "destroying provider \"%s\" (type %s, id %d)", provider->description.name,
              provider->description.type, (int)provider->description.provider_id);
    provider->module->destroy(provider->component);
    bdk_resolve_release(manager, provider);
    bdk_description_release(&provider->description);
    free(provider);
}

static int start(struct bdk_manager *manager, struct bdk_description *description, bool planned, uint16_t *provider_id,
                 struct dango_error *err)
{
    int status = check(manager, description, planned, err);
    if (status < 0)
        return status;
    struct bdk_provider *provider = calloc(1, sizeof *provider);
    if (!provider)
        return dango_error_set(err, DANGO_ERR_NO_MEMORY, "out of memory");
    provider->module = bdk_registry_find(manager->registry, description->type);
    provider->description = *description;
    assert(provider->module);
    if ((status = bdk_resolve(manager, provider, err)) < 0 || (status = create_component(manager, provider, err)) < 0) {
        bdk_resolve_release(manager, provider);
        free(provider);
        return status;
    }
    *description = (struct bdk_description){0};
    *provider_id = (uint16_t)provider->description.provider_id;
    ABT_mutex_lock(manager->lock);
    list_append(&manager->providers, &provider->link);
    ABT_cond_broadcast(manager->changed);
    ABT_mutex_unlock(manager->lock);
    log_debug("bedrock", "created provider \"%s\" (type %s, id %d)", provider->description.name,
              provider->description.type, (int)*provider_id);
    if (!planned && (status = make_ready(provider, err)) < 0)
        destroy(manager, provider);
    return status;
}

int bdk_manager_start(struct bdk_manager *manager, struct bdk_description *description, bool planned,
                      uint16_t *provider_id, struct dango_error *err)
{
    ABT_mutex_lock(manager->operations);
    int status = start(manager, description, planned, provider_id, err);
    ABT_mutex_unlock(manager->operations);
    return status;
}

int bdk_manager_ready(struct bdk_manager *manager, struct dango_error *err)
{
    int status = 0;
    ABT_mutex_lock(manager->operations);
    list_for_each (node, &manager->providers) {
        status = make_ready(container_of(node, struct bdk_provider, link), err);
        if (status < 0)
            break;
    }
    ABT_mutex_unlock(manager->operations);
    return status;
}

/* ---- changes ---- */

/* With both locks held. */
static struct bdk_provider *find_spec(struct bdk_manager *manager, const char *spec, struct dango_error *err)
{
    struct bdk_reference reference;
    if (bdk_reference_parse(&reference, spec, err) < 0)
        return NULL;
    struct bdk_provider *provider = reference.place == BDK_PLACE_NONE ? bdk_manager_find(manager, &reference) : NULL;
    if (!provider)
        dango_error_set(err, DANGO_ERR_NOT_FOUND, "no provider named \"%s\"", spec);
    return provider;
}

int bdk_manager_remove(struct bdk_manager *manager, const char *spec, struct dango_error *err)
{
    int status = 0;
    ABT_mutex_lock(manager->operations);
    ABT_mutex_lock(manager->lock);
    struct bdk_provider *provider = find_spec(manager, spec, err);
    if (!provider)
        status = err->code;
    else if (provider->dependents > 0)
        status = dango_error_set(err, DANGO_ERR_BUSY, "\"%s\" is used by %u other provider%s", spec,
                                 provider->dependents, provider->dependents == 1 ? "" : "s");
    ABT_mutex_unlock(manager->lock);
    if (status == 0)
        destroy(manager, provider);
    ABT_mutex_unlock(manager->operations);
    return status;
}

int bdk_manager_update(struct bdk_manager *manager, const char *spec, struct json_object *config,
                       struct dango_error *err)
{
    ABT_mutex_lock(manager->operations);
    ABT_mutex_lock(manager->lock);
    struct bdk_provider *provider = find_spec(manager, spec, err);
    ABT_mutex_unlock(manager->lock);
    int status;
    if (!provider)
        status = err->code;
    else if (!provider->module->update_config)
        status = dango_error_set(err, DANGO_ERR_UNSUPPORTED, "providers of type %s cannot be changed while they run",
                                 provider->description.type);
    else
        status = provider->module->update_config(provider->component, config, err);
    ABT_mutex_unlock(manager->operations);
    return status;
}

/* ---- look-up ---- */

static void to_timespec(double timeout_s, struct timespec *deadline)
{
    clock_gettime(CLOCK_REALTIME, deadline);
    deadline->tv_sec += (time_t)timeout_s;
    deadline->tv_nsec += (long)((timeout_s - (double)(time_t)timeout_s) * (double)DANGO_NS_PER_S);
    if (deadline->tv_nsec >= DANGO_NS_PER_S) {
        deadline->tv_nsec -= DANGO_NS_PER_S;
        deadline->tv_sec++;
    }
}

int bdk_manager_lookup(struct bdk_manager *manager, const char *spec, double timeout_s,
                       struct bedrock_provider_info *info, struct dango_error *err)
{
    const double timeout_max_s = 86400;
    struct bdk_reference reference;
    int status = bdk_reference_parse(&reference, spec, err);
    if (status < 0)
        return status;
    if (reference.place != BDK_PLACE_NONE)
        return dango_error_set(err, DANGO_ERR_INVALID, "ill-formed reference \"%s\"", spec);
    timeout_s = timeout_s > 0 ? timeout_s : 0; /* also what is not a number */
    struct timespec deadline;
    to_timespec(timeout_s < timeout_max_s ? timeout_s : timeout_max_s, &deadline);
    ABT_mutex_lock(manager->lock);
    struct bdk_provider *provider;
    bool expired = !(timeout_s > 0);
    while (!(provider = bdk_manager_find(manager, &reference)) && !expired && !manager->ending)
        expired = ABT_cond_timedwait(manager->changed, manager->lock, &deadline) != ABT_SUCCESS;
    if (provider) {
        snprintf(info->name, sizeof info->name, "%s", provider->description.name);
        snprintf(info->type, sizeof info->type, "%s", provider->description.type);
        info->provider_id = (uint16_t)provider->description.provider_id;
    } else if (manager->ending) {
        status = dango_error_set(err, DANGO_ERR_CANCELED, "the daemon is shutting down");
    } else if (timeout_s > 0) {
        status = dango_error_set(err, DANGO_ERR_TIMEOUT, "timed out after %g s waiting for \"%s\"", timeout_s, spec);
    } else {
        status = dango_error_set(err, DANGO_ERR_NOT_FOUND, "no provider named \"%s\"", spec);
    }
    ABT_mutex_unlock(manager->lock);
    return status;
}

/* ---- end ---- */

void bdk_manager_end(struct bdk_manager *manager)
{
    ABT_mutex_lock(manager->lock);
    manager->ending = true;
    ABT_cond_broadcast(manager->changed);
    ABT_mutex_unlock(manager->lock);
    ABT_mutex_lock(manager->operations);
    while (!list_empty(&manager->providers))
        destroy(manager, container_of(manager->providers.prev, struct bdk_provider, link));
    ABT_mutex_unlock(manager->operations);
}

/* ---- output ---- */

static struct json_object *effective_config(struct bdk_provider *provider)
{
    struct json_object *config =
        provider->module->get_config ? provider->module->get_config(provider->component) : NULL;
    if (json_object_is_type(config, json_type_object))
        return config;
    if (config)
        log_error("bedrock", "provider \"%s\" reports %s instead of an object as its configuration",
                  provider->description.name, dango_json_kind(config));
    json_object_put(config);
    return json_object_new_object();
}

static struct json_object *dump_provider(struct bdk_provider *provider)
{
    const struct bdk_description *description = &provider->description;
    struct json_object *json = json_object_new_object();
    json_object_object_add(json, "config", effective_config(provider));
    json_object_object_add(json, "dependencies", bdk_resolve_dump(provider));
    json_object_object_add(json, "engine", json_object_new_int64(description->engine));
    json_object_object_add(json, "name", json_object_new_string(description->name));
    json_object_object_add(json, "provider_id", json_object_new_int64(description->provider_id));
    json_object_object_add(json, "tags", dango_json_copy(description->tags));
    json_object_object_add(json, "type", json_object_new_string(description->type));
    return json;
}

struct json_object *bdk_manager_dump(struct bdk_manager *manager)
{
    struct json_object *array = json_object_new_array();
    ABT_mutex_lock(manager->lock);
    size_t count = 0;
    list_for_each (node, &manager->providers)
        count++;
    struct bdk_provider **snapshot = calloc(count + 1, sizeof(struct bdk_provider *));
    if (!snapshot)
        abort();
    count = 0;
    list_for_each (node, &manager->providers) {
        snapshot[count] = container_of(node, struct bdk_provider, link);
        snapshot[count++]->users++;
    }
    ABT_mutex_unlock(manager->lock);
    for (size_t i = 0; i < count; i++)
        json_object_array_add(array, dump_provider(snapshot[i]));
    ABT_mutex_lock(manager->lock);
    for (size_t i = 0; i < count; i++)
        snapshot[i]->users--;
    ABT_cond_broadcast(manager->changed);
    ABT_mutex_unlock(manager->lock);
    free(snapshot);
    return array;
}
