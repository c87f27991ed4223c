/*
 * Custom allocators for in-memory backends: the interface that "library.so:function" names in a configuration.
 */
#ifndef YOKAN_ALLOCATOR_H
#define YOKAN_ALLOCATOR_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct yk_allocator {
    void *context;
    void *(*allocate)(void *context, size_t item_size, size_t count);
    void (*deallocate)(void *context, void *address, size_t item_size, size_t count);
    void (*finalize)(void *context);
} yk_allocator_t;

typedef void (*yk_allocator_init_fn)(yk_allocator_t *allocator, const char *json_config);

#ifdef __cplusplus
}
#endif

#endif
