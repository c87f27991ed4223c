/*
 * Loading of module libraries, see registry.h.
 *
 * Descriptions are copied into zeroed structs of our size: a module that was built against an older header is shorter,
 * and what it does not have reads as NULL, the documented default.
 */
#include "bedrock/registry.h"
#include "util/log.h"
#include "util/plugin.h"
#include "util/suggest.h"

#include <assert.h>
#include <dlfcn.h>
#include <limits.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MODULES_MAX   128
#define LIBRARIES_MAX 128
#define INSTALLED_MAX 64 /* that messages look at */
/* Fields up to here have existed since ABI 1 and are needed. */
#define MODULE_SIZE_MIN offsetof(struct bedrock_module, ready)

struct bdk_registry {
    pthread_mutex_t lock;
    struct bedrock_module *modules[MODULES_MAX];
    size_t num_modules;
    char *libraries[LIBRARIES_MAX];
    size_t num_libraries;
};

typedef const struct bedrock_module *const *(*entry_point)(void);

struct bdk_registry *bdk_registry_create(void)
{
    struct bdk_registry *registry = calloc(1, sizeof *registry);
    if (registry)
        pthread_mutex_init(&registry->lock, NULL);
    return registry;
}

void bdk_registry_destroy(struct bdk_registry *registry)
{
    if (!registry)
        return;
    for (size_t i = 0; i < registry->num_modules; i++)
        free(registry->modules[i]);
    for (size_t i = 0; i < registry->num_libraries; i++)
        free(registry->libraries[i]);
    pthread_mutex_destroy(&registry->lock);
    free(registry);
}

static void *open_library(const char *library)
{
    const int flags = RTLD_NOW | RTLD_LOCAL;
    if (!*library)
        return dlopen(NULL, flags);
    return strchr(library, '/') ? dlopen(library, flags) : dango_plugin_open(library, flags, NULL, 0);
}

static const struct bedrock_module *find(struct bdk_registry *registry, const char *type)
{
    for (size_t i = 0; i < registry->num_modules; i++) {
        if (strcmp(registry->modules[i]->type, type) == 0)
            return registry->modules[i];
    }
    return NULL;
}

/* The size comes first: of a description that is too short nothing else may be read. */
static const char *problem_of(const struct bedrock_module *module)
{
    if (module->abi != BEDROCK_MODULE_ABI)
        return "was built for another version of the module interface; rebuild it";
    if (module->size < MODULE_SIZE_MIN)
        return "has a description that is too short";
    if (!module->type || !*module->type)
        return "has a description without a type";
    if (!module->create || !module->destroy)
        return "has a description without create or destroy";
    if (module->size == sizeof *module && !module->attach != !module->detach)
        return "has a description with only one of attach and detach";
    return NULL;
}

static int add_module(struct bdk_registry *registry, const char *library, const struct bedrock_module *module,
                      struct dango_error *err)
{
    if (find(registry, module->type)) {
        log_error("bedrock", "library \"%s\": type \"%s\" is known already; keeping the first", library, module->type);
        return 0;
    }
    if (registry->num_modules == MODULES_MAX)
        return dango_error_set(err, DANGO_ERR_RANGE, "more than %d types of providers", MODULES_MAX);
    struct bedrock_module *copy = calloc(1, sizeof *copy);
    if (!copy)
        return dango_error_set(err, DANGO_ERR_NO_MEMORY, "out of memory");
    memcpy(copy, module, module->size < sizeof *copy ? module->size : sizeof *copy);
    registry->modules[registry->num_modules++] = copy;
    log_debug("bedrock", "library \"%s\": type \"%s\"", library, module->type);
    return 0;
}

static int add_modules(struct bdk_registry *registry, const char *library, const struct bedrock_module *const *list,
                       struct dango_error *err)
{
    for (size_t i = 0; list[i]; i++) {
        const char *problem = problem_of(list[i]);
        if (problem)
            return dango_error_set(err, DANGO_ERR_INVALID, "cannot load \"%s\": it %s", library, problem);
    }
    int status = 0;
    for (size_t i = 0; list[i] && status == 0; i++)
        status = add_module(registry, library, list[i], err);
    return status;
}

