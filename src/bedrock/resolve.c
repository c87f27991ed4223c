/*
 * Resolution, see resolve.h. The static part (declared types, arrays, providers of this process) was checked by
 * plan.c; here everything is looked up for real, and may still have gone since.
 */
#include "bedrock/resolve.h"
#include "margo/dango_margo.h"
#include "mercury/dango_hg.h"
#include "util/json.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* Beyond the time that the other daemon may wait for its provider. */
#define ANSWER_TIMEOUT_MS 5000.0

#define PATH_MAX_BYTES 512

ABT_pool bedrock_args_pool(const struct bedrock_args *args, const char *name)
{
    const struct bedrock_dependency *dependency = bedrock_args_dependency(args, name, 0);
    ABT_pool pool = ABT_POOL_NULL;
    if (dependency && dependency->kind == BEDROCK_KIND_POOL)
        return dependency->pool;
    int status = margo_get_handler_pool(args->instance, &pool);
    assert(status == 0);
    (void)status;
    return pool;
}

static char *copy_text(const char *text)
{
    char *copy = strdup(text);
    if (!copy)
        abort();
    return copy;
}

static margo_instance_id first_engine(const struct bdk_manager *manager)
{
    return manager->engines->list[0].mid;
}

static int resolve_pool(struct bdk_manager *manager, struct json_object *reference, const char *path,
                        struct bedrock_dependency *item, struct dango_error *err)
{
    struct margo_pool_info info;
    int status = dango_margo_find_pool(first_engine(manager), reference, path, &info, err);
    if (status < 0)
        return status;
    if (margo_pool_ref_incr_by_handle(first_engine(manager), info.pool) != HG_SUCCESS)
        return dango_error_set(err, DANGO_ERR_NOT_FOUND, "%s: the pool is being removed", path);
    item->kind = BEDROCK_KIND_POOL;
    item->pool = info.pool;
    item->name = copy_text(info.name);
    return 0;
}

static int resolve_xstream(struct bdk_manager *manager, struct json_object *reference, const char *path,
                           struct bedrock_dependency *item, struct dango_error *err)
{
    struct margo_xstream_info info;
    int status = dango_margo_find_xstream(first_engine(manager), reference, path, &info, err);
    if (status < 0)
        return status;
    if (margo_xstream_ref_incr_by_handle(first_engine(manager), info.xstream) != HG_SUCCESS)
        return dango_error_set(err, DANGO_ERR_NOT_FOUND, "%s: the execution stream is being removed", path);
    item->kind = BEDROCK_KIND_XSTREAM;
    item->xstream = info.xstream;
    item->name = copy_text(info.name);
    return 0;
}

static int resolve_engine(struct bdk_manager *manager, struct json_object *reference, struct bedrock_dependency *item)
{
    const char *text = json_object_get_string(reference);
    size_t index = strtoul(text, NULL, 10);
    assert(index < manager->engines->count);
    item->kind = BEDROCK_KIND_INSTANCE;
    item->instance = manager->engines->list[index].mid;
    item->name = copy_text(text);
    return 0;
}

/* Text and address of a provider handle. */
static int set_handle(struct bedrock_dependency *item, margo_instance_id mid, const char *address,
                      struct dango_error *err)
{
    char *name = NULL;
    item->kind = BEDROCK_KIND_HANDLE;
    item->address = copy_text(address);
    if (asprintf(&name, "%s:%u@%s", item->type, item->provider_id, address) < 0)
        abort();
    item->name = name;
    hg_return_t hret = margo_addr_lookup(mid, address, &item->addr);
    if (hret != HG_SUCCESS)
        return dango_hg_explain_address(margo_get_class(mid), address, hret, err);
    return 0;
}

/* A provider of this process: itself, or (with @local) as a client would see it. */
static int resolve_local(struct bdk_manager *manager, const struct bdk_provider *dependent,
                         const struct bdk_reference *reference, struct bedrock_dependency *item,
                         struct bdk_provider **target, struct dango_error *err)
{
    char spec[BEDROCK_NAME_MAX + 8];
    ABT_mutex_lock(manager->lock);
    struct bdk_provider *provider = bdk_manager_find(manager, reference);
    if (provider)
        provider->dependents++;
    ABT_mutex_unlock(manager->lock);
    if (!provider)
        return dango_error_set(err, DANGO_ERR_NOT_FOUND, "no provider named \"%s\"",
                               bdk_reference_spec(reference, spec));
    *target = provider;
    const char *address = manager->engines->list[provider->description.engine].address;
    item->provider_id = (uint16_t)provider->description.provider_id;
    if (reference->place == BDK_PLACE_LOCAL)
        return set_handle(item, manager->engines->list[dependent->description.engine].mid, address, err);
    item->kind = BEDROCK_KIND_COMPONENT;
    item->name = copy_text(provider->description.name);
    item->address = copy_text(address);
    item->component =
        provider->module->get_handle ? provider->module->get_handle(provider->component) : provider->component;
    return 0;
}

