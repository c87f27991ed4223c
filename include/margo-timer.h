/* margo-timer.h - one-shot timers whose callback runs as a ULT.
 *
 * Timers fire whatever the execution streams are doing; what is still armed when the instance is cleaned up fires
 * then. Every function may be called from any ULT or thread, except as noted. `int`
 * results: 0, or -1 for invalid use.
 */
#ifndef MARGO_TIMER_H
#define MARGO_TIMER_H

#include <margo.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct margo_timer *margo_timer_t;
#define MARGO_TIMER_NULL ((margo_timer_t)NULL)

typedef void (*margo_timer_callback_fn)(void *arg);

/* A disarmed timer. The callback runs in a new ULT of the instance's handler pool. */
int margo_timer_create(margo_instance_id mid, margo_timer_callback_fn cb_fn, void *cb_dat, margo_timer_t *timer);

/* The same in a pool of the caller's choice; with ABT_POOL_NULL the callback runs beside the progress loop and must not
 * keep its execution stream busy. */
int margo_timer_create_with_pool(margo_instance_id mid, margo_timer_callback_fn cb_fn, void *cb_dat, ABT_pool pool,
                                 margo_timer_t *timer);

/* Arms the timer to fire once, not before `timeout_ms` from now. -1 if it is armed already. Allowed in its own
 * callback: periodic timers are written that way. */
int margo_timer_start(margo_timer_t timer, double timeout_ms);

/* Disarms the timer and waits for a callback that has begun, so that none runs afterwards: not to be called from the
 * timer's own callback. The timer may be started again. */
int margo_timer_cancel(margo_timer_t timer);

/* The same for many: all are disarmed before the first wait. */
int margo_timer_cancel_many(size_t n_timer, margo_timer_t *timers);

/* Frees the timer: now, or, when it is armed or running, after it has fired. Does not cancel. */
int margo_timer_destroy(margo_timer_t timer);

#ifdef __cplusplus
}
#endif

#endif
