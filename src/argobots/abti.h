/*
 * The inside of the thread runtime: its structures and what its files offer to each other.
 *
 * Running. An ES is an OS thread with a root context that runs its main scheduler. A scheduler runs a
 * unit as its child (abti_run_child); whenever the unit yields, blocks or ends, the ES goes on with the
 * next unit that the scheduler would pick, directly if the scheduler is one of ours (pick_next in switch.c),
 * otherwise by returning to the scheduler. What has to happen only after the old context has been saved
 * (make it visible to others, release a lock, free it) is noted in es->post and done by whatever
 * runs next (do_post).
 *
 * Blocking. A waiter (struct abti_waiter, on the stack of whoever waits) is queued in an object whose
 * bit lock is held; abti_wait releases the lock once the context is saved. An external thread waits on a
 * futex inside its waiter. abti_wake makes either of them go on.
 *
 * Lock order: see docs/locking.md.
 */
#ifndef DANGO_ARGOBOTS_ABTI_H
#define DANGO_ARGOBOTS_ABTI_H

#include <assert.h>
#include <pthread.h>

#include "abt.h"
#include "argobots/atomics.h"
#include "argobots/context.h"
#include "argobots/dango_abt.h"
#include "argobots/fiber.h"

typedef struct ABT_thread_opaque abti_thread;
typedef struct ABT_pool_opaque abti_pool;
typedef struct ABT_sched_opaque abti_sched;
typedef struct ABT_xstream_opaque abti_xstream;

#define abti_likely(x)   __builtin_expect(!!(x), 1)
#define abti_unlikely(x) __builtin_expect(!!(x), 0)

/* Returns `code` from the calling function if a condition that the user is responsible for does not hold. */
#define ABTI_CHECK(condition, code)                                                                                    \
    do {                                                                                                               \
        if (abti_unlikely(!(condition)))                                                                               \
            return (code);                                                                                             \
    } while (0)

/* Waiters --------------------------------------------------------------------------------------- */

struct abti_waiter {
    struct abti_waiter *next, *prev;
    abti_thread *thread; /* NULL: an OS thread that sleeps on `woken` */
    atomic_uint woken;   /* external waiters: 0 waiting, 1 woken, 2 asleep in the kernel */
    bool queued;         /* in a list; under the lock of the object */
    bool timed_out;
    bool exclusive; /* rwlock: a writer */
    bool insists;   /* mutex: was woken in vain before, has to be given the mutex */
};

struct abti_waiters {
    struct abti_waiter *head, *tail;
};

/* Work units ------------------------------------------------------------------------------------ */

enum abti_link { ABTI_LINK_NONE, ABTI_LINK_OWN, ABTI_LINK_SHARED };

/* Requests to a unit, honoured at its next schedule point. */
#define ABTI_REQUEST_CANCEL  1u
#define ABTI_REQUEST_MIGRATE 2u

/* Bits of the join word of a unit or ES. */
#define ABTI_JOIN_TERMINATED 1u
#define ABTI_JOIN_WAITERS    2u

struct abti_unit_values; /* values of keys, key.c */

struct ABT_thread_opaque {
    /* Used by every switch: one cache line. */
    void *sp;            /* the context while it does not run; NULL: not started */
    atomic_uint state;   /* ABT_thread_state */
    atomic_uint request; /* ABTI_REQUEST_ bits */
    abti_thread *next;   /* links in a built-in pool or a free list */
    abti_thread *prev;
    _Atomic(abti_pool *) pool; /* the associated pool: where it goes when READY */
    abti_thread *parent;       /* the scheduler context that runs it */
    abti_xstream *es;          /* the ES that ran it last */
    atomic_uchar linked;       /* abti_link: in which list of a built-in pool; see queue.h */
    bool named;                /* freed by its owner, not when it ends */
    bool is_task;              /* a tasklet: must not block */
    bool is_root;              /* the root context of an ES, which runs the main scheduler */
    bool is_primary;           /* the flow of control that called ABT_init */
    bool migratable;
    bool user_unit;     /* its pool is user-defined and made a unit for it */
    bool default_stack; /* of the default size: goes back to the cache */

