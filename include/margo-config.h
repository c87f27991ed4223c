/* margo-config.h - configuration, pools and execution streams of a running instance.
 *
 * An instance has an ordered list of pools and one of execution streams (ESs), built from its JSON configuration and
 * changed at run time with the functions below. Entries are found by handle, by name or by index; removing an entry
 * moves the later ones down. Each entry has a reference count: who depends on a pool (a provider, an RPC) holds a
 * reference, and an entry that is referenced cannot be removed.
 *
 * Results: HG_INVALID_ARG for NULL arguments and indices out of range, HG_NOENTRY for unknown names and handles,
 * HG_PERMISSION for what is in use, HG_OTHER_ERROR where noted; the reason is logged. `info` may always be NULL; `name`
 * in it points into the instance and is valid until the entry is removed. Every function is thread-safe; adding and
 * removing ESs may block the calling ULT or thread for as long as an OS thread takes to start or end.
 */
#ifndef MARGO_CONFIG_H
#define MARGO_CONFIG_H

#include <abt.h>
#include <mercury.h>

#ifdef __cplusplus
extern "C" {
#endif

#ifndef MARGO_INSTANCE_ID_DEFINED
#define MARGO_INSTANCE_ID_DEFINED
typedef struct margo_instance *margo_instance_id;
#endif

struct margo_pool_info {
    ABT_pool pool;
    const char *name;
    uint32_t index;
};

struct margo_xstream_info {
    ABT_xstream xstream;
    const char *name;
    uint32_t index;
};

/* ---- the effective configuration ---- */

enum {
    MARGO_CONFIG_PRETTY_JSON = 1,   /* several lines */
    MARGO_CONFIG_HIDE_EXTERNAL = 2, /* leave out pools and ESs that were not created from the configuration */
    MARGO_CONFIG_USE_NAMES = 4      /* refer to pools by name, not by index */
};

/* JSON text to be freed by the caller; NULL for a NULL instance. Feeding it back gives the same pools and ESs. */
char *margo_get_config(margo_instance_id mid);
char *margo_get_config_opt(margo_instance_id mid, int options);

/* ---- pools ---- */

size_t margo_get_num_pools(margo_instance_id mid);
hg_return_t margo_find_pool_by_handle(margo_instance_id mid, ABT_pool handle, struct margo_pool_info *info);
hg_return_t margo_find_pool_by_name(margo_instance_id mid, const char *name, struct margo_pool_info *info);
hg_return_t margo_find_pool_by_index(margo_instance_id mid, uint32_t index, struct margo_pool_info *info);

/* `json` describes one pool as in the configuration; NULL or "": a default pool with a generated name. */
hg_return_t margo_add_pool_from_json(margo_instance_id mid, const char *json, struct margo_pool_info *info);

/* Adds a pool of the caller's; `name` NULL: generated. With `take_ownership` it is freed with the instance. */
hg_return_t margo_add_pool_external(margo_instance_id mid, const char *name, ABT_pool pool, ABT_bool take_ownership,
                                    struct margo_pool_info *info);

/* HG_OTHER_ERROR for the progress pool and the default handler pool; HG_PERMISSION while it is referenced, served by
 * an ES, or holds ULTs. */
hg_return_t margo_remove_pool_by_index(margo_instance_id mid, uint32_t index);
hg_return_t margo_remove_pool_by_name(margo_instance_id mid, const char *name);
hg_return_t margo_remove_pool_by_handle(margo_instance_id mid, ABT_pool handle);

hg_return_t margo_pool_ref_count_by_handle(margo_instance_id mid, ABT_pool handle, unsigned *refcount);
hg_return_t margo_pool_ref_count_by_name(margo_instance_id mid, const char *name, unsigned *refcount);
hg_return_t margo_pool_ref_count_by_index(margo_instance_id mid, uint32_t index, unsigned *refcount);
hg_return_t margo_pool_ref_incr_by_handle(margo_instance_id mid, ABT_pool handle);
hg_return_t margo_pool_ref_incr_by_name(margo_instance_id mid, const char *name);
hg_return_t margo_pool_ref_incr_by_index(margo_instance_id mid, uint32_t index);
/* HG_PERMISSION when there is no reference to release. */
hg_return_t margo_pool_release_by_handle(margo_instance_id mid, ABT_pool handle);
hg_return_t margo_pool_release_by_name(margo_instance_id mid, const char *name);
hg_return_t margo_pool_release_by_index(margo_instance_id mid, uint32_t index);

/* ---- execution streams ---- */

size_t margo_get_num_xstreams(margo_instance_id mid);
hg_return_t margo_find_xstream_by_handle(margo_instance_id mid, ABT_xstream handle, struct margo_xstream_info *info);
hg_return_t margo_find_xstream_by_name(margo_instance_id mid, const char *name, struct margo_xstream_info *info);
hg_return_t margo_find_xstream_by_index(margo_instance_id mid, uint32_t index, struct margo_xstream_info *info);

/* `json` describes one ES as in the configuration and may name any pool of the instance. NULL or "": invalid. */
hg_return_t margo_add_xstream_from_json(margo_instance_id mid, const char *json, struct margo_xstream_info *info);

/* HG_PERMISSION for "__primary__" and while it is referenced; otherwise the ES is joined and freed. */
hg_return_t margo_remove_xstream_by_index(margo_instance_id mid, uint32_t index);
hg_return_t margo_remove_xstream_by_name(margo_instance_id mid, const char *name);
hg_return_t margo_remove_xstream_by_handle(margo_instance_id mid, ABT_xstream handle);

hg_return_t margo_xstream_ref_count_by_handle(margo_instance_id mid, ABT_xstream handle, unsigned *refcount);
hg_return_t margo_xstream_ref_count_by_name(margo_instance_id mid, const char *name, unsigned *refcount);
hg_return_t margo_xstream_ref_count_by_index(margo_instance_id mid, uint32_t index, unsigned *refcount);
hg_return_t margo_xstream_ref_incr_by_handle(margo_instance_id mid, ABT_xstream handle);
hg_return_t margo_xstream_ref_incr_by_name(margo_instance_id mid, const char *name);
hg_return_t margo_xstream_ref_incr_by_index(margo_instance_id mid, uint32_t index);
hg_return_t margo_xstream_release_by_handle(margo_instance_id mid, ABT_xstream handle);
hg_return_t margo_xstream_release_by_name(margo_instance_id mid, const char *name);
hg_return_t margo_xstream_release_by_index(margo_instance_id mid, uint32_t index);

/* Selection by the type of the key, for C11. */
#if !defined(__cplusplus) && defined(__STDC_VERSION__) && __STDC_VERSION__ >= 201112L
#define MARGO_SELECT(type, action, key)                                                                                \
    _Generic((key), type: margo_##action##_by_handle, const char *: margo_##action##_by_name,                          \
             char *: margo_##action##_by_name, default: margo_##action##_by_index)
#define margo_find_pool(mid, key, info)          MARGO_SELECT(ABT_pool, find_pool, key)(mid, key, info)
#define margo_remove_pool(mid, key)              MARGO_SELECT(ABT_pool, remove_pool, key)(mid, key)
#define margo_pool_ref_count(mid, key, refcount) MARGO_SELECT(ABT_pool, pool_ref_count, key)(mid, key, refcount)
#define margo_pool_ref_incr(mid, key)            MARGO_SELECT(ABT_pool, pool_ref_incr, key)(mid, key)
#define margo_pool_release(mid, key)             MARGO_SELECT(ABT_pool, pool_release, key)(mid, key)
#define margo_find_xstream(mid, key, info)       MARGO_SELECT(ABT_xstream, find_xstream, key)(mid, key, info)
#define margo_remove_xstream(mid, key)           MARGO_SELECT(ABT_xstream, remove_xstream, key)(mid, key)
#define margo_xstream_ref_count(mid, key, refcount)                                                                    \
    MARGO_SELECT(ABT_xstream, xstream_ref_count, key)(mid, key, refcount)
#define margo_xstream_ref_incr(mid, key) MARGO_SELECT(ABT_xstream, xstream_ref_incr, key)(mid, key)
#define margo_xstream_release(mid, key)  MARGO_SELECT(ABT_xstream, xstream_release, key)(mid, key)
#endif

/* ---- parameters ---- */

/* Moves the progress loop to another pool of the instance; takes effect when the loop comes by. 0, or an ABT error. */
int margo_migrate_progress_loop(margo_instance_id mid, unsigned pool_idx);

/* "progress_timeout_ub_msec" and "progress_spindown_msec"; 0, or -1 for an unknown key or a bad value. */
int margo_set_param(margo_instance_id mid, const char *key, const char *value);

#ifdef __cplusplus
}
#endif

#endif
