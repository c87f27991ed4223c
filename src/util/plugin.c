/*
 * Finding shared objects beside our own library: see plugin.h.
 */
#include "util/plugin.h"

#include <assert.h>
#include <dirent.h>
#include <dlfcn.h>
#include <fnmatch.h>
#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The path of `file` in the directory of the library that holds this function; false if that is not known. */
static bool path_beside_us(const char *file, char path[PATH_MAX])
{
    Dl_info self;
    if (!dladdr((void *)(uintptr_t)dango_plugin_open, &self) || !self.dli_fname)
        return false;
    const char *end = strrchr(self.dli_fname, '/');
    int length = end ? snprintf(path, PATH_MAX, "%.*s/%s", (int)(end - self.dli_fname), self.dli_fname, file) : -1;
    return length > 0 && length < PATH_MAX;
}

void *dango_plugin_open(const char *file, int flags, char *tried, size_t size)
{
    char path[PATH_MAX];
    assert(file && *file && !strchr(file, '/'));
    if (path_beside_us(file, path) && access(path, R_OK) == 0)
        file = path;
    if (tried)
        snprintf(tried, size, "%s", file);
    return dlopen(file, flags);
}

size_t dango_plugin_names(const char *pattern, char **names, size_t max)
{
    char path[PATH_MAX];
    struct dirent **entries;
    size_t used = 0;
    int count = path_beside_us(".", path) ? scandir(path, &entries, NULL, alphasort) : -1;
    for (int i = 0; i < count; i++) {
        if (used < max && fnmatch(pattern, entries[i]->d_name, 0) == 0 && (names[used] = strdup(entries[i]->d_name)))
            used++;
        free(entries[i]);
    }
    if (count >= 0)
        free(entries);
    return used;
}
