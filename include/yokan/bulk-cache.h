/*
 * Source of registered buffers that a Yokan provider uses to receive data by bulk transfer. A program may pass its own
 * table in yk_provider_args; otherwise the provider uses the built-in cache that its "buffer_cache" configuration
 * names.
 */
#ifndef YOKAN_BULK_CACHE_H
#define YOKAN_BULK_CACHE_H

#include <margo.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct yk_buffer {
    size_t size;     /* bytes at `data`, at least what was asked for */
    hg_uint8_t mode; /* HG_BULK_* access with which it is registered */
    char *data;
    hg_bulk_t bulk;
} * yk_buffer_t;

typedef struct yk_bulk_cache {
    void *(*init)(margo_instance_id mid, const char *config); /* config: JSON text of the buffer_cache object */
    void (*finalize)(void *cache);
    yk_buffer_t (*get)(void *cache, size_t size, hg_uint8_t mode); /* NULL on failure; called from several ULTs */
    void (*release)(void *cache, yk_buffer_t entry);
} * yk_bulk_cache_t;

#ifdef __cplusplus
}
#endif

#endif
