/*
 * A second process for tests: the test program starts itself again with other arguments (so that nothing of this process
 * is inherited but files), and reads what the child prints line by line. The child dies with its parent.
 */
#ifndef DANGO_TESTS_SUPPORT_CHILD_H
#define DANGO_TESTS_SUPPORT_CHILD_H

#include "tests/support/test.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

struct child {
    pid_t pid;
    FILE *out; /* its standard output */
};

static inline struct child child_start(char *const argv[])
{
    struct child child;
    int fds[2];
    assert_int_equal(pipe(fds), 0);
    child.pid = fork();
    assert_true(child.pid >= 0);
    if (child.pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        dup2(fds[1], STDOUT_FILENO);
        close(fds[0]);
        close(fds[1]);
        execv("/proc/self/exe", argv);
        _exit(127);
    }
    close(fds[1]);
    child.out = fdopen(fds[0], "r");
    return child;
}

/* The next line without its end; fails the test at end of file. */
static inline void child_read_line(struct child *child, char *line, size_t size)
{
    if (!fgets(line, (int)size, child->out))
        fail_msg("the child has ended");
    line[strcspn(line, "\n")] = '\0';
}

/* Waits for its end; the status of waitpid. */
static inline int child_wait(struct child *child)
{
    int status;
    assert_int_equal(waitpid(child->pid, &status, 0), child->pid);
    fclose(child->out);
    child->pid = 0;
    return status;
}

static inline void child_kill(struct child *child)
{
    kill(child->pid, SIGKILL);
    child_wait(child);
}

#endif
