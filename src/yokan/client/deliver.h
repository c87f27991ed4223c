/*
 * What fetch and iteration have in common: batches of items, loaded into a buffer that grows when one item does not fit,
 * and handed to the user's callback in the caller or in ULTs of a pool. All calls of one operation share its deadline.
 *
 * The server does not call back: each batch is an ordinary request of the client. So nothing can arrive after the
 * operation ended, no listening instance is needed, and a callback that stops the operation stops it at once.
 */
#ifndef YOKAN_CLIENT_DELIVER_H
#define YOKAN_CLIENT_DELIVER_H

#include "yokan/client/client.h"

/* Items per batch when the caller does not say; bounds what a batch costs. */
#define YOKAN_BATCH_DEFAULT 1024

struct yokan_batches {
    struct yokan_target target; /* timeout_ms: what is left, see yokan_batches_next */
    int64_t deadline_ns;
    size_t batch_size;
    ABT_pool pool;
    size_t index; /* of the first item of the batch, in the operation */
    /* Of the batch: */
    size_t *sizes, *key_sizes;
    yk_id_t *ids;
    char *bytes, *keys; /* buffers of `space` and `key_space` bytes */
    size_t space, key_space;
};

/* `limit`: items of the whole operation, 0 for no limit. Allocates; to be finished in any case. */
yk_return_t yokan_batches_init(struct yokan_batches *batches, const struct yokan_target *target, size_t batch_size,
                               size_t limit, ABT_pool pool);
void yokan_batches_fini(struct yokan_batches *batches);

/* Before each request: puts the time that is left into the target. YOKAN_ERR_TIMEOUT when there is none. */
yk_return_t yokan_batches_next(struct yokan_batches *batches);

/* After the first item of a batch did not fit: doubles the buffers. YOKAN_ERR_ALLOCATION when they would be too large. */
yk_return_t yokan_batches_grow(struct yokan_batches *batches);

/* Calls fn(arg, i) for i < count: one after the other until one does not return YOKAN_SUCCESS, or with a pool each in a
 * ULT of its own, all of which have ended on return; then the first result that is not success counts. */
typedef yk_return_t (*yokan_deliver_fn)(void *arg, size_t i);
yk_return_t yokan_deliver(const struct yokan_batches *batches, size_t count, yokan_deliver_fn fn, void *arg);

#endif
