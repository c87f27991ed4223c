/*
 * Flock clients from the inside: reference-counted, one per flock_client_init and one reference per group handle.
 */
#ifndef FLOCK_CLIENT_CLIENT_H
#define FLOCK_CLIENT_CLIENT_H

#include <flock/flock-client.h>
#include <flock/flock-group.h>

struct flock_client {
    margo_instance_id mid;
    ABT_pool pool;    /* of asynchronous updates */
    hg_id_t get_view; /* RPCs */
    hg_id_t set_metadata, statistics;
    uint64_t references; /* atomic */
};

struct flock_group_handle {
    struct flock_client *client;
    uint64_t references;      /* atomic */
    flock_group_view_t view;  /* its mutex guards everything below */
    flock_group_view_t left;  /* members that had left before the last answer, */
    flock_group_view_t moved; /* or moved, with both addresses */
    uint64_t version;         /* of the last answer; 0: none */
    char *contact;            /* address of the member that answered last, or that the handle was made from */
    uint16_t contact_id;
    /* The subscription, see subscribe.c. */
    bool subscribed, unsubscribing;
    uint64_t reported; /* the version that the callbacks know */
    ABT_thread subscriber;
    hg_handle_t waiting; /* its call under way, that ends when something changes */
    flock_membership_update_fn member_update;
    flock_metadata_update_fn metadata_update;
    void *context;
    flock_group_view_t seen; /* what the callbacks know; of the subscriber alone */
};

/* Asks one member for its view if it has another version; with `wait_ms` it may answer as late as that (subscribe.c). */
flock_return_t flk_group_ask(struct flock_group_handle *handle, const flock_member_t *member, uint64_t version,
                             double timeout_ms, uint32_t wait_ms);
/* Asks the members, one after the other, until one answers. */
flock_return_t flk_group_update(struct flock_group_handle *handle);

void flk_client_ref(struct flock_client *client);
void flk_client_unref(struct flock_client *client);

#endif
