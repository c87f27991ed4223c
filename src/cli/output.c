/*
 * Lines on standard output (see cli.h). A reader that goes away (EPIPE) is no failure: whoever pipes into `head` has
 * what he wants. Either way, and after a failure (a full disk), the output is closed for good: the caller stops and
 * acknowledges only what was written.
 */
#include "cli/cli.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define OUTPUT_FLUSH_BYTES ((size_t)256 << 10)

/* How much may be written at once without blocking, after waiting for that; 0 when somebody asked to stop. */
static size_t writable(struct cli_output *output, size_t wanted, struct dango_error *err)
{
    struct stat info;
    struct pollfd fds[] = {{.fd = STDOUT_FILENO, .events = POLLOUT}, {.fd = cli_stop_fd(), .events = POLLIN}};
    if (!output->known) {
        output->known = true;
        output->is_pipe = fstat(STDOUT_FILENO, &info) == 0 && S_ISFIFO(info.st_mode);
    }
    if (!output->is_pipe)
        return wanted;
    /* A reader that does not read must not keep us from stopping. */
    while (poll(fds, 2, -1) < 0 && errno == EINTR)
        ;
    if (fds[0].revents == 0) {
        dango_error_set(err, DANGO_ERR_CANCELED, "stopped while the reader of standard output did not read");
        return 0;
    }
    return wanted < PIPE_BUF ? wanted : PIPE_BUF;
}

int cli_output_flush(struct cli_output *output, struct dango_error *err)
{
    size_t done = 0;
    int status = 0;
    while (status == 0 && done < output->used && !output->closed) {
        size_t size = writable(output, output->used - done, err);
        if (size == 0)
            return DANGO_ERR_CANCELED;
        ssize_t n = write(STDOUT_FILENO, output->bytes + done, size);
        if (n >= 0)
            done += (size_t)n;
        else if (errno == EPIPE)
            output->closed = true;
        else if (errno != EINTR && errno != EAGAIN)
            status = dango_error_set_errno(err, errno, "standard output");
    }
    assert(done <= output->used);
    output->used = 0;
    output->closed = output->closed || status != 0;
    return status;
}

static int reserve(struct cli_output *output, size_t more, struct dango_error *err)
{
    if (output->capacity - output->used >= more)
        return 0;
    size_t capacity = output->used + more + OUTPUT_FLUSH_BYTES;
    char *bytes = realloc(output->bytes, capacity);
    if (!bytes)
        return dango_error_set(err, DANGO_ERR_NO_MEMORY, "standard output: out of memory for a line of %zu bytes",
                               more);
    output->bytes = bytes;
    output->capacity = capacity;
    return 0;
}

int cli_output_line(struct cli_output *output, const char *text, size_t size, struct dango_error *err)
{
    int status = output->used >= OUTPUT_FLUSH_BYTES ? cli_output_flush(output, err) : 0;
    if (status == 0)
        status = reserve(output, size + 1, err);
    if (status != 0)
        return status;
    char *line = output->bytes + output->used;
    memcpy(line, text, size);
    line[size] = '\n';
    output->used += size + 1;
    /* Line breaks in JSON are white space between its parts; one document is one line. */
    for (char *c = memchr(line, '\n', size); c; c = memchr(c, '\n', (size_t)(line + size - c)))
        *c = ' ';
    return 0;
}

void cli_output_release(struct cli_output *output)
{
    free(output->bytes);
    output->bytes = NULL;
}
