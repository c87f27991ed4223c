/*
 * Batches and callbacks: see deliver.h.
 */
#include "yokan/client/deliver.h"

#include "util/clock.h"

#include <assert.h>
#include <stdlib.h>

/* Larger batches than this bring nothing but memory. */
#define BATCH_MAX       65536
#define SPACE_FIRST     (16u << 10)
#define KEY_SPACE_FIRST (8u << 10)

yk_return_t yokan_batches_init(struct yokan_batches *batches, const struct yokan_target *target, size_t batch_size,
                               size_t limit, ABT_pool pool)
{
    assert(batches && target);
    size_t size = batch_size ? batch_size : YOKAN_BATCH_DEFAULT;
    if (limit && limit < size)
        size = limit;
    *batches = (struct yokan_batches){.target = *target,
                                      .deadline_ns = DANGO_NEVER,
                                      .batch_size = size < BATCH_MAX ? size : BATCH_MAX,
                                      .pool = pool,
                                      .space = SPACE_FIRST,
                                      .key_space = KEY_SPACE_FIRST};
    if (target->timeout_ms > 0)
        batches->deadline_ns = dango_deadline_ns(target->timeout_ms);
    batches->sizes = calloc(batches->batch_size, sizeof *batches->sizes);
    batches->key_sizes = calloc(batches->batch_size, sizeof *batches->key_sizes);
    batches->ids = calloc(batches->batch_size, sizeof *batches->ids);
    batches->bytes = malloc(batches->space);
    batches->keys = malloc(batches->key_space);
    bool complete = batches->sizes && batches->key_sizes && batches->ids && batches->bytes && batches->keys;
    return complete ? YOKAN_SUCCESS : YOKAN_ERR_ALLOCATION;
}

void yokan_batches_fini(struct yokan_batches *batches)
{
    free(batches->sizes);
    free(batches->key_sizes);
    free(batches->ids);
    free(batches->bytes);
    free(batches->keys);
}

yk_return_t yokan_batches_next(struct yokan_batches *batches)
{
    if (batches->deadline_ns == DANGO_NEVER)
        return YOKAN_SUCCESS;
    int64_t left = batches->deadline_ns - dango_clock_ns();
    batches->target.timeout_ms = (double)left / (double)DANGO_NS_PER_MS;
    return left > 0 ? YOKAN_SUCCESS : YOKAN_ERR_TIMEOUT;
}

static bool grow(char **buffer, size_t *size)
{
    assert(*size > 0);
    char *larger = *size < YOKAN_REGION_MAX / 4 ? realloc(*buffer, 2 * *size) : NULL;
    if (!larger)
        return false;
    *buffer = larger;
    *size *= 2;
    return true;
}

yk_return_t yokan_batches_grow(struct yokan_batches *batches)
{
    bool grown = grow(&batches->bytes, &batches->space) && grow(&batches->keys, &batches->key_space);
    return grown ? YOKAN_SUCCESS : YOKAN_ERR_ALLOCATION;
}

struct delivery {
    yokan_deliver_fn fn;
    void *arg;
    size_t i;
    ABT_thread thread;
    yk_return_t ret;
};

static void run_delivery(void *arg)
{
    struct delivery *delivery = arg;
    delivery->ret = delivery->fn(delivery->arg, delivery->i);
}

/* All at once; the batch ends when the last one has. */
static yk_return_t deliver_in_pool(ABT_pool pool, size_t count, yokan_deliver_fn fn, void *arg)
{
    assert(count > 0 && fn);
    struct delivery *deliveries = calloc(count, sizeof *deliveries);
    if (!deliveries)
        return YOKAN_ERR_ALLOCATION;
    for (size_t i = 0; i < count; i++) {
        deliveries[i] = (struct delivery){.fn = fn, .arg = arg, .i = i, .thread = ABT_THREAD_NULL};
        if (ABT_thread_create(pool, run_delivery, &deliveries[i], ABT_THREAD_ATTR_NULL, &deliveries[i].thread) !=
            ABT_SUCCESS)
            deliveries[i].ret = YOKAN_ERR_FROM_ARGOBOTS;
    }
    yk_return_t ret = YOKAN_SUCCESS;
    for (size_t i = 0; i < count; i++) {
        if (deliveries[i].thread != ABT_THREAD_NULL)
            ABT_thread_free(&deliveries[i].thread); /* waits for its end */
        if (ret == YOKAN_SUCCESS)
            ret = deliveries[i].ret;
    }
    free(deliveries);
    return ret;
}

yk_return_t yokan_deliver(const struct yokan_batches *batches, size_t count, yokan_deliver_fn fn, void *arg)
{
    assert(fn);
    if (batches->pool != ABT_POOL_NULL)
        return deliver_in_pool(batches->pool, count, fn, arg);
    yk_return_t ret = YOKAN_SUCCESS;
    for (size_t i = 0; i < count && ret == YOKAN_SUCCESS; i++)
        ret = fn(arg, i);
    return ret;
}
