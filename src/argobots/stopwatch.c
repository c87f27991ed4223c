/*
 * ABT_timer: a stop watch. (Timers that call back are in timer_heap.c.)
 */
#include <stdlib.h>

#include "argobots/abti.h"

#define OVERHEAD_ROUNDS 1000

struct ABT_timer_opaque {
    double start, end;
};

int ABT_timer_create(ABT_timer *newtimer)
{
    *newtimer = calloc(1, sizeof **newtimer);
    return *newtimer ? ABT_SUCCESS : ABT_ERR_MEM;
}

int ABT_timer_dup(ABT_timer timer, ABT_timer *newtimer)
{
    *newtimer = ABT_TIMER_NULL;
    ABTI_CHECK(timer, ABT_ERR_INV_TIMER);
    int err = ABT_timer_create(newtimer);
    if (!err)
        **newtimer = *timer;
    return err;
}

int ABT_timer_free(ABT_timer *timer)
{
    ABTI_CHECK(timer && *timer, ABT_ERR_INV_TIMER);
    free(*timer);
    *timer = ABT_TIMER_NULL;
    return ABT_SUCCESS;
}

int ABT_timer_start(ABT_timer timer)
{
    ABTI_CHECK(timer, ABT_ERR_INV_TIMER);
    timer->start = ABT_get_wtime();
    return ABT_SUCCESS;
}

int ABT_timer_stop(ABT_timer timer)
{
    ABTI_CHECK(timer, ABT_ERR_INV_TIMER);
    timer->end = ABT_get_wtime();
    return ABT_SUCCESS;
}

int ABT_timer_read(ABT_timer timer, double *secs)
{
    ABTI_CHECK(timer, ABT_ERR_INV_TIMER);
    *secs = timer->end - timer->start;
    return ABT_SUCCESS;
}

int ABT_timer_stop_and_read(ABT_timer timer, double *secs)
{
    int err = ABT_timer_stop(timer);
    return err ? err : ABT_timer_read(timer, secs);
}

int ABT_timer_stop_and_add(ABT_timer timer, double *secs)
{
    double measured;
    int err = ABT_timer_stop_and_read(timer, &measured);
    if (!err)
        *secs += measured;
    return err;
}

/* Mean time of one start and stop. */
int ABT_timer_get_overhead(double *overhead)
{
    struct ABT_timer_opaque timer;
    double begin = ABT_get_wtime();
    for (int i = 0; i < OVERHEAD_ROUNDS; i++) {
        ABT_timer_start(&timer);
        ABT_timer_stop(&timer);
    }
    *overhead = (ABT_get_wtime() - begin) / OVERHEAD_ROUNDS;
    return ABT_SUCCESS;
}
