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

#include <stdlib.h>

struct json_object;

/* ---- group files (group_file.c) ---- */

int flk_group_file_write(const flock_group_view_t *view, const char *filename, struct dango_error *err);
flock_return_t flk_group_file_read(const char *filename, flock_group_view_t *view, struct dango_error *err);
/* Replaces the view by what a JSON document holds; on failure it stays as it was. */
int flk_view_from_json(struct json_object *json, flock_group_view_t *view, struct dango_error *err);

/* ---- bootstrap methods (bootstrap.c) ---- */

/* Checks "bootstrap", a method's name or a list of them, without side effects; `view` may be NULL. `path` is the place
 * of both in the document. */
int flk_bootstrap_check(struct json_object *bootstrap, struct json_object *view, const char *path,
                        struct dango_error *err);
/* Makes way for a new group with this view: removes a file that nobody alive stands behind. Blocks on an RPC (claim.c). */
int flk_claim_file(margo_instance_id mid, const char *filename, const flock_group_view_t *view,
                   struct dango_error *err);
/* The address that margo listens on, to be freed; NULL on failure (gateways/default.c). */
char *flk_self_address(margo_instance_id mid);

/* ---- registries (registry.c) ---- */

/* NULL with an error that lists what there is. */
flock_backend_impl *flk_backend_find(const char *name, struct dango_error *err);
flock_gateway_impl *flk_gateway_find(const char *name, struct dango_error *err);

/* Built in. */
extern flock_backend_impl flk_static_backend;
extern flock_gateway_impl flk_default_gateway;

/* ---- the RPC by which clients fetch the view ---- */

#define FLK_RPC_GET_VIEW "flock_get_view"

/*
 * A version identifies one state of the view at one provider: a number drawn at its start, counted up with every change.
 * A client sends the version it has from its last answer (0: none); "unchanged" answers carry an empty view.
 */
typedef struct flk_get_view_in {
    uint64_t version;
} flk_get_view_in_t;

typedef struct flk_get_view_out {
    int32_t ret; /* flock_return_t */
    uint64_t version;
    uint8_t unchanged;
    flock_group_view_t view;
} flk_get_view_out_t;

hg_return_t hg_proc_flk_get_view_in_t(hg_proc_t proc, void *data);
hg_return_t hg_proc_flk_get_view_out_t(hg_proc_t proc, void *data);

#endif
