/* mercury_proc.h - serialisation.
 *
 * One function per type, `hg_return_t hg_proc_T(hg_proc_t, void *data)`, runs in three modes:
 * HG_ENCODE writes `*data` to the stream, HG_DECODE fills `*data`, HG_FREE releases what decoding
 * allocated inside `*data`. Values travel unpadded in the machine's byte order (little endian).
 *
 * Every decode is checked against the end of the message. The first error sticks: all later
 * operations on the same stream fail with it, so a serialiser that ignores a result is harmless.
 */
#ifndef MERCURY_PROC_H
#define MERCURY_PROC_H

#include "mercury_types.h"

HG_EXTERN_C_BEGIN

HG_PUBLIC hg_proc_op_t hg_proc_get_op(hg_proc_t proc);
HG_PUBLIC hg_class_t *hg_proc_get_class(hg_proc_t proc);

/* Bytes of the buffer, not yet used of it, and used so far. */
HG_PUBLIC hg_size_t hg_proc_get_size(hg_proc_t proc);
HG_PUBLIC hg_size_t hg_proc_get_size_left(hg_proc_t proc);
HG_PUBLIC hg_size_t hg_proc_get_size_used(hg_proc_t proc);

/* Raw bytes. HG_OVERFLOW when decoding beyond the end of the message. */
HG_PUBLIC hg_return_t hg_proc_bytes(hg_proc_t proc, void *data, hg_size_t data_size);
#define hg_proc_raw(proc, data, size)    hg_proc_bytes((proc), (data), (size))
#define hg_proc_memcpy(proc, data, size) hg_proc_bytes((proc), (data), (size))

/* Reserve `data_size` contiguous bytes at the cursor, for a foreign serialiser: written by the
 * caller when encoding, read when decoding (valid as long as the input/output is held). NULL when
 * the message has not that many bytes, and in HG_FREE. hg_proc_restore_ptr() ends the use. */
HG_PUBLIC void *hg_proc_save_ptr(hg_proc_t proc, hg_size_t data_size);
HG_PUBLIC hg_return_t hg_proc_restore_ptr(hg_proc_t proc, void *data, hg_size_t data_size);

/* For serialisers of structures, when a field cannot be decoded: between the two the stream is one of HG_FREE, to give
 * back what the fields before it have allocated. begin is false, and end must not be called, unless it was decoding. */
HG_PUBLIC hg_bool_t hg_proc_undo_begin(hg_proc_t proc);
HG_PUBLIC void hg_proc_undo_end(hg_proc_t proc, hg_return_t error);

#define HG_PROC_DEFINE(type)                                                                                           \
    static HG_INLINE hg_return_t hg_proc_##type(hg_proc_t proc, void *data)                                            \
    {                                                                                                                  \
        return hg_proc_bytes(proc, data, sizeof(type));                                                                \
    }

HG_PROC_DEFINE(int8_t)
HG_PROC_DEFINE(uint8_t)
HG_PROC_DEFINE(int16_t)
HG_PROC_DEFINE(uint16_t)
HG_PROC_DEFINE(int32_t)
HG_PROC_DEFINE(uint32_t)
HG_PROC_DEFINE(int64_t)
HG_PROC_DEFINE(uint64_t)

#undef HG_PROC_DEFINE

#define hg_proc_hg_int8_t   hg_proc_int8_t
#define hg_proc_hg_uint8_t  hg_proc_uint8_t
#define hg_proc_hg_int16_t  hg_proc_int16_t
#define hg_proc_hg_uint16_t hg_proc_uint16_t
#define hg_proc_hg_int32_t  hg_proc_int32_t
#define hg_proc_hg_uint32_t hg_proc_uint32_t
#define hg_proc_hg_int64_t  hg_proc_int64_t
#define hg_proc_hg_uint64_t hg_proc_uint64_t
#define hg_proc_hg_bool_t   hg_proc_uint8_t
#define hg_proc_hg_size_t   hg_proc_uint64_t
#define hg_proc_hg_ptr_t    hg_proc_uint64_t
#define hg_proc_hg_id_t     hg_proc_uint64_t

/* The serialiser of "nothing". */
#define hg_proc_void NULL

HG_EXTERN_C_END

#endif /* MERCURY_PROC_H */
