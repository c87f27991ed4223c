/*
 * Futures: n values from n setters, then ready.
 *
 * The setter of the last value runs the callback, before the future becomes ready and outside of the bit lock.
 */
#include <stdlib.h>

#include "argobots/abti.h"

#define READY 1u

struct ABT_future_opaque {
    atomic_uint word; /* bit lock, READY */
    uint32_t num_set;
    uint32_t num_compartments;
    void (*callback)(void **);
    struct abti_waiters waiters;
    void *values[];
};

int ABT_future_create(uint32_t num_compartments, void (*cb_func)(void **arg), ABT_future *newfuture)
{
    ABT_future future = calloc(1, sizeof *future + num_compartments * sizeof future->values[0]);
    *newfuture = future;
    if (!future)
        return ABT_ERR_MEM;
    future->num_compartments = num_compartments;
    future->callback = cb_func;
    abti_store(&future->word, num_compartments ? 0 : READY);
    return ABT_SUCCESS;
}

int ABT_future_free(ABT_future *future)
{
    ABTI_CHECK(future && *future, ABT_ERR_INV_FUTURE);
    uint32_t bits = abti_bitlock_lock(&(*future)->word);
    abti_bitlock_unlock(&(*future)->word, bits);
    free(*future);
    *future = ABT_FUTURE_NULL;
    return ABT_SUCCESS;
}

int ABT_future_wait(ABT_future future)
{
    ABTI_CHECK(future, ABT_ERR_INV_FUTURE);
    if (abti_load_acquire(&future->word) == READY)
        return ABT_SUCCESS;
    ABTI_CHECK(!abti_self_is_task(), ABT_ERR_FUTURE);
    uint32_t bits = abti_bitlock_lock(&future->word);
    if (bits & READY)
        abti_bitlock_unlock(&future->word, bits);
    else
        abti_block(&future->waiters, &future->word, bits);
    return ABT_SUCCESS;
}

int ABT_future_test(ABT_future future, ABT_bool *is_ready)
{
    *is_ready = ABT_FALSE;
    ABTI_CHECK(future, ABT_ERR_INV_FUTURE);
    *is_ready = abti_load_acquire(&future->word) == READY;
    return ABT_SUCCESS;
}

int ABT_future_set(ABT_future future, void *value)
{
    ABTI_CHECK(future, ABT_ERR_INV_FUTURE);
    uint32_t bits = abti_bitlock_lock(&future->word);
    if (future->num_set == future->num_compartments) {
        abti_bitlock_unlock(&future->word, bits);
        return ABT_ERR_FUTURE;
    }
    future->values[future->num_set++] = value;
    bool last = future->num_set == future->num_compartments;
    abti_bitlock_unlock(&future->word, bits);
    if (!last)
        return ABT_SUCCESS;
    if (future->callback)
        future->callback(future->values);
    abti_bitlock_lock(&future->word);
    struct abti_waiter *first = abti_waiters_take_all(&future->waiters);
    abti_bitlock_unlock(&future->word, READY);
    abti_wake_all(first);
    return ABT_SUCCESS;
}

int ABT_future_reset(ABT_future future)
{
    ABTI_CHECK(future, ABT_ERR_INV_FUTURE);
    abti_bitlock_lock(&future->word);
    future->num_set = 0;
    abti_bitlock_unlock(&future->word, future->num_compartments ? 0 : READY);
    return ABT_SUCCESS;
}
