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

#endif
