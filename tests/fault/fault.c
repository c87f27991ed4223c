/*
 * Failing files: stands in front of the C library's calls on files and makes the n-th one that concerns a given directory
 * go wrong. Works in two ways: linked into a test program (which then calls dango_fault_plan), or preloaded into any
 * program (LD_PRELOAD=libdango-test-fault.so DANGO_FAULT=plan).
 *
 * A plan is a list of words with commas between them:
 *
 *     dir=PATH     calls on this directory and what lies below it are counted, from 1; all others pass. Absolute, required
 *     call=NAME    counts only calls of this name: open read write sync rename truncate allocate map unlink mkdir
 *     file=TEXT    counts only calls on paths with this text in them
 *     n=N          the call that goes wrong; 0: none, calls are only counted
 *     times=K      and the K-1 calls after it (default 1); 0: all of them
 *     do=WHAT      EIO, ENOSPC, EROFS, EACCES or EMFILE: the call fails with this and does nothing
 *                  short: a write transfers half of its bytes (other calls pass)
 *                  kill, kill-after: the process dies of SIGKILL before or after the call
 *                  kill-short: it dies in the middle of a write, half of whose bytes have arrived
 *     trace=FILE   a line "N call path" for every counted call, and "N call path: WHAT" for those that go wrong
 *
 * The interposed functions go to the kernel directly, not to the next function of their name: the library then does
 * not depend on what else stands before the C library (the sanitizers do), nor on initialization order. What the C library
 * does inside itself (fopen, opendir) does not pass here, nor does what io_uring does.
 */
#include "tests/fault/fault.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

enum verdict { PASS, FAIL, SHORT, SHORT_THEN_DIE, PASS_THEN_DIE };

static struct {
    char dir[PATH_MAX], call[16], file[64], what[16], trace[PATH_MAX];
    unsigned long n, times;
    enum verdict verdict;
    int errnum; /* with FAIL */
    bool die_first;
} plan;

static atomic_ulong calls;

/* ---- the plan ---- */

static const struct {
    const char *word;
    enum verdict verdict;
    int errnum;
    bool die_first;
} actions[] = {
    {"EIO", FAIL, EIO, false},       {"ENOSPC", FAIL, ENOSPC, false},         {"EROFS", FAIL, EROFS, false},
    {"EACCES", FAIL, EACCES, false}, {"EMFILE", FAIL, EMFILE, false},         {"short", SHORT, 0, false},
    {"kill", PASS, 0, true},         {"kill-after", PASS_THEN_DIE, 0, false}, {"kill-short", SHORT_THEN_DIE, 0, false},
};

static bool set_action(const char *word)
{
    for (size_t i = 0; i < sizeof actions / sizeof *actions; i++) {
        if (strcmp(word, actions[i].word) == 0) {
            snprintf(plan.what, sizeof plan.what, "%s", word);
            plan.verdict = actions[i].verdict;
            plan.errnum = actions[i].errnum;
            plan.die_first = actions[i].die_first;
            return true;
        }
    }
    return false;
}

static bool set_word(const char *key, const char *value)
{
    const struct {
        const char *key;
        char *text;
        size_t size;
    } texts[] = {{"dir", plan.dir, sizeof plan.dir},
                 {"call", plan.call, sizeof plan.call},
                 {"file", plan.file, sizeof plan.file},
                 {"trace", plan.trace, sizeof plan.trace}};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        if (strcmp(key, texts[i].key) == 0)
            return snprintf(texts[i].text, texts[i].size, "%s", value) < (int)texts[i].size;
    if (strcmp(key, "n") == 0)
        return plan.n = strtoul(value, NULL, 10), true;
    if (strcmp(key, "times") == 0)
        return plan.times = strtoul(value, NULL, 10), true;
    return strcmp(key, "do") == 0 && set_action(value);
}

_Bool dango_fault_plan(const char *text)
{
    char words[2 * PATH_MAX], *rest = words;
    memset(&plan, 0, sizeof plan);
    plan.times = 1;
    atomic_store(&calls, 0);
    if (!text)
        return true;
    if (snprintf(words, sizeof words, "%s", text) >= (int)sizeof words)
        return false;
    for (char *word; (word = strsep(&rest, ","));) {
        char *value = strchr(word, '=');
        if (!value)
            return false;
        *value++ = '\0';
        if (!set_word(word, value))
            return false;
    }
    return plan.dir[0] == '/';
}

unsigned long dango_fault_calls(void)
{
    return atomic_load(&calls);
}

__attribute__((constructor)) static void plan_from_environment(void)
{
    const char *text = getenv("DANGO_FAULT");
    if (text && !dango_fault_plan(text)) {
        fprintf(stderr, "DANGO_FAULT: not a plan: %s\n", text);
        abort();
    }
}

/* ---- which file is it? ---- */