    /* Used by creation and end. */
    abti_sched *sched; /* the scheduler that this context runs, if any */
    void (*fn)(void *);
    void *arg;
    atomic_uint join_word; /* bit lock, ABTI_JOIN_ */
    unsigned times_pushed; /* for prio and earliest_first pools */
    struct abti_waiters joiners;
    struct abti_waiter *handoff; /* a joiner that lent us its place on its ES: goes on when we end */
    struct abti_unit_values *values;

    /* Seldom used. What follows is not initialised by creation, except where it is asked for. */
    ABT_unit unit;                   /* if user_unit; otherwise the handle is the unit: abti_unit_of */
    abti_thread *unit_next;          /* chain in the map from user-defined units, unit.c */
    _Atomic(abti_pool *) migrate_to; /* if ABTI_REQUEST_MIGRATE */
    void (*migrate_cb)(ABT_thread, void *);
    void *migrate_arg;
    atomic_ullong id; /* 0: not asked for yet */
    uint64_t birth;   /* order of creation, for earliest_first pools; if times_pushed > 0 */
    char *stack_low;  /* the usable stack is [stack_low, stack_high) */
    char *stack_high;
    void *map; /* our mapping that holds stack and descriptor; NULL: the user's stack */
    size_t map_size;
    struct abti_fiber fiber;
};

static inline ABT_unit abti_unit_of(const abti_thread *thread)
{
    return thread->user_unit ? thread->unit : (ABT_unit)(uintptr_t)thread;
}

/* Pools ----------------------------------------------------------------------------------------- */

/* An ES that sleeps, or an external thread in pop_wait. ESs are recycled, never unmapped, while the library lives. */
enum abti_sleep_state { ABTI_AWAKE, ABTI_ASLEEP_FUTEX, ABTI_ASLEEP_EPOLL, ABTI_NOTIFIED };

struct abti_sleeper {
    atomic_uint state; /* abti_sleep_state, and the futex */
    int event_fd;      /* woken through this in epoll */
};

struct abti_sleep_link { /* a sleeper in the list of one pool */
    struct abti_sleep_link *next, *prev;
    struct abti_sleeper *sleeper;
    bool queued; /* under the pool's lock */
};

struct abti_list {
    abti_thread *head, *tail;
};

/* See queue.h. */
struct abti_queue {
    /* Seldom changed. */
    _Alignas(64) _Atomic(abti_xstream *) owner;
    bool revoked;

    /* The owner's. */
    _Alignas(64) atomic_bool busy;
    struct abti_list own;
    atomic_size_t own_size;
    atomic_long own_blocked; /* blocked units that the owner counted… */

    /* Everybody's. */
    _Alignas(64) atomic_uint lock;
    atomic_uint num_sleepers;
    struct abti_list shared;
    atomic_size_t shared_size;
    struct abti_sleep_link *sleepers; /* under `lock`; most recent first */
    atomic_long others_blocked;       /* …and that others did; only the sum has a meaning */
};

struct abti_pool_ops {
    void (*push)(abti_pool *pool, abti_thread *thread, ABT_pool_context context);
    abti_thread *(*pop)(abti_pool *pool, ABT_pool_context context);
    bool (*remove)(abti_pool *pool, abti_thread *thread); /* NULL: cannot; false: was not in the pool */
    size_t (*size)(abti_pool *pool);
    bool (*is_empty)(abti_pool *pool);
    void (*destroy)(abti_pool *pool);
};

struct ABT_pool_opaque {
    struct abti_queue queue;         /* FIFO and RANDWS; in other kinds only lock and sleepers are used */
    const struct abti_pool_ops *ops; /* NULL: FIFO or RANDWS */
    bool lifo_create;                /* RANDWS: units just created go to the head */
    bool automatic;
    ABT_pool_access access;
    int id;
    const char *kind_name;
    void *data;              /* the user's */
    void *state;             /* of the implementation (user definition, heap…) */
    atomic_int num_refs;     /* schedulers that list it */
    atomic_int num_scheds;   /* of those, the ones that run on an ES or in a pool */
    atomic_uint num_pushing; /* user-defined: pushes in progress */
};

