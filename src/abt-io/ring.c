/*
 * The io_uring engine: rings that execute positional reads and writes, syncs and fallocate in the kernel.
 *
 * Each ring belongs to a thread of its own; only that thread touches it. Callers push operations on a lock-free stack
 * and, if the owner has announced that it sleeps, write its eventfd, on which the ring always has a read outstanding:
 * the owner thus sleeps in one place, for completions and for new work. It submits in batches and takes all
 * completions that are there. What does not fit into the ring waits in a list of the owner.
 *
 * The order that makes a lost wake-up impossible: the owner announces its sleep, then looks at the stack once more;
 * a caller pushes, then looks at the announcement. Both steps are sequentially consistent.
 *
 * Failures: a ring that the kernel refuses is reported by abtio_rings_create, whose caller goes on with the pool.
 * Operations fail one by one with the result that the kernel gives. By the time that rings are destroyed the gate of
 * the instance is closed, and nothing is in flight.
 */
#include "abt-io/ring.h"

#include "util/log.h"

#include <assert.h>
#include <errno.h>
#include <liburing.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define RING_ENTRIES 256u
/* Larger transfers are short, as with read(2). */
#define TRANSFER_MAX 0x7ffff000u

struct ring {
    struct io_uring uring;
    pthread_t thread;
    unsigned setup_flags; /* IORING_SETUP_… */
    unsigned sqe_flags;   /* IOSQE_… of every operation */
    int wake_fd;          /* eventfd */
    uint64_t wake_count;  /* where the read of it stores its value */
    _Alignas(8) ABT_eventual_memory ready;
    int status; /* 0 or -errno, once ready */

    struct abt_io_op *submitted; /* atomic: stack of operations that the owner has not seen */
    int sleeping;                /* atomic: the owner must be woken */
    int stop;                    /* atomic */

    struct abt_io_op *waiting, **waiting_tail; /* owner: in order, not yet in the ring */
    unsigned in_flight;                        /* owner: operations in the ring */
};

struct abtio_rings {
    unsigned next; /* atomic: round robin */
    unsigned count;
    struct ring rings[];
};

/* ---- flags ---- */

static const struct {
    const char *name;
    unsigned setup, sqe;
} flag_values[] = {
    {"IOSQE_ASYNC", 0, IOSQE_ASYNC},
    {"IORING_SETUP_SQPOLL", IORING_SETUP_SQPOLL, 0},
    {"IORING_SETUP_COOP_TASKRUN", IORING_SETUP_COOP_TASKRUN, 0},
    {"IORING_SETUP_SINGLE_ISSUER", IORING_SETUP_SINGLE_ISSUER, 0},
    {"IORING_SETUP_DEFER_TASKRUN", IORING_SETUP_DEFER_TASKRUN, 0},
};

bool abtio_ring_flag(const char *name, struct abtio_ring_flags *flags)
{
    for (size_t i = 0; i < sizeof flag_values / sizeof *flag_values; i++) {
        if (strcmp(flag_values[i].name, name) == 0) {
            flags->setup |= flag_values[i].setup;
            flags->sqe |= flag_values[i].sqe;
            return true;
        }
    }
    return false;
}

/* ---- operations ---- */

bool abtio_rings_accept(const struct abtio_call *call)
{
    switch (call->code) {
    case ABTIO_PREAD:
    case ABTIO_PWRITE:
    case ABTIO_PREADV:
    case ABTIO_PWRITEV:
    case ABTIO_PREAD_ALL:
    case ABTIO_PWRITE_ALL:
        /* io_uring takes -1 for the file position, where pread(2) says EINVAL. */
        return call->offset >= 0;
    case ABTIO_FDATASYNC:
    case ABTIO_FSYNC:
    case ABTIO_FALLOCATE:
        return true;
    default:
        return false;
    }
}

static bool is_all(enum abtio_code code)
{
    return code == ABTIO_PREAD_ALL || code == ABTIO_PWRITE_ALL;
}

/* op->result counts what an _all operation has transferred so far; it is 0 for the others. */
static void prepare(struct io_uring_sqe *sqe, const struct abt_io_op *op)
{
    const struct abtio_call *c = &op->call;
    char *rest = (char *)c->buffer + op->result;
    size_t left = c->count - (size_t)op->result;
    unsigned size = left < TRANSFER_MAX ? (unsigned)left : TRANSFER_MAX;
    uint64_t offset = (uint64_t)(c->offset + op->result);
    switch (c->code) {
    case ABTIO_PREAD:
    case ABTIO_PREAD_ALL:
        io_uring_prep_read(sqe, c->fd, rest, size, offset);
        break;
    case ABTIO_PWRITE:
    case ABTIO_PWRITE_ALL:
        io_uring_prep_write(sqe, c->fd, rest, size, offset);
        break;
    case ABTIO_PREADV:
        io_uring_prep_readv(sqe, c->fd, c->buffer, (unsigned)c->flags, offset);
        break;
    case ABTIO_PWRITEV:
        io_uring_prep_writev(sqe, c->fd, c->buffer, (unsigned)c->flags, offset);
        break;
    case ABTIO_FDATASYNC:
        io_uring_prep_fsync(sqe, c->fd, IORING_FSYNC_DATASYNC);
        break;
    case ABTIO_FSYNC:
        io_uring_prep_fsync(sqe, c->fd, 0);
        break;
    case ABTIO_FALLOCATE:
        io_uring_prep_fallocate(sqe, c->fd, c->flags, c->offset, c->length);
        break;
    default:
        assert(!"operation of a ring");
    }
}

