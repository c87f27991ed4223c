/*
 * What the files of Flock share: reading and writing group files with error texts, the registries of backends and
 * gateways, and the RPC between group handles and providers. Public types are in include/flock/.
 */
#ifndef FLOCK_INTERNAL_H
#define FLOCK_INTERNAL_H

#include <dango/error.h>
#include <flock/flock-backend.h>
#include <flock/flock-gateway.h>
#include <flock/flock-group-view.h>

#include "util/world.h"

#include <stdlib.h>

struct json_object;

/* Whether the views have a member in common (view.c). */
bool flk_views_meet(const flock_group_view_t *a, const flock_group_view_t *b);

/* ---- group files (group_file.c) ---- */

#define FLK_GROUP_ID_SIZE 40

/* Which state of which group a file holds: its keys "group_id" and "version". */
struct flk_stamp {
    char group_id[FLK_GROUP_ID_SIZE]; /* empty: not known */
    uint64_t term;                    /* 0: a group without terms */
    uint64_t change;                  /* counted up with the changes of the view */
    char *owner; /* who counts: the primary of the term, otherwise the member that wrote the file */
    uint16_t owner_id;
};

struct flk_resume {
    struct flk_stamp file;
    bool same_view; /* the file has the initial view, and so it is of that version */
};

/* Terms and changes beyond it are made up: no group gets there. */
#define FLK_STAMP_MAX UINT32_MAX

void flk_stamp_clear(struct flk_stamp *stamp);

/* `stamp` may be NULL: none is written, or wanted. What a file has instead of a proper stamp is none (no group_id). */
int flk_group_file_write(const flock_group_view_t *view, const struct flk_stamp *stamp, const char *filename,
                         struct dango_error *err);
flock_return_t flk_group_file_read(const char *filename, flock_group_view_t *view, struct dango_error *err);
flock_return_t flk_group_file_read_stamp(const char *filename, flock_group_view_t *view, struct flk_stamp *stamp,
                                         struct dango_error *err);
/* Replaces the view by what a JSON document holds; on failure it stays as it was. */
int flk_view_from_json(struct json_object *json, flock_group_view_t *view, struct dango_error *err);

/* ---- bootstrap methods (bootstrap.c) ---- */

/* What the methods of one configuration work on. */
struct flk_bootstrap {
    margo_instance_id mid;
    uint16_t provider_id;
    const char *file;         /* NULL: none */
    const char *group_type;   /* the configured one */
    struct json_object *view; /* of method "view"; NULL: none */
    struct dango_world world;
    int *ranks; /* that form the group: mpi_ranks, or all */
    size_t rank_count;
};

/* Checks "bootstrap", a method's name or a list of them, and "mpi_ranks" without side effects; `view` and `ranks` may be
 * NULL. `path` is the place of all in the document. */
int flk_bootstrap_check(struct json_object *bootstrap, struct json_object *view, struct json_object *ranks,
                        const char *path, struct dango_error *err);

/* ---- bootstrap by MPI (bootstrap_mpi.c) ---- */

/* The list of "mpi_ranks", or of all ranks without one, to be freed; NULL with an error. */
int *flk_mpi_ranks(struct json_object *ranks, const struct dango_world *world, size_t *count, struct dango_error *err);
/* Whether the method involves other processes. */
bool flk_mpi_is_collective(const struct flk_bootstrap *bootstrap);
/* The members that the listed ranks are; collective over them. */
int flk_bootstrap_mpi(const struct flk_bootstrap *bootstrap, flock_group_view_t *view, struct dango_error *err);
/* Whether all listed ranks have succeeded at something: collective over them. A failure of the exchange is a no. */
bool flk_mpi_agree(const struct flk_bootstrap *bootstrap, bool success);

/* ---- possession of a group file (claim.c) ---- */

/* Held from the first look at the file until the new group's file is written, unless other processes must get on. */
struct flk_lock {
    int fd; /* -1: not held */
    char *path;
};
#define FLK_LOCK_NONE ((struct flk_lock){.fd = -1})

/* Blocks the ULT while another process forms a group. Success without lock where the file system has none. */
int flk_lock_take(struct flk_lock *lock, margo_instance_id mid, const char *filename, struct dango_error *err);
void flk_lock_release(struct flk_lock *lock);
/* Makes way for a new group with this view (NULL: not known yet): removes a file that nobody alive stands behind. Blocks
 * on an RPC. The lock is the caller's. */
int flk_claim_file(margo_instance_id mid, const char *filename, const flock_group_view_t *view,
                   struct dango_error *err);