/* Schedulers ------------------------------------------------------------------------------------ */

#define ABTI_SCHED_FINISH  1u /* stop when there are no units */
#define ABTI_SCHED_EXIT    2u /* stop now */
#define ABTI_SCHED_REPLACE 4u /* stop now: there is a successor */

enum abti_sched_kind { ABTI_SCHED_ORDERED, ABTI_SCHED_STEALING, ABTI_SCHED_USER };

struct ABT_sched_opaque {
    enum abti_sched_kind kind;
    ABT_sched_predef predef;
    atomic_uint request;
    atomic_int num_pools;
    int capacity;
    abti_pool **pools;             /* as given */
    abti_pool **serve;             /* in the order of service */
    struct abti_sleep_link *links; /* one per pool */
    bool automatic;
    bool stacked; /* runs in a pool: stops when it has no units */
    atomic_bool used;
    _Atomic(abti_xstream *) es; /* where it is the main scheduler */
    ABT_sched_def def;
    void *data;
    uint32_t random;
};

/* Execution streams ----------------------------------------------------------------------------- */

/* What the next context does for the previous one. */
enum abti_post_kind {
    ABTI_POST_NONE,
    ABTI_POST_PUSH,   /* READY: into its pool, with `context` */
    ABTI_POST_BLOCK,  /* BLOCKED: then store `bits` into *word, if any */
    ABTI_POST_UNLOCK, /* already READY in a pool whose lock is still held: release it */
    ABTI_POST_END     /* TERMINATED */
};

struct abti_post {
    enum abti_post_kind kind;
    uint32_t bits;
    abti_thread *prev;
    atomic_uint *word;
    ABT_pool_context context;
};

#define ABTI_MIN_SPIN_NS 500

struct ABT_xstream_opaque {
    abti_thread *current;
    struct abti_post post;
    abti_thread *free_threads; /* stacks with descriptors, ready for use */
    unsigned num_free;
    abti_thread *set_aside; /* popped, but has requests that only the scheduler may honour */
    atomic_bool attention;  /* somebody wants the scheduler to look around */
    abti_sched *main_sched;
    _Atomic(abti_sched *) next_sched;
    abti_thread root;
    abti_thread *root_stack; /* whose stack the root context of the primary ES uses */
    struct abti_sleeper sleeper;
    int64_t spin_ns;      /* how long to look for work before sleeping; adapts */
    int64_t quick_ns;     /* time in which work came when it hardly span */
    unsigned wary_sleeps; /* how many more sleeps do not lengthen it */
    int epoll_fd;         /* covers sleeper.event_fd and transport_fd; -1: not made yet */
    atomic_int transport_fd;
    atomic_uint transport_lock;
    bool primary;
    int rank;
    atomic_uint join_word; /* bit lock, ABTI_JOIN_ */
    struct abti_waiters joiners;
    pthread_t os_thread;
    bool has_os_thread;     /* a secondary ES whose OS thread has not been joined yet */
    abti_thread *finalizer; /* the primary ULT, while it is inside ABT_finalize */
    abti_xstream *next;     /* in the list of all, or of the unused */
};

/* The library ----------------------------------------------------------------------------------- */

struct abti_settings { /* from the environment, at ABT_init */
    size_t thread_stack_size, sched_stack_size;
    unsigned max_stacks; /* kept for reuse */
    unsigned max_xstreams;
    unsigned event_freq;      /* reported only: events are looked at after every unit */
    unsigned long sleep_nsec; /* reported only: sleepers are woken */
    unsigned key_table_size;
    bool affinity, print_config;
    unsigned num_cpus;
};

