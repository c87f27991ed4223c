/*
 * Lines of standard input as events.
 *
 * Lines are pushed as fast as they come; batches grow while the service is busy. The futures of what is under way are
 * kept in a ring, oldest first, with their lines: so a server that fails is noticed while input still flows, or while it
 * does not, and it is known up to which line everything is stored. A line that cannot be an event is reported, counted
 * and skipped; one that is too long is not kept in memory for that.
 */
#include "cli/cli.h"

#include "util/json.h"
#include "util/log.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define READ_BYTES     ((size_t)1 << 20)
#define LINE_MAX_BYTES ((size_t)64 << 20) /* the messages say 64 MiB */
#define WATCH_MS       100                /* how often what is under way is looked at while input is quiet */
#define UNDER_WAY_MAX  ((size_t)1 << 18)

/* An event that is not known to be stored yet. */
struct sent {
    diaspora_future *future;
    uint64_t line;
    size_t size;
};

struct input {
    diaspora_producer *producer;
    struct cli_progress *progress;
    struct sent *ring; /* oldest first, from `first` on */
    size_t first, count;
    bool broken; /* an event has failed: what is stored behind it is no place to go on */
    bool raw;
    char *bytes;
    size_t begin, end, capacity; /* what is read and not yet pushed */
    size_t scanned;              /* no line break before this place */
    uint64_t line;
    bool skipping; /* the rest of a line that is too long */
    bool ended;
};

/* Counts what is stored; waits for it until at most `count` events are under way. The first error ends it. */
static int settle(struct input *input, size_t count, struct dango_error *err)
{
    int status = 0;
    while (status == 0 && input->count > 0) {
        struct sent *oldest = &input->ring[input->first];
        if (input->count <= count && !diaspora_future_completed(oldest->future))
            break;
        status = diaspora_future_wait(oldest->future, DIASPORA_FOREVER, NULL, err);
        input->broken = input->broken || status != 0;
        if (status == 0) {
            input->progress->events++;
            input->progress->bytes += oldest->size;
        }
        if (!input->broken)
            input->progress->line = oldest->line;
        diaspora_future_release(oldest->future);
        input->first = (input->first + 1) % UNDER_WAY_MAX;
        input->count--;
    }
    return status;
}

static int push(struct input *input, const char *text, size_t size, struct dango_error *err)
{
    assert(input->count < UNDER_WAY_MAX);
    struct sent *sent = &input->ring[(input->first + input->count) % UNDER_WAY_MAX];
    int status = diaspora_push(input->producer, text, size, DIASPORA_NO_DATA, &sent->future, err);
    if (status != 0)
        return status;
    sent->line = input->line;
    sent->size = size;
    input->count++;
    return settle(input, UNDER_WAY_MAX - 1, err);
}

/* A line that is no event is reported and skipped. */
static void refuse(struct input *input, const char *text)
{
    input->progress->failed++;
    if (input->progress->failed > CLI_COMPLAINTS_MAX)
        return;
    cli_progress_hide(input->progress);
    log_error(CLI_LOG, "line %" PRIu64 "%s", input->line, text);
    if (input->progress->failed == CLI_COMPLAINTS_MAX)
        log_error(CLI_LOG, "further lines that are refused are only counted");
}

static void refuse_json(struct input *input, const struct dango_error *err)
{
    static const char first_line[] = "line 1, "; /* of the text that is our line */
    char text[sizeof err->text + 64];
    bool is_there = strncmp(err->text, first_line, sizeof first_line - 1) == 0;
    snprintf(text, sizeof text, ": %s (--raw sends lines as plain text)",
             err->text + (is_there ? sizeof first_line - 1 : 0));
    refuse(input, text);
}

static void refuse_long(struct input *input)
{
    refuse(input, " is longer than the 64 MiB that an event may have");
}

static bool is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static bool is_blank(const char *text, size_t size)
{
    size_t i = 0;
    while (i < size && is_space(text[i]))
        i++;
    return i == size;
}

static bool is_null(const char *text, size_t size)
{
    static const char space[] = " \t\r";
    while (size > 0 && strchr(space, text[size - 1]) && text[size - 1])
        size--;
    while (size > 0 && strchr(space, *text) && *text)
        text++, size--;
    return size == 4 && memcmp(text, "null", 4) == 0;
}

static int push_json(struct input *input, const char *text, size_t size, struct dango_error *err)
{
    struct dango_error wrong = DIASPORA_ERROR_INIT;
    struct json_object *json = NULL;
    /* null is a JSON text like any other; the parser cannot tell it from a failure. */
    if (!is_null(text, size)) {
        json = dango_json_parse(text, size, &wrong);
        if (!json) {
            refuse_json(input, &wrong);
            return 0;
        }
        json_object_put(json);
    }
    return push(input, text, size, err);
}

static int push_raw(struct input *input, const char *text, size_t size, struct dango_error *err)
{
    struct json_object *json = json_object_new_string_len(text, (int)size);
    assert(json);
    const char *quoted = json_object_to_json_string_ext(json, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE);
    size_t quoted_size = strlen(quoted);
    struct json_object *check = dango_json_parse(quoted, quoted_size, NULL);
    int status = 0;
    if (quoted_size > LINE_MAX_BYTES)
        refuse_long(input);
    else if (!check) /* what comes out is JSON only if what went in was UTF-8 */
        refuse(input, " is not UTF-8 text; --raw takes text, use --files for binary data");
    else
        status = push(input, quoted, quoted_size, err);
    json_object_put(check);
    json_object_put(json);
    return status;
}

