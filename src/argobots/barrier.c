/*
 * Barriers of work units and external threads (ABT_barrier), and of whole ESs (ABT_xstream_barrier, a pthread barrier).
 */
#include <stdlib.h>

#include "argobots/abti.h"

struct ABT_barrier_opaque {
    atomic_uint word; /* bit lock */
    uint32_t num_waiters;
    uint32_t arrived;
    struct abti_waiters waiters;
};

struct ABT_xstream_barrier_opaque {
    pthread_barrier_t barrier;
};

int ABT_barrier_create(uint32_t num_waiters, ABT_barrier *newbarrier)
{
    *newbarrier = ABT_BARRIER_NULL;
    ABTI_CHECK(num_waiters, ABT_ERR_INV_ARG);
    *newbarrier = calloc(1, sizeof **newbarrier);
    if (!*newbarrier)
        return ABT_ERR_MEM;
    (*newbarrier)->num_waiters = num_waiters;
    return ABT_SUCCESS;
}

int ABT_barrier_reinit(ABT_barrier barrier, uint32_t num_waiters)
{
    ABTI_CHECK(barrier, ABT_ERR_INV_BARRIER);
    ABTI_CHECK(num_waiters, ABT_ERR_INV_ARG);
    abti_bitlock_lock(&barrier->word);
    assert(barrier->arrived == 0);
    barrier->num_waiters = num_waiters;
    abti_bitlock_unlock(&barrier->word, 0);
    return ABT_SUCCESS;
}

int ABT_barrier_free(ABT_barrier *barrier)
{
    ABTI_CHECK(barrier && *barrier, ABT_ERR_INV_BARRIER);
    abti_bitlock_lock(&(*barrier)->word); /* the last to arrive may be on its way out */
    abti_bitlock_unlock(&(*barrier)->word, 0);
    free(*barrier);
    *barrier = ABT_BARRIER_NULL;
    return ABT_SUCCESS;
}

int ABT_barrier_wait(ABT_barrier barrier)
{
    ABTI_CHECK(barrier, ABT_ERR_INV_BARRIER);
    ABTI_CHECK(!abti_self_is_task(), ABT_ERR_BARRIER);
    abti_bitlock_lock(&barrier->word);
    if (++barrier->arrived < barrier->num_waiters) {
        abti_block(&barrier->waiters, &barrier->word, 0);
        return ABT_SUCCESS;
    }
    barrier->arrived = 0;
    struct abti_waiter *first = abti_waiters_take_all(&barrier->waiters);
    abti_bitlock_unlock(&barrier->word, 0);
    abti_wake_all(first);
    return ABT_SUCCESS;
}

int ABT_barrier_get_num_waiters(ABT_barrier barrier, uint32_t *num_waiters)
{
    ABTI_CHECK(barrier, ABT_ERR_INV_BARRIER);
    *num_waiters = barrier->num_waiters;
    return ABT_SUCCESS;
}

int ABT_xstream_barrier_create(uint32_t num_waiters, ABT_xstream_barrier *newbarrier)
{
    *newbarrier = ABT_XSTREAM_BARRIER_NULL;
    ABTI_CHECK(num_waiters, ABT_ERR_INV_ARG);
    ABT_xstream_barrier barrier = malloc(sizeof *barrier);
    if (!barrier)
        return ABT_ERR_MEM;
    if (pthread_barrier_init(&barrier->barrier, NULL, num_waiters)) {
        free(barrier);
        return ABT_ERR_XSTREAM_BARRIER;
    }
    *newbarrier = barrier;
    return ABT_SUCCESS;
}

int ABT_xstream_barrier_free(ABT_xstream_barrier *barrier)
{
    ABTI_CHECK(barrier && *barrier, ABT_ERR_INV_XSTREAM_BARRIER);
    pthread_barrier_destroy(&(*barrier)->barrier);
    free(*barrier);
    *barrier = ABT_XSTREAM_BARRIER_NULL;
    return ABT_SUCCESS;
}

int ABT_xstream_barrier_wait(ABT_xstream_barrier barrier)
{
    ABTI_CHECK(barrier, ABT_ERR_INV_XSTREAM_BARRIER);
    pthread_barrier_wait(&barrier->barrier);
    return ABT_SUCCESS;
}
