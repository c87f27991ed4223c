/*
 * Gates: see gate.h. A pthread sleeps in a futex on the count. A ULT must not put its execution stream to sleep: it
 * queues a node with an eventual, and a timer if it has a deadline; whoever takes the node off the list, under the
 * lock, sets the eventual under that lock, so that the node is not touched any more once the ULT holds the lock again.
 */
#include "diaspora/gate.h"

#include "argobots/dango_abt.h"
#include "util/clock.h"

#include <assert.h>
#include <errno.h>
#include <linux/futex.h>
#include <limits.h>
#include <sys/syscall.h>
#include <unistd.h>

struct ult_waiter {
    struct list_node link;
    struct dsp_gate *gate;
    ABT_eventual_memory eventual;
    struct dango_abt_timer timer;
};

void dsp_gate_init(struct dsp_gate *gate)
{
    atomic_init(&gate->turn, 0);
    atomic_init(&gate->sleepers, 0);
    pthread_mutex_init(&gate->lock, NULL);
    list_init(&gate->ults);
}

void dsp_gate_fini(struct dsp_gate *gate)
{
    assert(list_empty(&gate->ults) && atomic_load(&gate->sleepers) == 0);
    pthread_mutex_destroy(&gate->lock);
}

/*
 * The kernel compares the word once more before it sleeps; whatever else ends the sleep is absorbed by the caller's
 * loop. There is no spinning before it: on two cores the one that spins is missing to whoever would open the gate.
 */
static void futex_wait(_Atomic uint32_t *word, uint32_t value, int64_t deadline_ns)
{
    struct timespec deadline = {.tv_sec = deadline_ns / DANGO_NS_PER_S, .tv_nsec = deadline_ns % DANGO_NS_PER_S};
    syscall(SYS_futex, word, FUTEX_WAIT_BITSET | FUTEX_PRIVATE_FLAG, value,
            deadline_ns == DANGO_NEVER ? NULL : &deadline, NULL, FUTEX_BITSET_MATCH_ANY);
}

static void wake_ult_locked(struct ult_waiter *waiter)
{
    assert(list_linked(&waiter->link));
    list_remove(&waiter->link);
    ABT_eventual_set(ABT_EVENTUAL_MEMORY_GET_HANDLE(&waiter->eventual), NULL, 0);
}

static void ult_deadline(void *arg)
{
    struct ult_waiter *waiter = arg;
    pthread_mutex_lock(&waiter->gate->lock);
    if (list_linked(&waiter->link))
        wake_ult_locked(waiter);
    pthread_mutex_unlock(&waiter->gate->lock);
}

static void ult_wait(struct dsp_gate *gate, uint32_t ticket, int64_t deadline_ns)
{
    struct ult_waiter waiter = {.gate = gate, .eventual = ABT_EVENTUAL_INITIALIZER};
    pthread_mutex_lock(&gate->lock);
    bool sleeps = atomic_load(&gate->turn) == ticket;
    if (sleeps)
        list_append(&gate->ults, &waiter.link);
    pthread_mutex_unlock(&gate->lock);
    if (!sleeps)
        return;
    dango_abt_timer_init(&waiter.timer, ult_deadline, &waiter);
    if (deadline_ns != DANGO_NEVER)
        dango_abt_timer_arm(&waiter.timer, deadline_ns);
    ABT_eventual_wait(ABT_EVENTUAL_MEMORY_GET_HANDLE(&waiter.eventual), NULL);
    if (deadline_ns != DANGO_NEVER)
        dango_abt_timer_cancel(&waiter.timer);
    /* Whoever set the eventual did so under the lock: wait for it to be let go. */
    pthread_mutex_lock(&gate->lock);
    assert(!list_linked(&waiter.link));
    pthread_mutex_unlock(&gate->lock);
}

bool dsp_gate_wait(struct dsp_gate *gate, uint32_t ticket, int64_t deadline_ns)
{
    bool is_ult = dango_abt_self_is_ult();
    bool opened = atomic_load(&gate->turn) != ticket;
    while (!opened && (deadline_ns == DANGO_NEVER || dango_clock_ns() < deadline_ns)) {
        atomic_fetch_add(&gate->sleepers, 1);
        if (is_ult)
            ult_wait(gate, ticket, deadline_ns);
        else
            futex_wait(&gate->turn, ticket, deadline_ns);
        atomic_fetch_sub(&gate->sleepers, 1);
        opened = atomic_load(&gate->turn) != ticket;
    }
    return opened;
}

void dsp_gate_open(struct dsp_gate *gate)
{
    /* Both sides are sequentially consistent: either we see the sleeper, or he sees the new turn. */
    atomic_fetch_add(&gate->turn, 1);
    if (atomic_load(&gate->sleepers) == 0)
        return;
    syscall(SYS_futex, &gate->turn, FUTEX_WAKE | FUTEX_PRIVATE_FLAG, INT_MAX, NULL, NULL, 0);
    pthread_mutex_lock(&gate->lock);
    while (!list_empty(&gate->ults))
        wake_ult_locked(container_of(gate->ults.next, struct ult_waiter, link));
    pthread_mutex_unlock(&gate->lock);
}
