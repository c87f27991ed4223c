/*
 * Calls to a daemon in two halves, so that a group can have one to each of its members under way at the same time.
 */
#ifndef DANGO_BEDROCK_CLIENT_INTERNAL_H
#define DANGO_BEDROCK_CLIENT_INTERNAL_H

#include "bedrock/proto.h"

#include <bedrock/client.h>

struct bdk_request {
    const char *first, *second; /* NULL: absent */
    double number;
    double extra_timeout_ms; /* on top of the client's time limit */
};

struct bdk_call {
    struct bedrock_service *service;
    hg_handle_t handle;
    margo_request pending;
    double timeout_ms;
};

/* What was started must be finished. `value` (malloc'ed text) and `provider_id` may be NULL. */
int bdk_call_start(struct bdk_call *call, struct bedrock_service *service, const char *name,
                   const struct bdk_request *request, struct dango_error *err);
int bdk_call_finish(struct bdk_call *call, char **value, uint16_t *provider_id, struct dango_error *err);

int bdk_shutdown_start(struct bdk_call *call, struct bedrock_service *service, struct dango_error *err);
int bdk_shutdown_finish(struct bdk_call *call, struct dango_error *err);

#endif