static bool path_of_fd(int fd, char path[PATH_MAX])
{
    char link[64];
    if (fd == AT_FDCWD)
        snprintf(link, sizeof link, "/proc/self/cwd");
    else
        snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = syscall(SYS_readlinkat, AT_FDCWD, link, path, PATH_MAX - 1);
    if (n < 0)
        return false;
    path[n] = '\0';
    return true;
}

/* Absolute, with /proc/self/fd/N at the beginning replaced by what that is. */
static bool absolute(int directory, const char *name, char path[PATH_MAX])
{
    static const char descriptors[] = "/proc/self/fd/";
    if (strncmp(name, descriptors, sizeof descriptors - 1) == 0) {
        char *rest;
        directory = (int)strtol(name + sizeof descriptors - 1, &rest, 10);
        name = *rest == '/' ? rest + 1 : rest;
    }
    if (name[0] == '/')
        return snprintf(path, PATH_MAX, "%s", name) < PATH_MAX;
    if (!path_of_fd(directory, path))
        return false;
    size_t length = strlen(path);
    return name[0] == '\0' || snprintf(path + length, PATH_MAX - length, "/%s", name) < (int)(PATH_MAX - length);
}

static bool counts(const char *call, const char *path)
{
    size_t length = strlen(plan.dir);
    return strncmp(path, plan.dir, length) == 0 && (path[length] == '/' || path[length] == '\0') &&
           (plan.call[0] == '\0' || strcmp(call, plan.call) == 0) && strstr(path, plan.file) != NULL;
}

/* ---- judgement ---- */

