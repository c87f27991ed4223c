/* mercury_core_types.h - identifiers, error codes and initialisation options. */
#ifndef MERCURY_CORE_TYPES_H
#define MERCURY_CORE_TYPES_H

#include "mercury_config.h"
#include "na_types.h"

typedef uint64_t hg_size_t; /* bytes */
typedef uint64_t hg_id_t;   /* identifier of a registered RPC; 0 is never valid */

/* Error codes. The list can be expanded by others: define X(name), use the list, undefine X. */
#define HG_RETURN_VALUES                                                                                               \
    X(HG_SUCCESS)        /* operation succeeded */                                                                     \
    X(HG_PERMISSION)     /* operation not permitted */                                                                 \
    X(HG_NOENTRY)        /* no such RPC, provider or entry */                                                          \
    X(HG_INTERRUPT)      /* operation interrupted */                                                                   \
    X(HG_AGAIN)          /* resource unavailable for now, try again */                                                 \
    X(HG_NOMEM)          /* out of memory */                                                                           \
    X(HG_ACCESS)         /* permission denied by the system */                                                         \
    X(HG_FAULT)          /* bad address */                                                                             \
    X(HG_BUSY)           /* in use */                                                                                  \
    X(HG_EXIST)          /* exists already */                                                                          \
    X(HG_NODEV)          /* no such device, or the peer is gone */                                                     \
    X(HG_INVALID_ARG)    /* invalid argument */                                                                        \
    X(HG_PROTOCOL_ERROR) /* malformed message */                                                                       \
    X(HG_OVERFLOW)       /* value or buffer too large */                                                               \
    X(HG_MSGSIZE)        /* message too long */                                                                        \
    X(HG_PROTONOSUPPORT) /* protocol not supported */                                                                  \
    X(HG_OPNOTSUPPORTED) /* operation not supported */                                                                 \
    X(HG_ADDRINUSE)      /* address in use */                                                                          \
    X(HG_ADDRNOTAVAIL)   /* address not available */                                                                   \
    X(HG_HOSTUNREACH)    /* nobody listens at that address */                                                          \
    X(HG_TIMEOUT)        /* deadline passed */                                                                         \
    X(HG_CANCELED)       /* operation cancelled */                                                                     \
    X(HG_IO_ERROR)       /* input/output error, e.g. the connection broke */                                           \
    X(HG_HOSTFIREWALL)   /* blocked by a firewall */                                                                   \
    X(HG_CHECKSUM_ERROR) /* checksum does not match */                                                                 \
    X(HG_NA_ERROR)       /* other error of the transport */                                                            \
    X(HG_OTHER_ERROR)    /* any other error */                                                                         \
    X(HG_RETURN_MAX)     /* number of codes */

#define X(name) name,
typedef enum hg_return { HG_RETURN_VALUES } hg_return_t;
#undef X

/* Older names of some codes. */
#define HG_INVALID_PARAM HG_INVALID_ARG
#define HG_SIZE_ERROR    HG_MSGSIZE
#define HG_NOMEM_ERROR   HG_NOMEM
#define HG_NO_MATCH      HG_NOENTRY

typedef enum hg_cb_type { HG_CB_LOOKUP, HG_CB_FORWARD, HG_CB_RESPOND, HG_CB_BULK } hg_cb_type_t;

/* Checksums: accepted; the transports on this node are error-free and tcp has its own. */
typedef enum hg_checksum_level {
    HG_CHECKSUM_NONE,
    HG_CHECKSUM_RPC_HEADERS,
    HG_CHECKSUM_RPC_PAYLOAD
} hg_checksum_level_t;

/* Options of HG_Init_opt() and HG_Init_opt2(); a structure of zeros means "all defaults". */
struct hg_init_info {
    struct na_init_info_4_0 na_init_info;
    na_class_t *na_class;       /* must be NULL */
    uint32_t request_post_init; /* accepted; receive buffers are pooled on demand */
    int32_t request_post_incr;  /* accepted, see above */
    uint8_t auto_sm;            /* accepted; shared memory is a transport of its own */
    const char *sm_info_string; /* accepted, see above */
    hg_checksum_level_t checksum_level;
    uint8_t no_bulk_eager;       /* never embed small read-only bulk data in a message */
    uint8_t no_loopback;         /* refuse RPCs to the own address */
    uint8_t stats;               /* accepted; statistics are always cheap and always on */
    uint8_t no_multi_recv;       /* accepted, has no meaning here */
    uint8_t release_input_early; /* accepted; inputs are copied out of the transport at once */
    enum na_traffic_class traffic_class;
    bool no_overflow; /* fail with HG_MSGSIZE instead of sending large inputs by bulk */
    unsigned int multi_recv_op_max;
    unsigned int multi_recv_copy_threshold;
};

/* Defaults, for C: `struct hg_init_info info = HG_INIT_INFO_INITIALIZER;` */
#define HG_INIT_INFO_INITIALIZER ((struct hg_init_info){.na_init_info = {.max_contexts = 1}})

#endif /* MERCURY_CORE_TYPES_H */
