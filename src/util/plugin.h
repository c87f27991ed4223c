/*
 * Shared objects of this project that are loaded when they are needed: modules and plug-ins.
 */
#ifndef DANGO_UTIL_PLUGIN_H
#define DANGO_UTIL_PLUGIN_H

#include <stddef.h>

/*
 * dlopen with `flags` of `file`, a name without directory: beside our own library if it is there, else by the system's
 * rules (LD_LIBRARY_PATH). `tried` (may be NULL) gets the name that was tried, for messages; NULL on failure, dlerror()
 * says why. Any thread.
 */
void *dango_plugin_open(const char *file, int flags, char *tried, size_t size);

/*
 * Names of the files beside our own library that match `pattern` (as in the shell), sorted; at most `max`, the rest is left
 * out. The names are the caller's, each to be released with free(). Returns how many; none if the directory cannot be read.
 */
size_t dango_plugin_names(const char *pattern, char **names, size_t max);

#endif
