/*
 * Bulk by process_vm_readv/writev: one system call covers many segments of both sides; runs to completion in the
 * calling thread. Any thread, no locks.
 */
#include "mercury/na/sm/sm.h"

#include <assert.h>
#include <errno.h>
#include <sys/uio.h>

#define BATCH 64 /* segments per system call and side */

/* A position in a list of segments. */
struct cursor {
    const struct na_segment *segments;
    size_t count, index;
    uint64_t offset; /* within segments[index] */
};

/* Fills `vectors` from the cursor without moving it; returns the number used and their total size. */
static unsigned long gather(const struct cursor *cursor, struct iovec *vectors, uint64_t *total)
{
    unsigned long used = 0;
    uint64_t offset = cursor->offset;

    *total = 0;
    for (size_t i = cursor->index; i < cursor->count && used < BATCH; i++, offset = 0) {
        uint64_t size = cursor->segments[i].size - offset;
        if (size == 0)
            continue;
        vectors[used].iov_base = (void *)(uintptr_t)(cursor->segments[i].address + offset);
        vectors[used++].iov_len = size;
        *total += size;
    }
    return used;
}

/* Cuts the list to `size` bytes; returns the number of vectors that remain. */
static unsigned long trim(struct iovec *vectors, unsigned long count, uint64_t size)
{
    for (unsigned long i = 0; i < count; i++) {
        if (vectors[i].iov_len >= size) {
            vectors[i].iov_len = size;
            return i + 1;
        }
        size -= vectors[i].iov_len;
    }
    return count;
}

static void advance(struct cursor *cursor, uint64_t size)
{
    while (size > 0) {
        assert(cursor->index < cursor->count);
        uint64_t rest = cursor->segments[cursor->index].size - cursor->offset;
        if (size < rest) {
            cursor->offset += size;
            return;
        }
        size -= rest;
        cursor->index++;
        cursor->offset = 0;
    }
}

static hg_return_t from_errno(int errnum)
{
    switch (errnum) {
    case EPERM:
    case ENOSYS:
        return HG_OPNOTSUPPORTED;
    case ESRCH:
        return HG_NODEV;
    case ENOMEM:
        return HG_NOMEM;
    default:
        return HG_FAULT;
    }
}

static ssize_t transfer(pid_t pid, enum na_rma_op op, const struct iovec *local, unsigned long local_count,
                        const struct iovec *remote, unsigned long remote_count)
{
    if (op == NA_RMA_GET)
        return process_vm_readv(pid, local, local_count, remote, remote_count, 0);
    return process_vm_writev(pid, local, local_count, remote, remote_count, 0);
}

hg_return_t sm_rma(struct na_conn *base, enum na_rma_op op, const struct na_segment *local, size_t local_count,
                   const struct na_segment *remote, size_t remote_count)
{
    struct sm_conn *conn = (struct sm_conn *)base;
    struct cursor here = {.segments = local, .count = local_count}, there = {.segments = remote, .count = remote_count};
    struct iovec near[BATCH], far[BATCH];

    if (!na_conn_is_open(base))
        return HG_AGAIN;
    if (!atomic_load_explicit(&conn->direct, memory_order_relaxed))
        return HG_OPNOTSUPPORTED;
    for (;;) {
        uint64_t near_size, far_size;
        unsigned long near_count = gather(&here, near, &near_size), far_count = gather(&there, far, &far_size);
        if (near_count == 0 || far_count == 0)
            return HG_SUCCESS;
        /* Its memory may be somebody else's by now, for example when we were stopped and it has given us up. */
        if (atomic_load_explicit(&conn->rx.control->closed, memory_order_acquire))
            return HG_NODEV;
        uint64_t size = near_size < far_size ? near_size : far_size;
        ssize_t moved = transfer(conn->pid, op, near, trim(near, near_count, size), far, trim(far, far_count, size));
        if (moved <= 0) {
            hg_return_t ret = moved < 0 ? from_errno(errno) : HG_FAULT;
            /* The permission went away after the probe: copy by messages from now on. */
            if (ret == HG_OPNOTSUPPORTED)
                atomic_store_explicit(&conn->direct, false, memory_order_relaxed);
            return ret;
        }
        advance(&here, (uint64_t)moved);
        advance(&there, (uint64_t)moved);
    }
}

bool sm_rma_probe(pid_t pid, uint64_t address, uint64_t value)
{
    uint64_t word = ~value;
    struct iovec local = {.iov_base = &word, .iov_len = sizeof word};
    struct iovec remote = {.iov_base = (void *)(uintptr_t)address, .iov_len = sizeof word};

    assert(pid > 0);
    return process_vm_readv(pid, &local, 1, &remote, 1, 0) == (ssize_t)sizeof word && word == value;
}