struct abti_global {
    int init_count; /* under the lock of global.c */
    atomic_bool initialized;
    struct abti_settings settings;
    bool can_bias; /* membarrier works */
    abti_xstream *primary;
    atomic_uint xstreams_lock;
    abti_xstream *xstreams, *unused_xstreams;
    atomic_int num_xstreams;
    atomic_uint threads_lock;
    abti_thread *free_threads; /* stacks that no ES caches */
    atomic_uint num_free;
    size_t page_size;
};

extern struct abti_global abti_global;
extern __thread abti_xstream *abti_current_xstream __attribute__((tls_model("initial-exec"), visibility("hidden")));

/*
 * The calling ES, NULL on an external thread. A ULT may continue on another OS thread after a switch, so the compiler
 * must not remember the address of a thread-local variable: it is computed anew here each time.
 */
#if defined(__x86_64__)
static inline abti_xstream *abti_self(void)
{
    abti_xstream *es;
    __asm__ volatile("movq abti_current_xstream@gottpoff(%%rip), %0\n\tmovq %%fs:(%0), %0" : "=r"(es));
    return es;
}
#else
abti_xstream *abti_self(void);
#endif

/* Whether the caller runs in a context that may be suspended. */
static inline bool abti_can_switch(abti_xstream *es)
{
    return es && !es->current->is_task && !es->current->is_root;
}

static inline bool abti_self_is_task(void)
{
    abti_xstream *es = abti_self();
    return es && es->current->is_task;
}

static inline void abti_waiter_init(struct abti_waiter *waiter)
{
    abti_xstream *es = abti_self();
    *waiter = (struct abti_waiter){.thread = abti_can_switch(es) ? es->current : NULL};
}

static inline void abti_pool_count_blocked(abti_xstream *es, abti_pool *pool, long change)
{
    if (abti_likely(es && abti_load(&pool->queue.owner) == es))
        abti_store_release(&pool->queue.own_blocked, abti_load(&pool->queue.own_blocked) + change);
    else
        atomic_fetch_add_explicit(&pool->queue.others_blocked, change, memory_order_release);
}

/* stack.c: descriptors with stacks. */
abti_thread *abti_thread_alloc(abti_xstream *es, size_t stack_size, void *user_stack);
void abti_thread_release(abti_xstream *es, abti_thread *thread);
abti_thread *abti_thread_alloc_bare(void);
void abti_stacks_spill(abti_xstream *es);
void abti_stacks_free_all(void);
void abti_settings_load(struct abti_settings *settings);

/* switch.c: running, yielding, blocking, ending. */
void abti_run_child(abti_xstream *es, abti_thread *thread);
void abti_yield(abti_xstream *es);
void abti_yield_last(abti_xstream *es);
void abti_yield_to(abti_xstream *es, abti_thread *next, ABT_pool_context context);
void abti_suspend(abti_xstream *es, atomic_uint *word, uint32_t bits);
void abti_suspend_to(abti_xstream *es, abti_thread *next, atomic_uint *word, uint32_t bits);
void abti_end(abti_xstream *es, abti_thread *next) __attribute__((noreturn));
void abti_ready(abti_thread *thread);
abti_thread *abti_admit(abti_thread *thread);
void abti_root_begin(void);
void abti_wait_for_root(abti_xstream *es);
void abti_return_to_primary(abti_xstream *es, abti_thread *primary);

/* wait.c: waiters. */
void abti_waiters_append(struct abti_waiters *list, struct abti_waiter *waiter);
void abti_waiters_prepend(struct abti_waiters *list, struct abti_waiter *waiter);
struct abti_waiter *abti_waiters_take_all(struct abti_waiters *list);
struct abti_waiter *abti_waiters_pop(struct abti_waiters *list);
void abti_wait(struct abti_waiter *waiter, atomic_uint *word, uint32_t bits);
bool abti_wait_until(struct abti_waiter *waiter, struct abti_waiters *list, atomic_uint *word, uint32_t bits,
                     int64_t deadline_ns);