/* For programs that register a provider with a view of their own: a warning if the file is about to be taken from a group
 * that is alive. Blocks on an RPC unless the file names one of their members. */
void flk_warn_of_owner(margo_instance_id mid, const char *filename, const flock_group_view_t *view);

/* The address that margo listens on, to be freed; NULL on failure (gateways/default.c). */
char *flk_self_address(margo_instance_id mid);

/* ---- registries (registry.c) ---- */

/* NULL with an error that lists what there is. */
flock_backend_impl *flk_backend_find(const char *name, struct dango_error *err);
flock_gateway_impl *flk_gateway_find(const char *name, struct dango_error *err);

/* Who writes the group file: the coordinator, where there is one; otherwise the first member. `address` and `id` are the
 * provider's own. */
bool flk_backend_writes_file(const flock_backend_impl *backend, void *context, const flock_group_view_t *view,
                             const char *address, uint16_t id);
bool flk_cen_writes_file(void *context);
bool flk_swim_writes_file(void *context);

/* The version of the view that a built-in backend has now (all but the id), to be cleared; false: the backend has none. */
bool flk_backend_stamp(const flock_backend_impl *backend, void *context, struct flk_stamp *stamp);
bool flk_cen_stamp(void *context, struct flk_stamp *stamp);
bool flk_swim_stamp(void *context, struct flk_stamp *stamp);
/* The file holds a later change, known to nobody in the group any more: the next one comes after it. */
void flk_backend_pass(const flock_backend_impl *backend, void *context, uint64_t change);
void flk_swim_pass(void *context, uint64_t change);
/* Whether a member does not answer at present, although it is in the view. */
bool flk_backend_suspects(const flock_backend_impl *backend, void *context, const char *address, uint16_t id);
bool flk_swim_suspects(void *context, const char *address, uint16_t id);

/* Publishes the own member under another address. Blocks on RPCs. */
flock_return_t flk_backend_move(const flock_backend_impl *backend, void *context, const char *address);
flock_return_t flk_cen_move_self(void *context, const char *address);
flock_return_t flk_swim_move_self(void *context, const char *address);

/* Adds what a built-in backend has counted; nothing for others. */
void flk_backend_statistics(const flock_backend_impl *backend, void *context, struct json_object *json);
void flk_cen_statistics(void *context, struct json_object *json);
void flk_swim_statistics(void *context, struct json_object *json);

/* Built in. */
extern flock_backend_impl flk_static_backend;
extern flock_backend_impl flk_centralized_backend;
extern flock_backend_impl flk_swim_backend;
extern flock_gateway_impl flk_default_gateway;

/* ---- the RPCs by which clients fetch the view and statistics, and set metadata ---- */

#define FLK_RPC_GET_VIEW "flock_get_view"

/*
 * A version identifies one state of the view at one provider: a number drawn at its start, counted up with every change.
 * A client sends the version it has from its last answer (0: none); "unchanged" answers carry an empty view. With `wait_ms`
 * the answer comes when the view changes, or after that time.
 */
typedef struct flk_get_view_in {
    uint64_t version;
    uint32_t wait_ms;
} flk_get_view_in_t;

typedef struct flk_get_view_out {
    int32_t ret; /* flock_return_t */
    uint64_t version;
    uint8_t unchanged;
    flock_group_view_t view;
    flock_group_view_t left;  /* members that have left lately: what else is missing has died */
    flock_group_view_t moved; /* members that have moved lately, with both addresses */
} flk_get_view_out_t;

#define FLK_RPC_SET_METADATA "flock_set_metadata"

typedef struct flk_set_metadata_in {
    char *key, *value;
} flk_set_metadata_in_t;

typedef struct flk_set_metadata_out {
    int32_t ret; /* flock_return_t */
} flk_set_metadata_out_t;

#define FLK_RPC_STATISTICS "flock_statistics"

typedef struct flk_statistics_out {
    int32_t ret; /* flock_return_t */
    char *text;  /* NULL unless it is a success */
} flk_statistics_out_t;

hg_return_t hg_proc_flk_statistics_out_t(hg_proc_t proc, void *data);
hg_return_t hg_proc_flk_set_metadata_in_t(hg_proc_t proc, void *data);
hg_return_t hg_proc_flk_set_metadata_out_t(hg_proc_t proc, void *data);
hg_return_t hg_proc_flk_get_view_in_t(hg_proc_t proc, void *data);
hg_return_t hg_proc_flk_get_view_out_t(hg_proc_t proc, void *data);

#endif
