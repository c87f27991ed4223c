/*
 * Client of Warabi, the store of remote byte ranges.
 *
 * A *region* is a byte range of fixed size in the target of a provider, named by a 16-byte id that the provider chose.
 * Ids are plain values: store them, send them to other processes, compare their bytes. New regions are filled with
 * zeros. Reads and writes may address any part of a region, in one or several segments; whatever lies outside of the
 * region is an error (WARABI_ERR_BOUNDS) and nothing is transferred.
 *
 * Paths     Less than the eager threshold of the handle (2048 bytes) travels inside the RPC; more is moved by RDMA
 *           between `data` (or the caller's bulk handle) and the target.
 * Requests  Every operation takes an optional request. NULL (WARABI_ASYNC_REQUEST_IGNORE): the call blocks the calling
 *           user-level thread (or pthread) until the provider answered. Otherwise it returns once the request was sent,
 *           and warabi_wait, exactly once per request, completes and frees it and returns the provider's error. `data`,
 *           bulk memory and output parameters must stay valid until then; arrays of offsets and sizes need not.
 * Deadline  30 s per operation (warabi_set_timeout); a peer known to be dead fails at once.
 * Order     Operations are independent. A persist covers the writes that completed before it was issued.
 * Threads   All functions may be called concurrently, also on one handle. A handle keeps its client alive. Clients and
 *           handles must be freed before Margo is finalised.
 */
#ifndef WARABI_CLIENT_H
#define WARABI_CLIENT_H

#include <margo.h>
#include <warabi/error.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct warabi_client *warabi_client_t;
typedef struct warabi_target_handle *warabi_target_handle_t;
typedef struct warabi_async_request *warabi_async_request_t;
#define WARABI_CLIENT_NULL          ((warabi_client_t)0)
#define WARABI_TARGET_HANDLE_NULL   ((warabi_target_handle_t)0)
#define WARABI_ASYNC_REQUEST_NULL   ((warabi_async_request_t)0)
#define WARABI_ASYNC_REQUEST_IGNORE ((warabi_async_request_t *)0)

typedef struct warabi_region {
    uint8_t opaque[16];
} warabi_region_t;

/* ---- clients and handles ---- */

/* Registers the client side of the RPCs; several clients per margo instance are allowed. */
warabi_err_t warabi_client_create(margo_instance_id mid, warabi_client_t *client);
warabi_err_t warabi_client_free(warabi_client_t client);

/* The configuration of the client, "{}"; to be released with free(). */
char *warabi_client_get_config(warabi_client_t client);

/* Resolves the address without contacting the provider: a wrong provider shows at the first operation. */
warabi_err_t warabi_client_make_target_handle(warabi_client_t client, const char *address, uint16_t provider_id,
                                              warabi_target_handle_t *th);
warabi_err_t warabi_target_handle_free(warabi_target_handle_t th);

/* ---- regions ---- */

/* A new region of exactly `size` bytes. */
warabi_err_t warabi_create(warabi_target_handle_t th, size_t size, warabi_region_t *region,
                           warabi_async_request_t *req);

/* The size in bytes that a region was created with. */
warabi_err_t warabi_region_size(warabi_target_handle_t th, warabi_region_t region, size_t *size,
                                warabi_async_request_t *req);

/* Frees a region; its id is invalid from then on. Transfers under way finish first. */
warabi_err_t warabi_erase(warabi_target_handle_t th, warabi_region_t region, warabi_async_request_t *req);

/* ---- write: with `persist`, the bytes are durable when the operation completed ---- */

warabi_err_t warabi_write(warabi_target_handle_t th, warabi_region_t region, size_t regionOffset, const char *data,
                          size_t size, bool persist, warabi_async_request_t *req);

/* `count` segments of the region; `data` is their concatenation. Empty segments are skipped. */
warabi_err_t warabi_write_multi(warabi_target_handle_t th, warabi_region_t region, size_t count,
                                const size_t *regionOffsets, const size_t *regionSizes, const char *data, bool persist,
                                warabi_async_request_t *req);

/*
 * From `bulkOffset` of bulk memory that the process `address` exposed for reading; NULL or "" is the calling process.
 * The bulk handle stays the caller's.
 */
warabi_err_t warabi_write_bulk(warabi_target_handle_t th, warabi_region_t region, size_t regionOffset, hg_bulk_t bulk,
                               const char *address, size_t bulkOffset, size_t size, bool persist,
                               warabi_async_request_t *req);
warabi_err_t warabi_write_multi_bulk(warabi_target_handle_t th, warabi_region_t region, size_t count,
                                     const size_t *regionOffsets, const size_t *regionSizes, hg_bulk_t bulk,
                                     const char *address, size_t bulkOffset, bool persist, warabi_async_request_t *req);

/* ---- durability of ranges ---- */

warabi_err_t warabi_persist(warabi_target_handle_t th, warabi_region_t region, size_t regionOffset, size_t size,
                            warabi_async_request_t *req);
warabi_err_t warabi_persist_multi(warabi_target_handle_t th, warabi_region_t region, size_t count,
                                  const size_t *regionOffsets, const size_t *regionSizes, warabi_async_request_t *req);

/* ---- create a region of `size` bytes and fill it, in one request ---- */

warabi_err_t warabi_create_write(warabi_target_handle_t th, const char *data, size_t size, bool persist,
                                 warabi_region_t *region, warabi_async_request_t *req);
warabi_err_t warabi_create_write_bulk(warabi_target_handle_t th, hg_bulk_t bulk, const char *address, size_t bulkOffset,
                                      size_t size, bool persist, warabi_region_t *region, warabi_async_request_t *req);

/* ---- read: the mirror of write; bulk memory must be exposed for writing ---- */

warabi_err_t warabi_read(warabi_target_handle_t th, warabi_region_t region, size_t regionOffset, char *data,
                         size_t size, warabi_async_request_t *req);
warabi_err_t warabi_read_multi(warabi_target_handle_t th, warabi_region_t region, size_t count,
                               const size_t *regionOffsets, const size_t *regionSizes, char *data,
                               warabi_async_request_t *req);
warabi_err_t warabi_read_bulk(warabi_target_handle_t th, warabi_region_t region, size_t regionOffset,
                              const char *address, hg_bulk_t bulk, size_t bulkOffset, size_t size,
                              warabi_async_request_t *req);
warabi_err_t warabi_read_multi_bulk(warabi_target_handle_t th, warabi_region_t region, size_t count,
                                    const size_t *regionOffsets, const size_t *regionSizes, const char *address,
                                    hg_bulk_t bulk, size_t bulkOffset, warabi_async_request_t *req);

/* ---- requests ---- */

/* Blocks until the operation completed, frees the request, returns the error of the operation. */
warabi_err_t warabi_wait(warabi_async_request_t req);

/* Whether the operation completed. Does not free, never blocks; may be called any number of times before wait. */
warabi_err_t warabi_test(warabi_async_request_t req, bool *flag);

/* ---- tuning ---- */

/* Transfers of fewer bytes travel inside the RPC; 0: none. At most 1 MiB is used. Default 2048. */
warabi_err_t warabi_set_eager_write_threshold(warabi_target_handle_t th, size_t size);
warabi_err_t warabi_set_eager_read_threshold(warabi_target_handle_t th, size_t size);

/* Deadline of each operation in milliseconds; 0 or less: none. Default 30000. */
warabi_err_t warabi_set_timeout(warabi_target_handle_t th, double timeout_ms);

#ifdef __cplusplus
}
#endif

#endif
