/*
 * CRC32C (Castagnoli, RFC 3720 appendix B.4) by isa-l, chained: start with 0, feed pieces in order. Pure function.
 */
#ifndef DANGO_UTIL_CRC32C_H
#define DANGO_UTIL_CRC32C_H

#include <stddef.h>
#include <stdint.h>

uint32_t dango_crc32c(uint32_t crc, const void *bytes, size_t size);

#endif