/* What a completion with the result `res` means: true when the operation is done, with the result in *result. */
static bool is_done(struct abt_io_op *op, int res, int64_t *result)
{
    *result = res;
    if (res == -EINTR)
        return false;
    if (res < 0 || !is_all(op->call.code))
        return true;
    op->result += res;
    *result = op->result;
    if ((size_t)op->result == op->call.count)
        return true;
    if (res > 0)
        return false;
    if (op->call.code == ABTIO_PWRITE_ALL)
        *result = -EIO;
    return true;
}

/* ---- the owner ---- */

static void append_waiting(struct ring *ring, struct abt_io_op *op)
{
    op->next = NULL;
    *ring->waiting_tail = op;
    ring->waiting_tail = &op->next;
}

/* Moves what callers have pushed to the list of the owner, oldest first. */
static void take_submitted(struct ring *ring)
{
    struct abt_io_op *newest = __atomic_exchange_n(&ring->submitted, NULL, __ATOMIC_ACQUIRE);
    struct abt_io_op *oldest = NULL;
    while (newest) {
        struct abt_io_op *next = newest->next;
        newest->next = oldest;
        oldest = newest;
        newest = next;
    }
    while (oldest) {
        struct abt_io_op *next = oldest->next;
        append_waiting(ring, oldest);
        oldest = next;
    }
}

/* Puts waiting operations into the ring as long as both of its queues have room. */
static void fill_ring(struct ring *ring)
{
    while (ring->waiting && ring->in_flight < RING_ENTRIES) {
        struct io_uring_sqe *sqe = io_uring_get_sqe(&ring->uring);
        if (!sqe)
            return;
        struct abt_io_op *op = ring->waiting;
        ring->waiting = op->next;
        if (!ring->waiting)
            ring->waiting_tail = &ring->waiting;
        prepare(sqe, op);
        io_uring_sqe_set_flags(sqe, ring->sqe_flags);
        io_uring_sqe_set_data(sqe, op);
        ring->in_flight++;
    }
}

/* The read that lets callers wake the owner. */
static bool arm_wake(struct ring *ring)
{
    struct io_uring_sqe *sqe = io_uring_get_sqe(&ring->uring);
    if (!sqe)
        return false;
    io_uring_prep_read(sqe, ring->wake_fd, &ring->wake_count, sizeof ring->wake_count, 0);
    io_uring_sqe_set_data(sqe, NULL);
    return true;
}

/* Handles all completions that are there; returns whether the wake-up read was among them. */
static bool reap(struct ring *ring)
{
    bool woken = false;
    struct io_uring_cqe *cqe;
    while (io_uring_peek_cqe(&ring->uring, &cqe) == 0) {
        struct abt_io_op *op = io_uring_cqe_get_data(cqe);
        int res = cqe->res;
        io_uring_cqe_seen(&ring->uring, cqe);
        if (!op) {
            woken = true;
            continue;
        }
        ring->in_flight--;
        int64_t result;
        if (is_done(op, res, &result))
            abtio_op_complete(op, result);
        else
            append_waiting(ring, op);
    }
    return woken;
}

/* Announces the sleep; false if something was pushed meanwhile, or the ring is to stop. */
static bool may_sleep(struct ring *ring)
{
    __atomic_store_n(&ring->sleeping, 1, __ATOMIC_SEQ_CST);
    return !__atomic_load_n(&ring->submitted, __ATOMIC_SEQ_CST) && !__atomic_load_n(&ring->stop, __ATOMIC_SEQ_CST);
}

/* Hands prepared entries to the kernel; waits for a completion if there is nothing else to do and we can be woken. */
static void submit_and_wait(struct ring *ring, bool wakeable)
{
    bool idle = !ring->waiting || ring->in_flight == RING_ENTRIES;
    int n = wakeable && idle && may_sleep(ring) ? io_uring_submit_and_wait(&ring->uring, 1)
                                                : io_uring_submit_and_get_events(&ring->uring);
    __atomic_store_n(&ring->sleeping, 0, __ATOMIC_SEQ_CST);
    /* Prepared entries stay in the queue and are submitted next time; a lack of resources ends with completions. */
    assert(n >= 0 || n == -EINTR || n == -EAGAIN || n == -EBUSY || n == -ENOMEM);
}

