/*
 * The drivers that this process knows, by type name.
 *
 * Built-in drivers register themselves from a constructor; so do those in libraries, which are loaded the first time
 * their name is asked for: "name:library.so" names the library, a bare name means libdango-<name>.so or lib<name>.so.
 * A library is looked for beside libdango first, then where the loader looks. Libraries are never unloaded: their
 * tables are in use. The registry is process-wide because the loader is, too; one lock, never held while loading.
 */
#include "diaspora/driver.h"
#include "util/log.h"
#include "util/plugin.h"
#include "util/suggest.h"

#include <assert.h>
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#define DRIVERS_MAX 64
#define NAME_BYTES  64

static pthread_mutex_t registry_lock = PTHREAD_MUTEX_INITIALIZER;
static const struct diaspora_driver_ops *registry[DRIVERS_MAX];
static size_t registry_count;

static size_t find_locked(const char *type)
{
    size_t i = 0;
    while (i < registry_count && strcmp(registry[i]->type, type) != 0)
        i++;
    return i;
}

int dango_diaspora_register_driver(const struct diaspora_driver_ops *ops, struct dango_error *err)
{
    assert(ops && ops->type);
    if (ops->abi != DIASPORA_DRIVER_ABI)
        return dango_error_set(err, DANGO_ERR_UNSUPPORTED,
                               "driver \"%s\" was built for driver interface %u, this library has %u", ops->type,
                               ops->abi, DIASPORA_DRIVER_ABI);
    int status = 0;
    pthread_mutex_lock(&registry_lock);
    size_t i = find_locked(ops->type);
    bool replaces = i < registry_count && registry[i] != ops;
    if (i == DRIVERS_MAX)
        status = dango_error_set(err, DANGO_ERR_NO_MEMORY, "driver \"%s\": %d drivers are registered already",
                                 ops->type, DRIVERS_MAX);
    else
        registry[i] = ops;
    if (status == 0 && i == registry_count)
        registry_count++;
    pthread_mutex_unlock(&registry_lock);
    if (replaces)
        log_warning("diaspora", "driver \"%s\" is registered a second time; the later one is used", ops->type);
    return status;
}

static const struct diaspora_driver_ops *lookup(const char *name)
{
    pthread_mutex_lock(&registry_lock);
    size_t i = find_locked(name);
    const struct diaspora_driver_ops *ops = i < registry_count ? registry[i] : NULL;
    pthread_mutex_unlock(&registry_lock);
    return ops;
}

/* Loads a library; the loader's text goes to `problem`. */
static bool load(const char *library, char *problem, size_t problem_size)
{
    const int flags = RTLD_NOW | RTLD_LOCAL;
    void *loaded = strchr(library, '/') ? dlopen(library, flags) : dango_plugin_open(library, flags, NULL, 0);
    if (!loaded)
        snprintf(problem, problem_size, "%s", dlerror());
    return loaded;
}

static int unknown(const char *name, const char *problem, struct dango_error *err)
{
    const char *names[DRIVERS_MAX];
    char list[512];
    pthread_mutex_lock(&registry_lock);
    size_t count = registry_count;
    for (size_t i = 0; i < count; i++)
        names[i] = registry[i]->type;
    pthread_mutex_unlock(&registry_lock);
    dango_suggest_list("drivers", name, names, count, list, sizeof list);
    return dango_error_set(err, DANGO_ERR_NOT_FOUND, "no driver \"%s\"%s; %s", name, list, problem);
}

static bool load_by_name(const char *name, char *problem, size_t problem_size)
{
    char library[NAME_BYTES + 32];
    snprintf(library, sizeof library, "lib%s.so", name);
    if (load(library, problem, problem_size))
        return true;
    snprintf(library, sizeof library, "libdango-%s.so", name);
    return load(library, problem, problem_size);
}

const struct diaspora_driver_ops *dango_diaspora_find_driver(const char *type, struct dango_error *err)
{
    assert(type);
    char name[NAME_BYTES];
    const char *colon = strchr(type, ':');
    size_t length = colon ? (size_t)(colon - type) : strlen(type);
    if (length == 0 || length >= sizeof name || memchr(type, '/', length)) {
        dango_error_set(err, DANGO_ERR_INVALID,
                        "\"%s\" is not a driver type: expected \"name\" or \"name:library.so\", a name being 1 to %zu "
                        "bytes without \"/\"",
                        type, sizeof name - 1);
        return NULL;
    }
    memcpy(name, type, length);
    name[length] = '\0';
    const struct diaspora_driver_ops *ops = lookup(name);
    if (ops)
        return ops;
    char problem[512];
    if (!(colon ? load(colon + 1, problem, sizeof problem) : load_by_name(name, problem, sizeof problem))) {
        unknown(name, problem, err);
        return NULL;
    }
    ops = lookup(name);
    if (!ops)
        unknown(name, "the library was loaded but does not register it", err);
    return ops;
}
