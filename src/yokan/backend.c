/*
 * Where backends come from: the built-in ones, then plug-ins. A plug-in for type T is libdango-yokan-T.so, found
 * as util/plugin.h says.
 */
#include "yokan/backend.h"

#include "util/plugin.h"
#include "util/suggest.h"

#include <assert.h>
#include <dlfcn.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

static const struct yokan_backend *const built_in[] = {&yokan_map_backend};

#define BUILT_IN_COUNT (sizeof built_in / sizeof built_in[0])

/* Plug-ins of this project and the package each is built with, so that the error can name it. */
static const struct {
    const char *type, *package;
} plugins[] = {{"rocksdb", "librocksdb-dev"}, {"lmdb", "liblmdb-dev"}, {"leveldb", "libleveldb-dev"}};

#define PLUGIN_COUNT (sizeof plugins / sizeof plugins[0])

int yokan_slice_compare(struct yokan_slice a, struct yokan_slice b)
{
    assert((a.data || a.size == 0) && (b.data || b.size == 0));
    size_t common = a.size < b.size ? a.size : b.size;
    int order = common ? memcmp(a.data, b.data, common) : 0;
    return order ? order : (a.size > b.size) - (a.size < b.size);
}

static const struct yokan_backend *load_plugin(const char *type, const char *package, const char *path,
                                               struct dango_error *err)
{
    assert(type && package);
    char name[64], file[PATH_MAX];
    snprintf(name, sizeof name, "libdango-yokan-%s.so", type);
    void *library = dango_plugin_open(name, RTLD_NOW | RTLD_LOCAL, file, sizeof file);
    if (!library) {
        dango_error_set(err, DANGO_ERR_UNSUPPORTED,
                        "%s: database type \"%s\" is a plug-in that is not installed or does not load: %s (it is built "
                        "when the package %s is there)",
                        path, type, dlerror(), package);
        return NULL;
    }
    const struct yokan_backend *backend = dlsym(library, "dango_yokan_backend");
    if (backend && backend->abi == YOKAN_BACKEND_ABI)
        return backend;
    dango_error_set(err, DANGO_ERR_UNSUPPORTED, "%s: %s is not a Yokan plug-in of this version", path, file);
    dlclose(library);
    return NULL;
}

static void unknown_type(const char *type, const char *path, struct dango_error *err)
{
    const char *names[BUILT_IN_COUNT + PLUGIN_COUNT];
    size_t count = 0;
    for (size_t i = 0; i < BUILT_IN_COUNT; i++)
        names[count++] = built_in[i]->type;
    for (size_t i = 0; i < PLUGIN_COUNT; i++)
        names[count++] = plugins[i].type;
    char list[256];
    dango_error_set(err, DANGO_ERR_INVALID, "%s: unknown database type \"%s\"%s", path, type,
                    dango_suggest_list("types", type, names, count, list, sizeof list));
}

const struct yokan_backend *yokan_backend_find(const char *type, const char *path, struct dango_error *err)
{
    assert(type && path);
    for (size_t i = 0; i < BUILT_IN_COUNT; i++) {
        if (strcmp(built_in[i]->type, type) == 0)
            return built_in[i];
    }
    for (size_t i = 0; i < PLUGIN_COUNT; i++) {
        if (strcmp(plugins[i].type, type) == 0)
            return load_plugin(type, plugins[i].package, path, err);
    }
    unknown_type(type, path, err);
    return NULL;
}