/* Asks the daemon at the address of the reference, which waits for the provider to be started. */
static int ask(struct bdk_manager *manager, margo_instance_id mid, const struct bdk_reference *reference,
               struct bedrock_provider_info *info, struct dango_error *err)
{
    struct bedrock_client *client = NULL;
    struct bedrock_service *service = NULL;
    char spec[BEDROCK_NAME_MAX + 8];
    int status = bedrock_client_create(mid, &client, err);
    if (status < 0)
        return status;
    bedrock_client_set_timeout(client, ANSWER_TIMEOUT_MS);
    status = bedrock_service_open(client, reference->address, manager->management_id, &service, err);
    if (status == 0)
        status = bedrock_service_lookup_provider(service, bdk_reference_spec(reference, spec),
                                                 manager->resolution_timeout_s, info, err);
    bedrock_service_close(service);
    bedrock_client_destroy(client);
    return status;
}

static int resolve_remote(struct bdk_manager *manager, const struct bdk_provider *dependent,
                          const struct bdk_reference *reference, struct bedrock_dependency *item,
                          struct dango_error *err)
{
    struct bedrock_provider_info info;
    margo_instance_id mid = manager->engines->list[dependent->description.engine].mid;
    int status = ask(manager, mid, reference, &info, err);
    if (status < 0)
        return status;
    if (strcmp(info.type, item->type) != 0)
        return dango_error_set(err, DANGO_ERR_INVALID, "\"%s\" at %s has type %s, expected %s", info.name,
                               reference->address, info.type, item->type);
    item->provider_id = info.provider_id;
    return set_handle(item, mid, reference->address, err);
}

/* A rank is another way to write its address. */
static int rank_to_address(const struct bdk_manager *manager, struct bdk_reference *reference, struct dango_error *err)
{
    assert(reference->place == BDK_PLACE_RANK);
    if (!manager->addresses)
        return dango_error_set(err, manager->unknown->code, "the address of rank %d is not known: %s", reference->rank,
                               manager->unknown->text);
    struct json_object *address = json_object_array_get_idx(manager->addresses, (size_t)reference->rank);
    assert(address); /* plan.c has checked the rank */
    if (json_object_get_string_len(address) >= BDK_ADDRESS_BYTES)
        return dango_error_set(err, DANGO_ERR_RANGE, "the address of rank %d is too long", reference->rank);
    memcpy(reference->address, json_object_get_string(address), (size_t)json_object_get_string_len(address) + 1);
    reference->place = BDK_PLACE_ADDRESS;
    return 0;
}

static int resolve_provider(struct bdk_manager *manager, const struct bdk_provider *dependent, struct json_object *json,
                            struct bedrock_dependency *item, struct bdk_provider **target, struct dango_error *err)
{
    struct bdk_reference reference;
    int status = bdk_reference_parse(&reference, json_object_get_string(json), err);
    if (status < 0)
        return status;
    if (reference.place == BDK_PLACE_RANK && (status = rank_to_address(manager, &reference, err)) < 0)
        return status;
    if (reference.place == BDK_PLACE_ADDRESS)
        return resolve_remote(manager, dependent, &reference, item, err);
    return resolve_local(manager, dependent, &reference, item, target, err);
}

static bool is_type(const struct bedrock_dependency_decl *decl, const char *type)
{
    return strcmp(decl->type, type) == 0;
}

/* The references given for one declared dependency: an array counts as its elements. */
static size_t reference_count(const struct bdk_description *description, const struct bedrock_dependency_decl *decl)
{
    struct json_object *value = dango_json_get(description->dependencies, decl->name);
    return json_object_is_type(value, json_type_array) ? json_object_array_length(value) : value != NULL;
}

static struct json_object *reference_at(const struct bdk_description *description,
                                        const struct bedrock_dependency_decl *decl, size_t i)
{
    struct json_object *value = dango_json_get(description->dependencies, decl->name);
    return json_object_is_type(value, json_type_array) ? json_object_array_get_idx(value, i) : value;
}

static void dependency_path(const struct bdk_description *description, const struct bedrock_dependency_decl *decl,
                            char *path, size_t size)
{
    snprintf(path, size, "%s.dependencies.%s", description->path, decl->name);
}

static int resolve_one(struct bdk_manager *manager, const struct bdk_provider *dependent, struct bdk_resolved *resolved,
                       size_t i, struct dango_error *err)
{
    struct json_object *reference = reference_at(&dependent->description, resolved->decl, i);
    struct bedrock_dependency *item = &resolved->items[i];
    char path[PATH_MAX_BYTES];
    dependency_path(&dependent->description, resolved->decl, path, sizeof path);
    if (is_type(resolved->decl, BEDROCK_TYPE_POOL))
        return resolve_pool(manager, reference, path, item, err);
    if (is_type(resolved->decl, BEDROCK_TYPE_XSTREAM))
        return resolve_xstream(manager, reference, path, item, err);
    if (is_type(resolved->decl, BEDROCK_TYPE_MARGO))
        return resolve_engine(manager, reference, item);
    int status = resolve_provider(manager, dependent, reference, item, &resolved->targets[i], err);
    return status < 0 ? dango_error_prefix(err, "%s", path) : 0;
}

