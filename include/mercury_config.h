/* mercury_config.h - versions, integer aliases and attributes used by every mercury header. */
#ifndef MERCURY_CONFIG_H
#define MERCURY_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
#define HG_EXTERN_C_BEGIN extern "C" {
#define HG_EXTERN_C_END   }
#else
#define HG_EXTERN_C_BEGIN
#define HG_EXTERN_C_END
#endif

/* The version of the interface that these headers follow. */
#define HG_VERSION_MAJOR 2
#define HG_VERSION_MINOR 4
#define HG_VERSION_PATCH 1

#define HG_VERSION(major, minor) (((major) << 16) | (minor))
#define HG_VERSION_GE(v1, v2)    ((v1) >= (v2))
#define HG_VERSION_LT(v1, v2)    ((v1) < (v2))

#define HG_PUBLIC             __attribute__((visibility("default")))
#define HG_PRIVATE            __attribute__((visibility("hidden")))
#define HG_INLINE             inline
#define HG_WARN_UNUSED_RESULT __attribute__((warn_unused_result))
#define HG_PRINTF(fmt, args)  __attribute__((format(printf, fmt, args)))

typedef int8_t hg_int8_t;
typedef uint8_t hg_uint8_t;
typedef int16_t hg_int16_t;
typedef uint16_t hg_uint16_t;
typedef int32_t hg_int32_t;
typedef uint32_t hg_uint32_t;
typedef int64_t hg_int64_t;
typedef uint64_t hg_uint64_t;
typedef uint8_t hg_bool_t;
typedef uint64_t hg_ptr_t;

#define HG_TRUE  1
#define HG_FALSE 0

#endif /* MERCURY_CONFIG_H */
