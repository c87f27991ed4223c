/*
 * Group view: the members of a group and its metadata, both sorted (plain byte order of the address, then provider id;
 * plain byte order of the key) and free of duplicates, with a digest of the content.
 *
 * Callers may read the fields; they must modify only through the functions below, which keep order and digest. The
 * functions do not lock: whoever shares a view uses FLOCK_GROUP_VIEW_LOCK. Apart from the locks, everything here works
 * before margo and Argobots are initialised. An all-zero view is a valid empty view. Pointers into the arrays are valid
 * until the next modification. Strings given to functions are copied.
 *
 * The same text, one JSON object, is the content of group files and of "serialized" views:
 *
 *     {"members":[{"address":"na+sm://42-0","provider_id":1}],"metadata":{"__type__":"static"}}
 */
#ifndef FLOCK_GROUP_VIEW_H
#define FLOCK_GROUP_VIEW_H

#include <flock/flock-common.h>
#include <mercury_proc_string.h>
#include <string.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct flock_member_t {
    char *address;
    uint16_t provider_id;
    struct {
        void *data;           /* belongs to whoever owns the view; neither copied nor serialised */
        void (*free)(void *); /* runs when the member is removed or the view is cleared */
    } extra;
} flock_member_t;

typedef struct flock_metadata_t {
    char *key;
    char *value;
} flock_metadata_t;

typedef struct flock_group_view_t {
    struct {
        uint64_t size;
        uint64_t capacity;
        flock_member_t *data;
    } members;
    struct {
        uint64_t size;
        uint64_t capacity;
        flock_metadata_t *data;
    } metadata;
    uint64_t digest; /* 64-bit hash of the content; 0 when empty; not collision resistant */
    ABT_mutex_memory mtx;
} flock_group_view_t;

/* clang-format off */
#define FLOCK_GROUP_VIEW_INITIALIZER { { 0, 0, NULL }, { 0, 0, NULL }, 0, ABT_MUTEX_INITIALIZER }
/* clang-format on */

#define FLOCK_GROUP_VIEW_LOCK(view)   ABT_mutex_lock(ABT_MUTEX_MEMORY_GET_HANDLE(&(view)->mtx))
#define FLOCK_GROUP_VIEW_UNLOCK(view) ABT_mutex_unlock(ABT_MUTEX_MEMORY_GET_HANDLE(&(view)->mtx))

/* Transfers the content of one view to another, empty one (both given as pointers). Mutexes are left alone. */
#define FLOCK_GROUP_VIEW_MOVE(src, dst)                                                                                \
    do {                                                                                                               \
        (dst)->members = (src)->members;                                                                               \
        (dst)->metadata = (src)->metadata;                                                                             \
        (dst)->digest = (src)->digest;                                                                                 \
        memset(&(src)->members, 0, sizeof((src)->members));                                                            \
        memset(&(src)->metadata, 0, sizeof((src)->metadata));                                                          \
        (src)->digest = 0;                                                                                             \
    } while (0)

uint64_t flock_group_view_digest(const flock_group_view_t *view);
/* Frees the content (running extra.free); the view is empty afterwards. May be repeated. */
void flock_group_view_clear(flock_group_view_t *view);
/* Runs and resets the `extra` of every member; the members stay. */
void flock_group_view_clear_extra(flock_group_view_t *view);

/* Order of members: by address (value of strcmp), then provider id (-1, 0, 1). */
int flock_member_cmp(flock_member_t *a, flock_member_t *b);
/* Index, or -1. */
ssize_t flock_group_view_members_binary_search(const flock_group_view_t *view, const char *address,
                                               uint16_t provider_id);

/* The parts of the digest, which is the exclusive or of the hashes of all members and metadata. */
uint64_t flock_djb2_hash(const char *text);
uint64_t flock_hash_member(uint16_t provider_id, const char *address);
uint64_t flock_hash_metadata(const char *key, const char *value);

/* The new entry, or the existing one; NULL when out of memory. */
flock_member_t *flock_group_view_add_member(flock_group_view_t *view, const char *address, uint16_t provider_id);
/* `member` must be an element of this view's array; anything else: false, nothing changed. */
bool flock_group_view_remove_member(flock_group_view_t *view, flock_member_t *member);
/* NULL when absent or out of range. */
flock_member_t *flock_group_view_find_member(flock_group_view_t *view, const char *address, uint16_t provider_id);
flock_member_t *flock_group_view_member_at(const flock_group_view_t *view, size_t index);
size_t flock_group_view_member_count(const flock_group_view_t *view);

/* Index, or -1. */
ssize_t flock_group_view_metadata_binary_search(const flock_group_view_t *view, const char *key);
/* Adds or replaces; NULL when out of memory. */
flock_metadata_t *flock_group_view_add_metadata(flock_group_view_t *view, const char *key, const char *value);
bool flock_group_view_remove_metadata(flock_group_view_t *view, const char *key); /* false when absent */
const char *flock_group_view_find_metadata(const flock_group_view_t *view, const char *key);
flock_metadata_t *flock_group_view_metadata_at(const flock_group_view_t *view, size_t index);
size_t flock_group_view_metadata_count(const flock_group_view_t *view);

/* Deep copy, without extras, into an empty view. On failure `dst` is empty and false is returned. */
bool flock_group_view_copy(const flock_group_view_t *src, flock_group_view_t *dst);

/* Serialisers for RPCs. Decoding replaces the content; on an error the view is empty. The `protected` one holds the
 * view's lock meanwhile and does nothing for NULL. */
hg_return_t hg_proc_flock_member_t(hg_proc_t proc, flock_member_t *member);
hg_return_t hg_proc_flock_metadata_t(hg_proc_t proc, flock_metadata_t *metadata);
hg_return_t hg_proc_flock_group_view_t(hg_proc_t proc, void *view);
hg_return_t hg_proc_flock_protected_group_view_t(hg_proc_t proc, void *view);

/* Calls `sink` once with the text of the view (valid during the call). */
flock_return_t flock_group_view_serialize(const flock_group_view_t *view,
                                          void (*sink)(void *context, const char *text, size_t length), void *context);
/* Writes the text to a file atomically: readers see the old content or the new, whatever happens. */
flock_return_t flock_group_view_serialize_to_file(const flock_group_view_t *view, const char *filename);
/* Read a text or a file; on success the old content of the view is freed, on failure it stays. FLOCK_ERR_INVALID_ARGS:
 * the file cannot be opened; FLOCK_ERR_INVALID_CONFIG: it is no group file, or has no members. */
flock_return_t flock_group_view_from_string(const char *text, size_t length, flock_group_view_t *view);
flock_return_t flock_group_view_from_file(const char *filename, flock_group_view_t *view);

#ifdef __cplusplus
}
#endif

#endif
