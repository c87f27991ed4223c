/*
 * CRC32C: see crc32c.h. isa-l takes int lengths and leaves the customary inversion to the caller.
 */
#include "util/crc32c.h"

#include <isa-l/crc.h>

uint32_t dango_crc32c(uint32_t crc, const void *bytes, size_t size)
{
    const size_t piece_max = 1u << 30;
    /* isa-l's prototype lacks const; it does not write. */
    unsigned char *cursor = (unsigned char *)(uintptr_t)bytes;
    crc = ~crc;
    while (size > 0) {
        size_t piece = size < piece_max ? size : piece_max;
        crc = crc32_iscsi(cursor, (int)piece, crc);
        cursor += piece;
        size -= piece;
    }
    return ~crc;
}