static int push_line(struct input *input, const char *text, size_t size, struct dango_error *err)
{
    input->line++;
    if (size > LINE_MAX_BYTES) {
        refuse_long(input);
        return 0;
    }
    if (is_blank(text, size))
        return 0;
    return input->raw ? push_raw(input, text, size, err) : push_json(input, text, size, err);
}

/* Drops what there is of a line that is too long. */
static void skip(struct input *input)
{
    char *end = memchr(input->bytes + input->begin, '\n', input->end - input->begin);
    input->begin = input->scanned = end ? (size_t)(end + 1 - input->bytes) : input->end;
    input->skipping = !end;
}

/* Pushes the lines that are complete; at the end of the input also the last one without a line break. */
static int push_lines(struct input *input, struct dango_error *err)
{
    int status = 0;
    if (input->skipping)
        skip(input);
    while (status == 0 && input->begin < input->end && !cli_stop_signal()) {
        char *line = input->bytes + input->begin;
        char *end = memchr(input->bytes + input->scanned, '\n', input->end - input->scanned);
        if (!end && !input->ended) {
            input->scanned = input->end;
            if (input->end - input->begin > LINE_MAX_BYTES) {
                input->line++;
                refuse_long(input);
                skip(input);
            }
            break;
        }
        size_t size = end ? (size_t)(end - line) : input->end - input->begin;
        status = push_line(input, line, size, err);
        input->begin += size + (end != NULL);
        input->scanned = input->begin;
    }
    return status;
}

/* Room behind what is there, which is never much more than the longest line that is kept. */
static int make_room(struct input *input, struct dango_error *err)
{
    assert(input->begin <= input->scanned && input->scanned <= input->end);
    if (input->begin > 0) {
        memmove(input->bytes, input->bytes + input->begin, input->end - input->begin);
        input->end -= input->begin;
        input->scanned -= input->begin;
        input->begin = 0;
    }
    if (input->capacity - input->end >= READ_BYTES / 2)
        return 0;
    assert(input->end <= LINE_MAX_BYTES);
    size_t capacity = input->capacity ? 2 * input->capacity : READ_BYTES;
    char *bytes = realloc(input->bytes, capacity);
    if (!bytes)
        return dango_error_set(err, DANGO_ERR_NO_MEMORY, "line %" PRIu64 ": out of memory", input->line + 1);
    input->bytes = bytes;
    input->capacity = capacity;
    return 0;
}

/* Waits until there is something to read, or somebody asks to stop; meanwhile looks after what is on its way. */
static int wait_readable(struct input *input, struct dango_error *err)
{
    for (;;) {
        struct pollfd fds[] = {{.fd = STDIN_FILENO, .events = POLLIN}, {.fd = cli_stop_fd(), .events = POLLIN}};
        int timeout_ms = input->count > 0 ? WATCH_MS : cli_progress_timeout_ms(input->progress);
        int ready = poll(fds, 2, timeout_ms);
        if (ready > 0)
            return 0;
        if (ready < 0 && errno != EINTR)
            return dango_error_set_errno(err, errno, "standard input");
        int status = settle(input, UNDER_WAY_MAX, err);
        if (status != 0)
            return status;
        cli_progress_show(input->progress);
    }
}

static int read_more(struct input *input, struct dango_error *err)
{
    int status = make_room(input, err);
    if (status == 0)
        status = wait_readable(input, err);
    if (status != 0 || cli_stop_signal())
        return status;
    ssize_t n = read(STDIN_FILENO, input->bytes + input->end, input->capacity - input->end);
    if (n < 0 && errno != EINTR && errno != EAGAIN)
        return dango_error_set_errno(err, errno, "standard input");
    if (n == 0)
        input->ended = true;
    if (n > 0)
        input->end += (size_t)n;
    cli_progress_show(input->progress);
    return 0;
}

/* Waits until everything is stored or has failed; also after an interruption: what was taken from the input is kept. */
static int finish(struct input *input, struct dango_error *err)
{
    int status = diaspora_flush(input->producer, DIASPORA_FOREVER, err);
    while (input->count > 0)
        (void)settle(input, 0, NULL); /* the flush has told of the errors */
    return status;
}

int cli_produce_lines(diaspora_producer *producer, bool raw, struct cli_progress *progress, struct dango_error *err)
{
    struct input input = {.producer = producer, .progress = progress, .raw = raw};
    input.ring = calloc(UNDER_WAY_MAX, sizeof *input.ring);
    if (!input.ring)
        return dango_error_set(err, DANGO_ERR_NO_MEMORY, "standard input: out of memory");
    int status = 0;
    while (status == 0 && !input.ended && !cli_stop_signal()) {
        status = read_more(&input, err);
        if (status == 0)
            status = push_lines(&input, err);
    }
    int finished = finish(&input, status == 0 ? err : NULL);
    free(input.ring);
    free(input.bytes);
    return status != 0 ? status : finished;
}