static int resolve_declared(struct bdk_manager *manager, struct bdk_provider *provider,
                            const struct bedrock_dependency_decl *decl, struct dango_error *err)
{
    size_t count = reference_count(&provider->description, decl);
    if (count == 0)
        return 0;
    struct bdk_resolved *resolved = &provider->resolved[provider->num_resolved++];
    resolved->decl = decl;
    resolved->items = calloc(count, sizeof *resolved->items);
    resolved->targets = calloc(count, sizeof(struct bdk_provider *));
    if (!resolved->items || !resolved->targets)
        return dango_error_set(err, DANGO_ERR_NO_MEMORY, "out of memory");
    int status = 0;
    for (size_t i = 0; i < count && status == 0; i++) {
        resolved->items[i].type = decl->type;
        resolved->count++;
        status = resolve_one(manager, provider, resolved, i, err);
    }
    return status;
}

int bdk_resolve_check(struct bdk_manager *manager, const struct bdk_description *description, struct dango_error *err)
{
    struct bedrock_args args = {.description = description,
                                .instance = manager->engines->list[description->engine].mid};
    const struct bedrock_module *module = bdk_registry_find(manager->registry, description->type);
    assert(module && err);
    dango_error_clear(err);
    const struct bedrock_dependency_decl *decl = bdk_plan_dependencies(module, &args, err);
    int status = err->code;
    for (; decl && decl->name && status == 0; decl++) {
        char path[PATH_MAX_BYTES];
        dependency_path(description, decl, path, sizeof path);
        for (size_t i = 0; i < reference_count(description, decl) && status == 0; i++) {
            struct json_object *reference = reference_at(description, decl, i);
            if (is_type(decl, BEDROCK_TYPE_POOL))
                status = dango_margo_find_pool(first_engine(manager), reference, path, NULL, err);
            else if (is_type(decl, BEDROCK_TYPE_XSTREAM))
                status = dango_margo_find_xstream(first_engine(manager), reference, path, NULL, err);
        }
    }
    return status;
}

int bdk_resolve(struct bdk_manager *manager, struct bdk_provider *provider, struct dango_error *err)
{
    assert(!provider->resolved && err);
    dango_error_clear(err);
    struct bedrock_args args = {.description = &provider->description,
                                .instance = manager->engines->list[provider->description.engine].mid};
    const struct bedrock_dependency_decl *list = bdk_plan_dependencies(provider->module, &args, err);
    if (err->code)
        return err->code;
    size_t count = 0;
    while (list && list[count].name)
        count++;
    provider->resolved = calloc(count + 1, sizeof *provider->resolved);
    if (!provider->resolved)
        return dango_error_set(err, DANGO_ERR_NO_MEMORY, "out of memory");
    int status = 0;
    for (size_t i = 0; i < count && status == 0; i++)
        status = resolve_declared(manager, provider, &list[i], err);
    if (status < 0)
        bdk_resolve_release(manager, provider);
    return status;
}

static void release_item(struct bdk_manager *manager, const struct bdk_provider *dependent,
                         struct bedrock_dependency *item, struct bdk_provider *target)
{
    if (item->pool)
        margo_pool_release_by_handle(first_engine(manager), item->pool);
    if (item->xstream)
        margo_xstream_release_by_handle(first_engine(manager), item->xstream);
    if (item->addr)
        margo_addr_free(manager->engines->list[dependent->description.engine].mid, item->addr);
    if (target) {
        ABT_mutex_lock(manager->lock);
        assert(target->dependents > 0);
        target->dependents--;
        ABT_mutex_unlock(manager->lock);
    }
    free((char *)item->name);
    free((char *)item->address);
}

void bdk_resolve_release(struct bdk_manager *manager, struct bdk_provider *provider)
{
    for (size_t i = 0; i < provider->num_resolved; i++) {
        struct bdk_resolved *resolved = &provider->resolved[i];
        for (size_t j = 0; j < resolved->count; j++)
            release_item(manager, provider, &resolved->items[j], resolved->targets[j]);
        free(resolved->items);
        free(resolved->targets);
    }
    free(provider->resolved);
    provider->resolved = NULL;
    provider->num_resolved = 0;
}

struct json_object *bdk_resolve_dump(const struct bdk_provider *provider)
{
    struct json_object *json = json_object_new_object();
    for (size_t i = 0; i < provider->num_resolved; i++) {
        const struct bdk_resolved *resolved = &provider->resolved[i];
        if (!(resolved->decl->flags & BEDROCK_ARRAY)) {
            json_object_object_add(json, resolved->decl->name, json_object_new_string(resolved->items[0].name));
            continue;
        }
        struct json_object *names = json_object_new_array();
        for (size_t j = 0; j < resolved->count; j++)
            json_object_array_add(names, json_object_new_string(resolved->items[j].name));
        json_object_object_add(json, resolved->decl->name, names);
    }
    return json;
}
