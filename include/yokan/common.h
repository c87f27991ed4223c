/*
 * Yokan: common definitions. Yokan is a remote key/value and document store: a provider (margo provider id) manages one
 * database; clients operate on it through a database handle (yokan/database.h, yokan/collection.h).
 *
 * Keys and values are byte strings. A key has at least one byte, a value may be empty. Sizes are in bytes.
 */
#ifndef YOKAN_COMMON_H
#define YOKAN_COMMON_H

#include <limits.h>
#include <margo.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Return codes: X(name, message), dense from 0. Users define X and expand the list to make their own messages. */
#define YOKAN_RETURN_VALUES                                                                                            \
    X(YOKAN_SUCCESS, "Success")                                                                                        \
    X(YOKAN_ERR_ALLOCATION, "Allocation error")                                                                        \
    X(YOKAN_ERR_INVALID_MID, "Invalid margo instance")                                                                 \
    X(YOKAN_ERR_INVALID_ARGS, "Invalid argument")                                                                      \
    X(YOKAN_ERR_INVALID_PROVIDER, "Invalid provider")                                                                  \
    X(YOKAN_ERR_INVALID_DATABASE, "Invalid database")                                                                  \
    X(YOKAN_ERR_INVALID_BACKEND, "Invalid backend type")                                                               \
    X(YOKAN_ERR_INVALID_CONFIG, "Invalid configuration")                                                               \
    X(YOKAN_ERR_INVALID_ID, "Invalid document id")                                                                     \
    X(YOKAN_ERR_INVALID_FILTER, "Invalid filter")                                                                      \
    X(YOKAN_ERR_FROM_MERCURY, "Mercury error")                                                                         \
    X(YOKAN_ERR_FROM_ARGOBOTS, "Argobots error")                                                                       \
    X(YOKAN_ERR_FROM_REMI, "REMI error")                                                                               \
    X(YOKAN_ERR_OP_UNSUPPORTED, "Unsupported operation or mode")                                                       \
    X(YOKAN_ERR_OP_FORBIDDEN, "Forbidden operation")                                                                   \
    X(YOKAN_ERR_KEY_NOT_FOUND, "Key not found")                                                                        \
    X(YOKAN_ERR_BUFFER_SIZE, "Buffer too small")                                                                       \
    X(YOKAN_ERR_KEY_EXISTS, "Key exists")                                                                              \
    X(YOKAN_ERR_CORRUPTION, "Data corruption")                                                                         \
    X(YOKAN_ERR_IO, "IO error")                                                                                        \
    X(YOKAN_ERR_INCOMPLETE, "Incomplete operation")                                                                    \
    X(YOKAN_ERR_TIMEOUT, "Timeout")                                                                                    \
    X(YOKAN_ERR_ABORTED, "Operation aborted")                                                                          \
    X(YOKAN_ERR_BUSY, "Busy")                                                                                          \
    X(YOKAN_ERR_EXPIRED, "Operation expired")                                                                          \
    X(YOKAN_ERR_TRY_AGAIN, "Try again")                                                                                \
    X(YOKAN_ERR_SYSTEM, "System error")                                                                                \
    X(YOKAN_ERR_CANCELED, "Canceled")                                                                                  \
    X(YOKAN_ERR_PERMISSION, "Permission error")                                                                        \
    X(YOKAN_ERR_MODE, "Invalid mode")                                                                                  \
    X(YOKAN_ERR_NONCONTIG, "Non-contiguous buffer")                                                                    \
    X(YOKAN_ERR_READONLY, "Read-only buffer")                                                                          \
    X(YOKAN_ERR_MIGRATED, "Database has migrated")                                                                     \
    X(YOKAN_ERR_MID_NOT_LISTENING, "Margo instance not listening")                                                     \
    X(YOKAN_STOP_ITERATION, "Stop iteration")                                                                          \
    X(YOKAN_ERR_OTHER, "Other error")

#define X(name, message) name,
typedef enum yk_return { YOKAN_RETURN_VALUES } yk_return_t;
#undef X

