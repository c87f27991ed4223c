/* na_types.h - the few transport types that appear in `struct hg_init_info`. The transport
 * interface itself is internal; programs only fill in this structure. */
#ifndef NA_TYPES_H
#define NA_TYPES_H

#include "mercury_config.h"

/* A class of the transport layer; always NULL in a `struct hg_init_info`. */
typedef struct na_class na_class_t;

/* Bits of `progress_mode`. */
#define NA_NO_BLOCK 0x01 /* progress never sleeps: it polls until its timeout */
#define NA_NO_RETRY 0x02 /* accepted; queueing of a send that has no room is always on */

enum na_addr_format { NA_ADDR_UNSPEC, NA_ADDR_IPV4, NA_ADDR_IPV6, NA_ADDR_NATIVE };

enum na_traffic_class {
    NA_TC_UNSPEC,
    NA_TC_BEST_EFFORT,
    NA_TC_LOW_LATENCY,
    NA_TC_BULK_DATA,
    NA_TC_DEDICATED_ACCESS,
    NA_TC_SCAVENGER,
    NA_TC_NETWORK_CTRL
};

/* Options of the transport; zero always means "the transport's default". */
struct na_init_info_4_0 {
    const char *ip_subnet;           /* choose a network interface in this subnet */
    const char *auth_key;            /* accepted; nobody has to show one */
    size_t max_unexpected_size;      /* largest request or response sent eagerly, bytes */
    size_t max_expected_size;        /* accepted; max_unexpected_size counts for both */
    uint8_t progress_mode;           /* NA_NO_BLOCK | NA_NO_RETRY */
    enum na_addr_format addr_format; /* preferred family of addresses */
    uint8_t max_contexts;            /* contexts of one class; 0 = 1 */
    uint8_t thread_mode;             /* accepted; everything is thread-safe */
    bool request_mem_device;         /* accepted; only host memory is supported */
};

#endif /* NA_TYPES_H */
