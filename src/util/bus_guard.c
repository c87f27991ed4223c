/*
 * The handler of SIGBUS, and the list of what it guards.
 *
 * The list is guarded by a spin lock, which the handler takes, too. That cannot hang: a thread that holds the lock touches
 * nothing but the list, which is in ordinary memory, so the fault that the handler is called for is never its own; signals
 * that somebody has sent are passed on before the lock is looked at.
 */
#include "util/bus_guard.h"

#include "util/log.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

static struct list_node guards = {&guards, &guards};
static atomic_flag lock = ATOMIC_FLAG_INIT;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static struct sigaction previous;
static uintptr_t page_size;

static void acquire(void)
{
    while (atomic_flag_test_and_set_explicit(&lock, memory_order_acquire)) {
    }
}

static void release(void)
{
    atomic_flag_clear_explicit(&lock, memory_order_release);
}

/* Puts zeros where the page cannot be read. The system call itself: sanitizers must not look into this one. */
static bool replace_page(uintptr_t address)
{
    return syscall(SYS_mmap, address & ~(page_size - 1), page_size, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED,
                   -1, 0) != -1;
}

#define BITS (8 * sizeof(unsigned long))

/* Before the page is replaced, so that whoever reads zeros finds it. */
static void note_missing(struct dango_bus_guard *guard, uintptr_t address)
{
    size_t page = (address - (uintptr_t)guard->base) / page_size;
    unsigned long bit = 1UL << page % BITS;
    if (!(atomic_fetch_or(&guard->missing[page / BITS], bit) & bit))
        atomic_fetch_add(&guard->faults, 1);
}

bool dango_bus_guard_find_missing(const struct dango_bus_guard *guard, const void *bytes, size_t size)
{
    size_t offset = (size_t)((const unsigned char *)bytes - guard->base);
    assert(offset <= guard->size && size <= guard->size - offset);
    for (size_t page = offset / page_size; size > 0 && page <= (offset + size - 1) / page_size; page++)
        if (atomic_load(&guard->missing[page / BITS]) & 1UL << page % BITS)
            return true;
    return false;
}

static bool mend(uintptr_t address)
{
    bool mended = false;
    acquire();
    list_for_each (node, &guards) {
        struct dango_bus_guard *guard = container_of(node, struct dango_bus_guard, link);
        if (address - (uintptr_t)guard->base < guard->size) {
            note_missing(guard, address);
            mended = replace_page(address);
            break;
        }
    }
    release();
    return mended;
}

/* As if this handler were not there. Without another handler the fault happens again, and ends the process. */
static void pass_on(int number, siginfo_t *info, void *context)
{
    if (previous.sa_flags & SA_SIGINFO) {
        previous.sa_sigaction(number, info, context);
    } else if (previous.sa_handler != SIG_DFL && previous.sa_handler != SIG_IGN) {
        previous.sa_handler(number);
    } else if (info->si_code == BUS_MCEERR_AO || (info->si_code <= 0 && previous.sa_handler == SIG_IGN)) {
        /* A page went bad that nobody has touched yet, or a signal that is ignored: nothing has happened. */
    } else {
        sigaction(SIGBUS, &previous, NULL);
        if (info->si_code <= 0) /* it was sent: it does not happen again by itself */
            raise(number);
    }
}

static void on_bus_error(int number, siginfo_t *info, void *context)
{
    int saved = errno;
    bool fault = info->si_code == BUS_ADRERR || info->si_code == BUS_OBJERR || info->si_code == BUS_MCEERR_AR;
    if (!fault || !mend((uintptr_t)info->si_addr))
        pass_on(number, info, context);
    errno = saved;
}

static void install(void)
{
    struct sigaction action = {.sa_sigaction = on_bus_error, .sa_flags = SA_SIGINFO | SA_RESTART};
    page_size = (uintptr_t)sysconf(_SC_PAGESIZE);
    sigemptyset(&action.sa_mask);
    int rc = sigaction(SIGBUS, NULL, &previous);
    if (rc == 0)
        rc = sigaction(SIGBUS, &action, NULL);
    if (rc != 0)
        log_warning("util", "cannot handle SIGBUS: %s; a medium that fails will end this process", strerror(errno));
}

int dango_bus_guard_init(struct dango_bus_guard *guard, void *base, size_t size)
{
    assert(base && size > 0);
    pthread_once(&once, install);
    size_t pages = (size + page_size - 1) / page_size;
    guard->missing = calloc((pages + BITS - 1) / BITS, sizeof *guard->missing);
    if (!guard->missing)
        return -ENOMEM;
    guard->base = base;
    guard->size = size;
    atomic_store(&guard->faults, 0);
    acquire();
    list_append(&guards, &guard->link);
    release();
    return 0;
}

void dango_bus_guard_fini(struct dango_bus_guard *guard)
{
    if (!guard->base)
        return;
    acquire();
    list_remove(&guard->link);
    release();
    free(guard->missing);
    *guard = (struct dango_bus_guard){0};
}

void dango_bus_guard_touch(const unsigned char *bytes, size_t size)
{
    const volatile unsigned char *page = bytes;
    if (size == 0)
        return;
    for (size_t offset = 0; offset < size; offset += page_size)
        (void)page[offset];
    (void)page[size - 1];
}
