/*
 * A network that damages what it carries: preloaded into a server (LD_PRELOAD=libdango-test-transfer.so
 * DANGO_TRANSFER_FAULTS=N), it flips a bit in the first quarter of the first large transfer of transport na+sm into the
 * memory of another process, and in those that repeat it, N in all. What the server has stays as it is, and all else
 * arrives whole.
 */
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define LARGE_BYTES 65536

static _Atomic(const void *) victim; /* where it comes from */
static atomic_long damaged;

static ssize_t copy(pid_t pid, const struct iovec *local, unsigned long local_count, const struct iovec *remote,
                    unsigned long remote_count)
{
    return syscall(SYS_process_vm_writev, pid, local, local_count, remote, remote_count, 0UL);
}

__attribute__((visibility("default"))) ssize_t process_vm_writev(pid_t pid, const struct iovec *local,
                                                                 unsigned long local_count, const struct iovec *remote,
                                                                 unsigned long remote_count, unsigned long flags)
{
    const char *text = getenv("DANGO_TRANSFER_FAULTS");
    const void *none = NULL;
    (void)flags;
    ssize_t moved = copy(pid, local, local_count, remote, remote_count);
    if (moved < LARGE_BYTES)
        return moved;
    atomic_compare_exchange_strong(&victim, &none, local->iov_base);
    if (atomic_load(&victim) != local->iov_base || atomic_fetch_add(&damaged, 1) >= (text ? atol(text) : 0))
        return moved;
    size_t first = local->iov_len < remote->iov_len ? local->iov_len : remote->iov_len;
    unsigned char byte = ((const unsigned char *)local->iov_base)[first / 4] ^ 1;
    struct iovec wrong = {&byte, 1}, there = {(unsigned char *)remote->iov_base + first / 4, 1};
    copy(pid, &wrong, 1, &there, 1);
    return moved;
}