/* Per-item status that sizes arrays carry in place of a size. */
#define YOKAN_KEY_NOT_FOUND   (ULLONG_MAX)     /* item absent */
#define YOKAN_SIZE_TOO_SMALL  (ULLONG_MAX - 1) /* item present, buffer too small */
#define YOKAN_NO_MORE_KEYS    (ULLONG_MAX - 2) /* the listing ended before this entry */
#define YOKAN_NO_MORE_DOCS    (ULLONG_MAX - 2) /* the same for documents; also stored in ids */
#define YOKAN_LAST_VALID_SIZE (ULLONG_MAX - 3) /* up to here it is a real size */

typedef uint64_t yk_id_t; /* record id of a document, counted from 0 in its collection */

/*
 * Modes: a bit mask (int32_t) that every operation takes. Bits without meaning for an operation are ignored; bits that the
 * backend does not support give YOKAN_ERR_MODE. "map" supports all but WAIT/NOTIFY, LUA_FILTER and LIB_FILTER.
 */
#define YOKAN_MODE_DEFAULT      0x0
#define YOKAN_MODE_INCLUSIVE    0x1     /* listing: the start key is part of the result */
#define YOKAN_MODE_APPEND       0x2     /* put: append to an existing value */
#define YOKAN_MODE_CONSUME      0x4     /* get, fetch: erase what was read, atomically */
#define YOKAN_MODE_WAIT         0x8     /* readers: wait for absent keys */
#define YOKAN_MODE_NOTIFY       0x8     /* put: wake waiters (same bit as WAIT) */
#define YOKAN_MODE_NEW_ONLY     0x10    /* put: only keys that do not exist */
#define YOKAN_MODE_EXIST_ONLY   0x20    /* put: only keys that exist */
#define YOKAN_MODE_NO_PREFIX    0x40    /* listing: remove the filter prefix (suffix) from returned keys */
#define YOKAN_MODE_IGNORE_KEYS  0x80    /* list_keyvals: do not return keys */
#define YOKAN_MODE_KEEP_LAST    0x180   /* IGNORE_KEYS, but return the last key */
#define YOKAN_MODE_SUFFIX       0x200   /* the filter is a suffix, not a prefix */
#define YOKAN_MODE_LUA_FILTER   0x400   /* the filter is Lua code */
#define YOKAN_MODE_IGNORE_DOCS  0x800   /* listing of documents: ids only, sizes 0 */
#define YOKAN_MODE_FILTER_VALUE 0x1000  /* the Lua filter also sees the value */
#define YOKAN_MODE_LIB_FILTER   0x2000  /* the filter comes from a shared library */
#define YOKAN_MODE_NO_RDMA      0x4000  /* data travel inside the RPC */
#define YOKAN_MODE_UPDATE_NEW   0x8000  /* document update may create ids */
#define YOKAN_MODE_EXTRA        0x10000 /* (tag, value) pairs follow the last named argument */

/*
 * Optional arguments, read only with YOKAN_MODE_EXTRA:
 *     yk_put(dbh, YOKAN_MODE_EXTRA, "k", 1, "v", 1, YOKAN_EXTRA_TIMEOUT_MS, 500.0, YOKAN_EXTRA_END);
 * Tags are int. The timeout bounds the whole operation at the client; without one, 30 s apply.
 * An operation that timed out (YOKAN_ERR_TIMEOUT) may still have taken effect.
 */
#define YOKAN_EXTRA_END        0
#define YOKAN_EXTRA_TIMEOUT_MS 1 /* double, milliseconds; 0.0: no limit */

struct yk_migration_options {
    const char *new_root;     /* where the destination keeps its files; NULL: same path */
    const char *extra_config; /* JSON text passed to the destination */
    size_t xfer_size;         /* bytes per transfer; 0: default */
};

struct yk_snapshot_options {
    const char *extra_config;
    size_t xfer_size;
};

struct yk_restore_options {
    const char *new_root;     /* working directory of the restored database; required */
    const char *extra_config; /* JSON object merged over the stored configuration */
    size_t xfer_size;
};

#ifdef __cplusplus
}
#endif

#endif