static void trace(unsigned long number, const char *call, const char *path, bool wrong)
{
    char line[PATH_MAX + 64];
    if (plan.trace[0] == '\0')
        return;
    int length =
        snprintf(line, sizeof line, "%lu %s %s%s%s\n", number, call, path, wrong ? ": " : "", wrong ? plan.what : "");
    long fd = syscall(SYS_openat, AT_FDCWD, plan.trace, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    if (fd < 0 || syscall(SYS_write, fd, line, (size_t)length) != length)
        abort();
    syscall(SYS_close, fd);
}

static void die(void)
{
    syscall(SYS_kill, syscall(SYS_getpid), SIGKILL);
    for (;;)
        pause();
}

static enum verdict judge(const char *call, const char *path)
{
    if (plan.dir[0] == '\0' || !counts(call, path))
        return PASS;
    unsigned long number = atomic_fetch_add(&calls, 1) + 1;
    bool wrong = plan.n > 0 && number >= plan.n && (plan.times == 0 || number - plan.n < plan.times);
    trace(number, call, path, wrong);
    if (!wrong)
        return PASS;
    if (plan.die_first)
        die();
    errno = plan.errnum;
    return plan.verdict;
}

static enum verdict judge_fd(const char *call, int fd)
{
    char path[PATH_MAX];
    return plan.dir[0] != '\0' && path_of_fd(fd, path) ? judge(call, path) : PASS;
}

static enum verdict judge_name(const char *call, int directory, const char *name)
{
    char path[PATH_MAX];
    return plan.dir[0] != '\0' && absolute(directory, name, path) ? judge(call, path) : PASS;
}

/* The end of a call that was made, in full or in part. */
static long done(enum verdict verdict, long result)
{
    int errnum = errno;
    if (verdict == PASS_THEN_DIE || verdict == SHORT_THEN_DIE)
        die();
    errno = errnum;
    return result;
}

static size_t part(enum verdict verdict, size_t size)
{
    return (verdict == SHORT || verdict == SHORT_THEN_DIE) && size > 1 ? size / 2 : size;
}

/* ---- the calls ---- */

ssize_t write(int fd, const void *bytes, size_t size)
{
    enum verdict verdict = judge_fd("write", fd);
    return verdict == FAIL ? -1 : done(verdict, syscall(SYS_write, fd, bytes, part(verdict, size)));
}

ssize_t pwrite(int fd, const void *bytes, size_t size, off_t offset)
{
    enum verdict verdict = judge_fd("write", fd);
    return verdict == FAIL ? -1 : done(verdict, syscall(SYS_pwrite64, fd, bytes, part(verdict, size), offset));
}

ssize_t pwritev(int fd, const struct iovec *iov, int count, off_t offset)
{
    enum verdict verdict = judge_fd("write", fd);
    struct iovec half = {0};
    if (verdict == FAIL)
        return -1;
    if (count > 0 && part(verdict, 2) == 1) {
        /* Half of all vectors; of the last of these only half. */
        size_t whole = (size_t)count / 2;
        long first = whole > 0 ? syscall(SYS_pwritev, fd, iov, whole, offset, 0) : 0;
        half = (struct iovec){iov[whole].iov_base, part(verdict, iov[whole].iov_len)};
        long second = first < 0 ? first : syscall(SYS_pwritev, fd, &half, 1, offset + first, 0);
        return done(verdict, second < 0 ? second : first + second);
    }
    return done(verdict, syscall(SYS_pwritev, fd, iov, count, offset, 0));
}

ssize_t read(int fd, void *bytes, size_t size)
{
    enum verdict verdict = judge_fd("read", fd);
    return verdict == FAIL ? -1 : done(verdict, syscall(SYS_read, fd, bytes, size));
}

ssize_t pread(int fd, void *bytes, size_t size, off_t offset)
{
    enum verdict verdict = judge_fd("read", fd);
    return verdict == FAIL ? -1 : done(verdict, syscall(SYS_pread64, fd, bytes, size, offset));
}

int fsync(int fd)
{
    enum verdict verdict = judge_fd("sync", fd);
    return verdict == FAIL ? -1 : (int)done(verdict, syscall(SYS_fsync, fd));
}

int fdatasync(int fd)
{
    enum verdict verdict = judge_fd("sync", fd);
    return verdict == FAIL ? -1 : (int)done(verdict, syscall(SYS_fdatasync, fd));
}

int ftruncate(int fd, off_t size)
{
    enum verdict verdict = judge_fd("truncate", fd);
    return verdict == FAIL ? -1 : (int)done(verdict, syscall(SYS_ftruncate, fd, size));
}

int fallocate(int fd, int mode, off_t offset, off_t size)
{
    enum verdict verdict = judge_fd("allocate", fd);
    return verdict == FAIL ? -1 : (int)done(verdict, syscall(SYS_fallocate, fd, mode, offset, size));
}

void *mmap(void *address, size_t size, int protection, int flags, int fd, off_t offset)
{
    enum verdict verdict = fd >= 0 && !(flags & MAP_ANONYMOUS) ? judge_fd("map", fd) : PASS;
    if (verdict == FAIL)
        return MAP_FAILED;
    return (void *)done(verdict, syscall(SYS_mmap, address, size, protection, flags, fd, offset)); // NOLINT
}

static int open_at(int directory, const char *name, int flags, mode_t mode)
{
    enum verdict verdict = judge_name("open", directory, name);
    return verdict == FAIL ? -1 : (int)done(verdict, syscall(SYS_openat, directory, name, flags, mode));
}

/* The mode is there only when a file may be made. */
static mode_t mode_argument(int flags, va_list arguments)
{
    return flags & (O_CREAT | __O_TMPFILE) ? va_arg(arguments, mode_t) : 0;
}

int openat(int directory, const char *name, int flags, ...)
{
    va_list arguments;
    va_start(arguments, flags);
    mode_t mode = mode_argument(flags, arguments);
    va_end(arguments);
    return open_at(directory, name, flags, mode);
}

int open(const char *name, int flags, ...)
{
    va_list arguments;
    va_start(arguments, flags);
    mode_t mode = mode_argument(flags, arguments);
    va_end(arguments);
    return open_at(AT_FDCWD, name, flags, mode);
}

/* The only one that needs more than a system call. */
int mkostemp(char *name, int flags)
{
    static int (*_Atomic next)(char *, int);
    if (!next)
        next = (int (*)(char *, int))dlsym(RTLD_NEXT, "mkostemp"); // NOLINT
    enum verdict verdict = judge_name("open", AT_FDCWD, name);
    return verdict == FAIL ? -1 : (int)done(verdict, next(name, flags));
}

int renameat(int from_directory, const char *from, int to_directory, const char *to)
{
    enum verdict verdict = judge_name("rename", to_directory, to);
    return verdict == FAIL ? -1 : (int)done(verdict, syscall(SYS_renameat2, from_directory, from, to_directory, to, 0));
}

int rename(const char *from, const char *to)
{
    return renameat(AT_FDCWD, from, AT_FDCWD, to);
}

int unlinkat(int directory, const char *name, int flags)
{
    enum verdict verdict = judge_name("unlink", directory, name);
    return verdict == FAIL ? -1 : (int)done(verdict, syscall(SYS_unlinkat, directory, name, flags));
}

int unlink(const char *name)
{
    return unlinkat(AT_FDCWD, name, 0);
}

int mkdir(const char *name, mode_t mode)
{
    enum verdict verdict = judge_name("mkdir", AT_FDCWD, name);
    return verdict == FAIL ? -1 : (int)done(verdict, syscall(SYS_mkdirat, AT_FDCWD, name, mode));
}

/* On 64-bit systems the large-file names are the same functions. */
#define ALIAS(name) __attribute__((alias(#name)))
int open64(const char *name, int flags, ...) ALIAS(open);
int openat64(int directory, const char *name, int flags, ...) ALIAS(openat);
ssize_t pwrite64(int fd, const void *bytes, size_t size, off64_t offset) ALIAS(pwrite);
ssize_t pwritev64(int fd, const struct iovec *iov, int count, off64_t offset) ALIAS(pwritev);
ssize_t pread64(int fd, void *bytes, size_t size, off64_t offset) ALIAS(pread);
int ftruncate64(int fd, off64_t size) ALIAS(ftruncate);
int fallocate64(int fd, int mode, off64_t offset, off64_t size) ALIAS(fallocate);
void *mmap64(void *address, size_t size, int protection, int flags, int fd, off64_t offset) ALIAS(mmap);