void abti_block(struct abti_waiters *list, atomic_uint *word, uint32_t bits);
void abti_wake(struct abti_waiter *waiter);
void abti_wake_all(struct abti_waiter *first);
int64_t abti_deadline_from_realtime(const struct timespec *abstime);

/* pool.c, queue.h */
int abti_pool_alloc(const struct abti_pool_ops *ops, ABT_pool_access access, bool automatic, const char *kind_name,
                    abti_pool **newpool);
int abti_pool_create_fifo(ABT_pool_kind kind, ABT_pool_access access, bool automatic, abti_pool **newpool);
void abti_pool_destroy(abti_pool *pool);
void abti_pool_ref(abti_pool *pool);
void abti_pool_unref(abti_pool *pool);
void abti_pool_attach(abti_pool *pool);
void abti_pool_detach(abti_pool *pool, abti_xstream *es);
void abti_pool_push(abti_xstream *es, abti_pool *pool, abti_thread *thread, ABT_pool_context context, bool unblocked);
abti_thread *abti_pool_pop(abti_xstream *es, abti_pool *pool, ABT_pool_context context);
bool abti_pool_remove(abti_xstream *es, abti_pool *pool, abti_thread *thread);
bool abti_pool_is_empty(abti_pool *pool);
size_t abti_pool_size(abti_pool *pool);
long abti_pool_num_blocked(abti_pool *pool);
void abti_pool_add_sleeper(abti_pool *pool, struct abti_sleep_link *link, bool last);
void abti_pool_drop_sleeper(abti_pool *pool, struct abti_sleep_link *link);

/* unit.c: association with pools. */
int abti_unit_associate(abti_thread *thread, abti_pool *pool);
void abti_unit_dissociate(abti_thread *thread);
abti_thread *abti_unit_thread(ABT_unit unit);

/* thread.c */
int abti_thread_create(abti_pool *pool, void (*fn)(void *), void *arg, ABT_thread_attr attr, bool is_task, bool push,
                       ABT_thread *newthread);
void abti_thread_destroy(abti_xstream *es, abti_thread *thread);
bool abti_migrate(abti_thread *thread);
void abti_values_destroy(abti_thread *thread);
uint64_t abti_thread_id(abti_thread *thread);

/* sched.c, sched_run.c */
int abti_sched_create_basic(ABT_sched_predef predef, int num_pools, ABT_pool *pools, ABT_sched_config config,
                            abti_sched **newsched);
int abti_sched_add_pool(abti_sched *sched, abti_pool *pool);
void abti_sched_destroy(abti_sched *sched);
void abti_sched_release(abti_sched *sched);
bool abti_sched_has_to_stop(abti_sched *sched);
bool abti_sched_has_ready(abti_sched *sched);
abti_thread *abti_sched_pick(abti_sched *sched, abti_xstream *es);
void abti_sched_run(abti_sched *sched);
void abti_sched_adopt_leftovers(abti_sched *old, abti_sched *sched, abti_xstream *es);
void abti_sched_own_pools(abti_sched *sched, abti_xstream *es);
void abti_sched_ask(abti_sched *sched, uint32_t request);
int abti_sched_claim(abti_sched *sched);
void abti_sched_attach(abti_sched *sched, abti_xstream *es);
void abti_sched_detach(abti_sched *sched, abti_xstream *es);

/* sleep.c */
bool abti_sleeper_wake(struct abti_sleeper *sleeper, enum abti_sleep_state *was);
void abti_sleeper_kick(struct abti_sleeper *sleeper, enum abti_sleep_state was);
void abti_xstream_wake(abti_xstream *es);
void abti_sched_sleep(abti_xstream *es, abti_sched *sched, int64_t timeout_ns);
void abti_sleep_close(abti_xstream *es);

/* xstream.c */
int abti_xstream_start_primary(void);
void abti_xstream_stop_primary(void);
void abti_xstreams_free_unused(void);
int64_t abti_xstream_max_spin_ns(void);
void abti_primary_root(void);
abti_pool *abti_xstream_main_pool(abti_xstream *es);

/* timer_heap.c */
void abti_timers_stop(void);

#endif
