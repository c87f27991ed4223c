/*
 * Interface between Yokan and its backends: a table of functions over an ordered map of byte strings.
 *
 * A backend stores pairs and nothing else. Collections, filters, packing, transfers and limits are done once, above it,
 * for all backends. "map" is built in; heavier ones are plug-ins: a library libdango-yokan-<type>.so beside libdango.so
 * that exports `const struct yokan_backend dango_yokan_backend`. yokan_backend_find is the one place that knows both.
 *
 * Functions are called from several ULTs of several execution streams at a time and lock for themselves. `visit`
 * functions run while the backend holds its lock: they copy and return, they must not block or call the backend. Every
 * size has been checked by the caller; keys are not empty. A call on several items is one step for readers: they see
 * all of it or nothing.
 */
#ifndef YOKAN_BACKEND_H
#define YOKAN_BACKEND_H

#include <dango/error.h>
#include <dango/options.h>
#include <yokan/common.h>

#include <stdbool.h>
#include <string.h>

#define YOKAN_BACKEND_ABI 1u

struct yokan_slice {
    const void *data;
    size_t size;
};

struct yokan_pair {
    struct yokan_slice key, value;
};

/*
 * Given a pair; memory is valid during the call. For a key that is absent, value.data is NULL and value.size is
 * YOKAN_KEY_NOT_FOUND; an empty value has non-NULL data. YOKAN_SUCCESS goes on; anything else ends the call with that
 * code. Exceptions: YOKAN_STOP_ITERATION ends it with success; in `get`, YOKAN_ERR_BUFFER_SIZE means that the
 * value was not taken (CONSUME leaves it) and goes on.
 */
typedef yk_return_t (*yokan_visit_fn)(void *arg, size_t index, struct yokan_slice key, struct yokan_slice value);

/* Options that every backend's table begins with; its settings struct begins with this. */
struct yokan_common_settings {
    bool disable_doc_mixin_lock; /* no lock around read-modify-write of collections: single-threaded use */
};

#define YOKAN_COMMON_OPTIONS                                                                                           \
    DANGO_OPTION_BOOL("disable_doc_mixin_lock", struct yokan_common_settings, disable_doc_mixin_lock, false,           \
                      "do not lock collection metadata (single-threaded use only)")

struct yokan_backend {
    uint32_t abi;                       /* YOKAN_BACKEND_ABI */
    const char *type;                   /* "type" in a configuration */
    int32_t modes;                      /* bits that it supports */
    const struct dango_option *options; /* of "config" */
    size_t settings_size;               /* of the struct that the table fills in */

    /* `settings` outlive the database. YOKAN_ERR_INVALID_CONFIG, _IO, _PERMISSION, _CORRUPTION with a text. */
    yk_return_t (*open)(const void *settings, void **db, struct dango_error *err);
    /* Syncs and closes; persistent data stay. */
    void (*close)(void *db);

    yk_return_t (*count)(void *db, uint64_t *count);
    /* Modes APPEND, NEW_ONLY, EXIST_ONLY: with one pair, a refusal is KEY_EXISTS or KEY_NOT_FOUND; of several, the
     * refused ones are skipped. */
    yk_return_t (*put)(void *db, int32_t mode, size_t count, const struct yokan_pair *pairs);
    /* Visits each key in the order given. Mode CONSUME erases what was visited with success. */
    yk_return_t (*get)(void *db, int32_t mode, size_t count, const struct yokan_slice *keys, yokan_visit_fn visit,
                       void *arg);
    yk_return_t (*erase)(void *db, size_t count, const struct yokan_slice *keys);
    yk_return_t (*erase_range)(void *db, struct yokan_slice prefix);
    /* Visits all pairs in key order that follow `from` (with `inclusive`, also `from` itself); an empty `from` is
     * before everything. One moment of the database is seen. */
    yk_return_t (*scan)(void *db, struct yokan_slice from, bool inclusive, yokan_visit_fn visit, void *arg);
};

/* Modes that the common layer handles for every ordered backend. */
#define YOKAN_MODES_COMMON                                                                                             \
    (YOKAN_MODE_INCLUSIVE | YOKAN_MODE_CONSUME | YOKAN_MODE_NO_PREFIX | YOKAN_MODE_KEEP_LAST | YOKAN_MODE_SUFFIX |     \
     YOKAN_MODE_IGNORE_DOCS | YOKAN_MODE_FILTER_VALUE | YOKAN_MODE_NO_RDMA | YOKAN_MODE_UPDATE_NEW)

extern const struct yokan_backend yokan_map_backend;

/* What a plug-in exports. */
extern const struct yokan_backend dango_yokan_backend;

/* The backend of a type, loaded if it is a plug-in (and then never unloaded); NULL with an error that says what there
 * is. `path` is the place of the type in its document. */
const struct yokan_backend *yokan_backend_find(const char *type, const char *path, struct dango_error *err);

/* Order of keys: bytewise, the shorter first on a common prefix. */
int yokan_slice_compare(struct yokan_slice a, struct yokan_slice b);

static inline bool yokan_slice_begins_with(struct yokan_slice key, struct yokan_slice prefix)
{
    return key.size >= prefix.size && (prefix.size == 0 || memcmp(key.data, prefix.data, prefix.size) == 0);
}

#endif
