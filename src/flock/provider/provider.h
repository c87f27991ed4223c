/*
 * A Flock provider from the inside. provider.c holds its life and its RPC, config.c its configuration, publish.c what
 * happens when the view changes, file.c the group file.
 */
#ifndef FLOCK_PROVIDER_PROVIDER_H
#define FLOCK_PROVIDER_PROVIDER_H

#include "flock/internal.h"
#include "flock/provider/callbacks.h"
#include "flock/provider/flock.h"

#include "argobots/gate.h"

#include <margo-timer.h>

#include <sys/stat.h>

/* The group file (file.c). */
struct flk_file {
    char *path;                           /* NULL: none, and all else is unused */
    bool remove;                          /* at the end */
    uint64_t writes;                      /* atomic */
    ABT_mutex_memory mutex;               /* guards what follows */
    bool allowed;                         /* the time to be visible has come */
    bool writer;                          /* we were the one to write, the last time we looked */
    bool stamped;                         /* others may write the file, too */
    bool told;                            /* the user knows why the file is left alone */
    bool waiting;                         /* the timer runs */
    uint64_t version;                     /* of the provider's that the file holds */
    struct stat written;                  /* the file as we left it */
    char group_id[FLK_GROUP_ID_SIZE];     /* empty: not known yet */
    char old_group_id[FLK_GROUP_ID_SIZE]; /* of a group that is over, whose file we found at the start */
    struct flk_lock lock;                 /* of the file, held until the first one is written */
    margo_timer_t timer;                  /* created when it is needed */
};

/* A member that has left an address lately (watch.c). */
struct flk_gone {
    flock_update_t kind; /* LEFT or MOVED */
    uint16_t provider_id;
    char *address, *former; /* where it was last; where it had come from, or NULL */
};
#define FLK_GONE_MAX 32

struct flock_provider {
    margo_instance_id mid;
    ABT_pool pool; /* for background work */
    uint16_t id;
    struct dango_gate gate;
    hg_id_t rpc, metadata_rpc, statistics_rpc;
    flock_gateway_impl *gateway;
    void *gateway_context;
    char *address; /* published; guarded by file.mutex */
    flock_backend_impl *backend;
    void *backend_context;
    struct flk_callbacks callbacks;
    int *ranks; /* to wait for before the group file is written for the first time; NULL: nobody */
    size_t rank_count;
    uint64_t first_version;
    uint64_t version;                   /* atomic, written under `watch`; of the view, see internal.h */
    ABT_mutex_memory watch;             /* guards the six below */
    ABT_cond_memory changed;            /* signalled when the version goes up */
    struct flk_gone gone[FLK_GONE_MAX]; /* the oldest first */
    size_t gone_count;
    bool left_in_time; /* noted by the backend as they leave, and not by us later */
    size_t watchers;
    bool closing;
    struct flk_file file;
    ABT_mutex_memory start; /* guards the two below */
    bool started;           /* updates go to the callbacks */
    struct list_node early; /* updates before that */
};

/* ---- config.c ---- */

/* Finds the gateway (backend) that a configuration names, unless the program gives one; `config` is a new reference to
 * its options. `path` is the place of the configuration in its document. */
int flk_select_gateway(struct json_object *json, const char *path, flock_gateway_impl *given,
                       flock_gateway_impl **gateway, struct json_object **config, struct dango_error *err);
int flk_select_backend(struct json_object *json, const char *path, flock_backend_impl *given,
                       flock_backend_impl **backend, struct json_object **config, struct dango_error *err);

/* ---- publish.c ---- */

/* The first dango_flock_publish waits until all these ranks of the launch have called theirs: whoever sees the file finds all
 * of them complete. Takes the list over. */
void flk_provider_keep_ranks(struct flock_provider *provider, int *ranks, size_t count);
/* A copy of the view as it is now, to be cleared; false when there is none. */
bool flk_provider_snapshot(struct flock_provider *provider, flock_group_view_t *view);
/* ---- watch.c ---- */

/* A member comes, goes, or moves from `former` (otherwise NULL); called by a backend with the lock of its view. The context
 * is the provider. */
void flk_watch_member(void *context, flock_update_t kind, const char *address, const char *former,
                      uint16_t provider_id);
/* The view has changed by this update. */
void flk_watch_changed(struct flock_provider *provider, const struct flk_update *update);
/* Waits until the version is another one, for at most `wait_ms`. Returns at once when too many wait. */
void flk_watch(struct flock_provider *provider, uint64_t version, uint32_t wait_ms);
/* Members that have left or moved lately, the latter with both addresses, to be cleared. */
void flk_watch_gone(struct flock_provider *provider, flock_group_view_t *left, flock_group_view_t *moved);
/* Sends everybody away who waits. */
void flk_watch_close(struct flock_provider *provider);
/* Frees what is known of members that are gone. */
void flk_watch_forget(struct flock_provider *provider);
/* ---- statistics.c ---- */

DECLARE_MARGO_RPC_HANDLER(flk_statistics_ult)
void flk_statistics_ult(hg_handle_t handle);

/* ---- file.c ---- */

/* Sets the path and looks at what is there, before the backend starts with this view; `join`: as one that joins. True: the
 * file is of this provider's group, as *from says, whose stamp is to be cleared. */
bool flk_file_open(struct flock_provider *provider, const char *path, const flock_group_view_t *view, bool join,
                   struct flk_resume *from);
/* Brings the file up to date, if this provider is the one that writes it; `now_allowed`: from now on. It is tried again
 * after a failure, which is 0 if it only waits for others. */
int flk_file_update(struct flock_provider *provider, bool now_allowed, struct dango_error *err);
/* Nothing is written any more. Removes the file if this provider is alone in the group that it leaves, and is to do so. */
void flk_file_close(struct flock_provider *provider);
void flk_file_free(struct flk_file *file);
/* A copy of the published address. */
char *flk_provider_address(struct flock_provider *provider);
/* Exchanges the published address, which is compared with what the file says, for *address. */
void flk_file_swap_address(struct flock_provider *provider, char **address);
/* The provider of the instance that holds this lock, if any does. */
bool flk_provider_find_lock(margo_instance_id mid, const struct stat *lock, uint16_t *id);
/* Hands over the lock of the group file. */
void flk_provider_keep_lock(struct flock_provider *provider, struct flk_lock *held);

/* ---- publish.c, more ---- */

/* What a backend calls; the context is the provider. Updates wait until flk_updates_start. */
void flk_on_member_update(void *context, flock_update_t kind, const char *address, uint16_t provider_id);
void flk_on_metadata_update(void *context, const char *key, const char *value);
/* Another member may be the one to write the group file. */
void flk_on_writer_change(void *context);
void flk_updates_start(struct flock_provider *provider);
/* Frees updates that still wait. */
void flk_updates_drop(struct flock_provider *provider);

#endif
