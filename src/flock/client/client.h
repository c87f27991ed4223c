/*
 * Flock clients from the inside: reference-counted, one per flock_client_init and one reference per group handle.
 */
#ifndef FLOCK_CLIENT_CLIENT_H
#define FLOCK_CLIENT_CLIENT_H

#include <flock/flock-client.h>

struct flock_client {
    margo_instance_id mid;
    ABT_pool pool;    /* of asynchronous updates */
    hg_id_t get_view; /* RPCs */
    hg_id_t set_metadata;
    uint64_t references; /* atomic */
};

void flk_client_ref(struct flock_client *client);
void flk_client_unref(struct flock_client *client);

#endif
