/* mercury_bulk.h - one-sided transfers between memory of two endpoints.
 *
 * A bulk handle describes segments of memory. It travels inside an input or output structure; who
 * receives it pulls from that memory or pushes to it with HG_Bulk_transfer(), while the owner stays
 * passive. Offsets count over all segments as if they were one piece. Memory given by the user must
 * outlive the handle. All functions are thread-safe, and one handle may serve several transfers.
 */
#ifndef MERCURY_BULK_H
#define MERCURY_BULK_H

#include "mercury_types.h"

HG_EXTERN_C_BEGIN

/* Describe `count` >= 1 segments. `ptrs` NULL: zeroed memory is allocated, and freed with the
 * handle. `flags`: what the other side may do (HG_BULK_READ_ONLY, _WRITE_ONLY, _READWRITE). */
HG_PUBLIC hg_return_t HG_Bulk_create(hg_class_t *hg_class, uint32_t count, void **buf_ptrs, const hg_size_t *buf_sizes,
                                     uint8_t flags, hg_bulk_t *handle);

/* The same with attributes; memory other than the host's gives HG_OPNOTSUPPORTED. */
HG_PUBLIC hg_return_t HG_Bulk_create_attr(hg_class_t *hg_class, uint32_t count, void **buf_ptrs,
                                          const hg_size_t *buf_sizes, uint8_t flags, const struct hg_bulk_attr *attrs,
                                          hg_bulk_t *handle);

HG_PUBLIC hg_return_t HG_Bulk_free(hg_bulk_t handle); /* drops a reference; NULL is allowed */
HG_PUBLIC hg_return_t HG_Bulk_ref_incr(hg_bulk_t handle);

/* Pointers to the local memory that covers [offset, offset + size), cut at segment borders; at most
 * `max_count` pieces. A size or `max_count` of 0 succeeds and touches nothing. */
HG_PUBLIC hg_return_t HG_Bulk_access(hg_bulk_t handle, hg_size_t offset, hg_size_t size, uint8_t flags,
                                     uint32_t max_count, void **buf_ptrs, hg_size_t *buf_sizes, uint32_t *actual_count);

HG_PUBLIC hg_size_t HG_Bulk_get_size(hg_bulk_t handle); /* bytes, all segments */
HG_PUBLIC uint32_t HG_Bulk_get_segment_count(hg_bulk_t handle);
HG_PUBLIC uint8_t HG_Bulk_get_flags(hg_bulk_t handle);

/* Flag of the two functions below: put small read-only data into the descriptor itself. */
#define HG_BULK_EAGER (1 << 2)

/* Flat form of a handle, in bytes that may be sent by any means. */
HG_PUBLIC hg_size_t HG_Bulk_get_serialize_size(hg_bulk_t handle, unsigned long flags);
HG_PUBLIC hg_return_t HG_Bulk_serialize(void *buf, hg_size_t buf_size, unsigned long flags, hg_bulk_t handle);
HG_PUBLIC hg_return_t HG_Bulk_deserialize(hg_class_t *hg_class, hg_bulk_t *handle, const void *buf, hg_size_t buf_size);

/* Pull (origin to local) or push (local to origin) `size` bytes. `origin_addr` is the endpoint that
 * owns the origin memory. References are held until the callback has run.
 * HG_INVALID_ARG: a range outside of its handle; HG_PERMISSION: flags do not allow it. */
HG_PUBLIC hg_return_t HG_Bulk_transfer(hg_context_t *context, hg_cb_t callback, void *arg, hg_bulk_op_t op,
                                       hg_addr_t origin_addr, hg_bulk_t origin_handle, hg_size_t origin_offset,
                                       hg_bulk_t local_handle, hg_size_t local_offset, hg_size_t size,
                                       hg_op_id_t *op_id);

/* Complete a pending transfer with HG_CANCELED. To be called before its callback has run. */
HG_PUBLIC hg_return_t HG_Bulk_cancel(hg_op_id_t op_id);

HG_EXTERN_C_END

#endif /* MERCURY_BULK_H */