static void serve(struct ring *ring)
{
    bool armed = arm_wake(ring);
    while (!__atomic_load_n(&ring->stop, __ATOMIC_SEQ_CST)) {
        take_submitted(ring);
        fill_ring(ring);
        submit_and_wait(ring, armed);
        if (reap(ring))
            armed = false;
        if (!armed)
            armed = arm_wake(ring);
    }
    assert(ring->in_flight == 0 && !ring->waiting && !ring->submitted);
}

/* 0, or -errno when the kernel has no rings for us, or not the operations that we need. */
static int open_ring(struct ring *ring)
{
    static const int needed[] = {IORING_OP_READ,   IORING_OP_WRITE, IORING_OP_READV,
                                 IORING_OP_WRITEV, IORING_OP_FSYNC, IORING_OP_FALLOCATE};
    int status = io_uring_queue_init(RING_ENTRIES, &ring->uring, ring->setup_flags);
    if (status != 0)
        return status;
    struct io_uring_probe *probe = io_uring_get_probe_ring(&ring->uring);
    for (size_t i = 0; i < sizeof needed / sizeof *needed; i++) {
        if (!probe || !io_uring_opcode_supported(probe, needed[i]))
            status = -EOPNOTSUPP;
    }
    io_uring_free_probe(probe);
    if (status != 0)
        io_uring_queue_exit(&ring->uring);
    return status;
}

/* The ring is created here because IORING_SETUP_SINGLE_ISSUER binds it to the thread that does so. */
static void *own_ring(void *arg)
{
    struct ring *ring = arg;
    int status = open_ring(ring);
    ring->status = status;
    ABT_eventual_set(ABT_EVENTUAL_MEMORY_GET_HANDLE(&ring->ready), NULL, 0);
    if (status == 0) {
        serve(ring);
        io_uring_queue_exit(&ring->uring);
    }
    return NULL;
}

/* ---- life ---- */

static int ring_start(struct ring *ring, const struct abtio_ring_flags *flags)
{
    ring->setup_flags = flags->setup;
    ring->sqe_flags = flags->sqe;
    ring->waiting_tail = &ring->waiting;
    ring->wake_fd = eventfd(0, EFD_CLOEXEC);
    if (ring->wake_fd < 0)
        return -errno;
    int status = -pthread_create(&ring->thread, NULL, own_ring, ring);
    if (status == 0) {
        ABT_eventual_wait(ABT_EVENTUAL_MEMORY_GET_HANDLE(&ring->ready), NULL);
        status = ring->status;
        if (status != 0)
            pthread_join(ring->thread, NULL);
    }
    if (status != 0)
        close(ring->wake_fd);
    return status;
}

static void wake(const struct ring *ring)
{
    uint64_t one = 1;
    ssize_t n;
    do
        n = write(ring->wake_fd, &one, sizeof one);
    while (n < 0 && errno == EINTR);
    assert(n == sizeof one);
}

static void ring_stop(struct ring *ring)
{
    __atomic_store_n(&ring->stop, 1, __ATOMIC_SEQ_CST);
    wake(ring);
    pthread_join(ring->thread, NULL);
    close(ring->wake_fd);
}

struct abtio_rings *abtio_rings_create(unsigned count, const struct abtio_ring_flags *flags, struct dango_error *err)
{
    assert(count > 0);
    struct abtio_rings *rings = calloc(1, sizeof *rings + count * sizeof *rings->rings);
    if (!rings) {
        dango_error_set(err, DANGO_ERR_NO_MEMORY, "out of memory");
        return NULL;
    }
    for (; rings->count < count; rings->count++) {
        int status = ring_start(&rings->rings[rings->count], flags);
        if (status != 0) {
            dango_error_set_errno(err, -status, "cannot create ring %u of %u", rings->count + 1, count);
            abtio_rings_destroy(rings);
            return NULL;
        }
    }
    return rings;
}

void abtio_rings_destroy(struct abtio_rings *rings)
{
    if (!rings)
        return;
    for (unsigned i = 0; i < rings->count; i++)
        ring_stop(&rings->rings[i]);
    free(rings);
}

void abtio_rings_submit(struct abtio_rings *rings, struct abt_io_op *op)
{
    struct ring *ring = &rings->rings[__atomic_fetch_add(&rings->next, 1, __ATOMIC_RELAXED) % rings->count];
    op->next = __atomic_load_n(&ring->submitted, __ATOMIC_RELAXED);
    while (!__atomic_compare_exchange_n(&ring->submitted, &op->next, op, true, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED))
        ;
    if (__atomic_exchange_n(&ring->sleeping, 0, __ATOMIC_SEQ_CST))
        wake(ring);
}
