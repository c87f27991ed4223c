/*
 * Yokan client: the state that database handles of one margo instance share. A program needs one; more are allowed.
 */
#ifndef YOKAN_CLIENT_H
#define YOKAN_CLIENT_H

#include <yokan/common.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct yk_client *yk_client_t;
#define YOKAN_CLIENT_NULL ((yk_client_t)NULL)

/* Registers the RPCs and takes a reference on the margo instance. Does not communicate. */
yk_return_t yk_client_init(margo_instance_id mid, yk_client_t *client);

/* Frees the client. Database handles that are still alive keep what they need; a warning is logged. */
yk_return_t yk_client_finalize(yk_client_t client);

#ifdef __cplusplus
}
#endif

#endif
