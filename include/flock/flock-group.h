/*
 * Group handles: a client's copy of the view of a group, refreshed on request. A client is never a member.
 *
 * Functions that contact the group block the calling ULT or thread, try the members they know one after the other, and
 * end within 30 s; a member whose death is known is skipped at once. On an error the copy stays as it was. A handle may
 * be used by several ULTs at a time.
 */
#ifndef FLOCK_GROUP_H
#define FLOCK_GROUP_H

#include <flock/flock-client.h>
#include <flock/flock-common.h>
#include <flock/flock-group-view.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct flock_group_handle *flock_group_handle_t;
#define FLOCK_GROUP_HANDLE_NULL ((flock_group_handle_t)NULL)
typedef struct flock_request *flock_request_t;

/*
 * A handle from one member. The member is asked who it is: FLOCK_ERR_INVALID_PROVIDER when it is no Flock provider. The
 * view holds only this member until it is updated, unless `mode` has FLOCK_MODE_INIT_UPDATE.
 */
flock_return_t flock_group_handle_create(flock_client_t client, hg_addr_t addr, uint16_t provider_id, uint32_t mode,
                                         flock_group_handle_t *handle);
/* A handle with the view of a group file or of its text. Contacts nobody unless FLOCK_MODE_INIT_UPDATE. */
flock_return_t flock_group_handle_create_from_file(flock_client_t client, const char *filename, uint32_t mode,
                                                   flock_group_handle_t *handle);
flock_return_t flock_group_handle_create_from_serialized(flock_client_t client, const char *text, size_t length,
                                                         uint32_t mode, flock_group_handle_t *handle);
flock_return_t flock_group_handle_ref_incr(flock_group_handle_t handle);
flock_return_t flock_group_handle_release(flock_group_handle_t handle);

/* Copy of the view as it is here; no communication. What `view` held is freed first. */
flock_return_t flock_group_get_view(flock_group_handle_t handle, flock_group_view_t *view);
/* Calls `fn` with the view, locked; `fn` must not call functions on the same handle. */
flock_return_t flock_group_access_view(flock_group_handle_t handle,
                                       void (*fn)(void *uargs, const flock_group_view_t *view), void *uargs);

/* Fetches the view. With a request: returns at once; flock_request_wait must then be called once. */
flock_return_t flock_group_update_view(flock_group_handle_t handle, flock_request_t *request);
/* Result of the update; frees the request. */
flock_return_t flock_request_wait(flock_request_t request);
flock_return_t flock_request_test(flock_request_t request, bool *completed);

/* The statistics (flock_provider_get_statistics) of the member that answered last: JSON in *statistics, free(). */
flock_return_t flock_group_get_statistics(flock_group_handle_t handle, char **statistics);

/* Sets a value of the group's metadata through any member; every member gets it. FLOCK_ERR_OP_UNSUPPORTED by backend
 * static, FLOCK_ERR_OP_FORBIDDEN for keys that begin with "__". Blocks as an update does. */
flock_return_t flock_group_metadata_set(flock_group_handle_t handle, const char *key, const char *value);

/*
 * Keeps the view up to date from now on, and calls back for every difference (functions may be NULL): members that joined,
 * left, died; values that were set, or removed (value NULL). When the member that is asked is lost, another one is, and the
 * differences are reported. The callbacks run one at a time in a ULT of the client's pool, without locks; they may use the
 * handle, but not unsubscribe. Fails if the group cannot be reached now; FLOCK_ERR_INVALID_ARGS when subscribed already.
 */
flock_return_t flock_group_subscribe(flock_group_handle_t handle, flock_membership_update_fn member_update,
                                     flock_metadata_update_fn metadata_update, void *context);
/* Afterwards no callback runs. Releasing the last reference unsubscribes, too. */
flock_return_t flock_group_unsubscribe(flock_group_handle_t handle);

#ifdef __cplusplus
}
#endif

#endif