/* Of a name without directory it helps to know which modules there are. */
static int explain_failed_load(const char *library, const char *why, struct dango_error *err)
{
    char *names[INSTALLED_MAX], list[512] = "";
    size_t count = strchr(library, '/') ? 0 : dango_plugin_names("lib*-bedrock-module.so", names, INSTALLED_MAX);
    if (count > 0)
        dango_suggest_list("installed", library, (const char *const *)names, count, list, sizeof list);
    for (size_t i = 0; i < count; i++)
        free(names[i]);
    return dango_error_set(err, DANGO_ERR_NOT_FOUND, "cannot load \"%s\": %s%s", library, why, list);
}

static int load(struct bdk_registry *registry, const char *library, struct dango_error *err)
{
    for (size_t i = 0; i < registry->num_libraries; i++) {
        if (strcmp(registry->libraries[i], library) == 0)
            return 0;
    }
    if (registry->num_libraries == LIBRARIES_MAX)
        return dango_error_set(err, DANGO_ERR_RANGE, "more than %d libraries", LIBRARIES_MAX);
    void *handle = open_library(library);
    if (!handle)
        return explain_failed_load(library, dlerror(), err);
    entry_point entry = (entry_point)(uintptr_t)dlsym(handle, "bedrock_modules");
    int status;
    if (entry)
        status = add_modules(registry, library, entry(), err);
    else
        status = dango_error_set(err, DANGO_ERR_INVALID,
                                 "cannot load \"%s\": it is not a Bedrock module (no function bedrock_modules; see "
                                 "bedrock/module.h)",
                                 library);
    if (status < 0)
        return status;
    char *copy = strdup(library);
    if (!copy)
        return dango_error_set(err, DANGO_ERR_NO_MEMORY, "out of memory");
    registry->libraries[registry->num_libraries++] = copy;
    return 0;
}

int bdk_registry_load(struct bdk_registry *registry, const char *library, struct dango_error *err)
{
    assert(registry && library);
    pthread_mutex_lock(&registry->lock);
    int status = load(registry, library, err);
    pthread_mutex_unlock(&registry->lock);
    return status;
}

const struct bedrock_module *bdk_registry_find(struct bdk_registry *registry, const char *type)
{
    pthread_mutex_lock(&registry->lock);
    const struct bedrock_module *module = find(registry, type);
    pthread_mutex_unlock(&registry->lock);
    return module;
}

/* The installed module that has the type by its name, "libabt-io-bedrock-module.so" for "abt_io". Types are identifiers. */
static bool library_of(const char *type, char library[NAME_MAX])
{
    char *name;
    int length = snprintf(library, NAME_MAX, "lib%s-bedrock-module.so", type);
    if (length < 0 || length >= NAME_MAX)
        return false;
    for (char *at = strchr(library, '_'); at; at = strchr(at, '_'))
        *at = '-';
    if (dango_plugin_names(library, &name, 1) == 0)
        return false;
    free(name);
    return true;
}

const char *bdk_registry_suggest(struct bdk_registry *registry, const char *type, char *buffer, size_t size)
{
    const char *names[MODULES_MAX];
    pthread_mutex_lock(&registry->lock);
    for (size_t i = 0; i < registry->num_modules; i++)
        names[i] = registry->modules[i]->type;
    dango_suggest_list("known", type, names, registry->num_modules, buffer, size);
    pthread_mutex_unlock(&registry->lock);
    size_t used = strlen(buffer);
    char library[NAME_MAX];
    if (library_of(type, library))
        snprintf(buffer + used, size - used, "; add \"%s\" to \"libraries\"", library);
    else
        snprintf(buffer + used, size - used, "; is its library listed in \"libraries\"?");
    return buffer;
}

const struct bedrock_module *bdk_registry_module(struct bdk_registry *registry, size_t i)
{
    pthread_mutex_lock(&registry->lock);
    const struct bedrock_module *module = i < registry->num_modules ? registry->modules[i] : NULL;
    pthread_mutex_unlock(&registry->lock);
    return module;
}

const char *bdk_registry_library(struct bdk_registry *registry, size_t i)
{
    pthread_mutex_lock(&registry->lock);
    const char *library = i < registry->num_libraries ? registry->libraries[i] : NULL;
    pthread_mutex_unlock(&registry->lock);
    return library;
}
