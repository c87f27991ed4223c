/*
 * diaspora-ctl produce: events from standard input, one per line, or from files (produce_files.c).
 *
 * Lines are pushed as fast as they come; batches grow while the service is busy. The future of one event at a time is
 * watched, so that a server that fails is noticed while input still flows, or while it does not.
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
#define LINE_MAX_BYTES ((size_t)64 << 20)
#define WATCH_MS       100 /* how often the watched future is looked at while input is quiet */
#define COMPLAINTS_MAX 10

struct fields {
    struct cli_common common;
    const char *topic, *name, *files, *batch_size;
    bool raw;
};

static const struct cli_option options[] = {
    {"topic", 0, CLI_TEXT, true, offsetof(struct fields, topic), "NAME", "topic to send to"},
    {"files", 0, CLI_TEXT, false, offsetof(struct fields, files), "DIR", "send the files below a directory"},
    {"raw", 0, CLI_FLAG, false, offsetof(struct fields, raw), NULL, "lines are plain text; each becomes a JSON string"},
    {"name", 0, CLI_TEXT, false, offsetof(struct fields, name), "PRODUCER", "name of the producer"},
    {"batch-size", 0, CLI_TEXT, false, offsetof(struct fields, batch_size), "N|adaptive",
     "events per batch (default: adaptive)"},
    CLI_COMMON(struct fields),
};

struct input {
    diaspora_producer *producer;
    struct cli_progress *progress;
    diaspora_future *watched; /* of an event on its way, or NULL */
    bool raw;
    char *bytes;
    size_t begin, end, capacity; /* what is read and not yet pushed */
    size_t scanned;              /* no line break before this place */
    uint64_t line;
    bool ended;
};

/* The error of the watched event, if it has failed. */
static int check_watched(struct input *input, struct dango_error *err)
{
    if (!input->watched || !diaspora_future_completed(input->watched))
        return 0;
    int status = diaspora_future_wait(input->watched, 0, NULL, err);
    diaspora_future_release(input->watched);
    input->watched = NULL;
    return status;
}

static int push(struct input *input, const char *text, size_t size, struct dango_error *err)
{
    diaspora_future **future = input->watched ? NULL : &input->watched;
    int status = diaspora_push(input->producer, text, size, DIASPORA_NO_DATA, future, err);
    if (status == 0) {
        input->progress->events++;
        input->progress->bytes += size;
        status = check_watched(input, err);
    }
    return status;
}

/* A line that is no event is reported and skipped. */
static void refuse(struct input *input, const struct dango_error *err)
{
    static const char first_line[] = "line 1, ";
    const char *text = err->text;
    if (strncmp(text, first_line, sizeof first_line - 1) == 0)
        text += sizeof first_line - 1;
    input->progress->failed++;
    cli_progress_hide(input->progress);
    if (input->progress->failed <= COMPLAINTS_MAX)
        log_error(CLI_LOG, "line %" PRIu64 ": %s", input->line, text);
    if (input->progress->failed == COMPLAINTS_MAX)
        log_error(CLI_LOG, "further lines that are refused are only counted");
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
            refuse(input, &wrong);
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
    /* What comes out is JSON only if what went in was UTF-8. */
    int status = push_json(input, quoted, strlen(quoted), err);
    json_object_put(json);
    return status;
}

static int push_line(struct input *input, const char *text, size_t size, struct dango_error *err)
{
    input->line++;
    if (size == 0)
        return 0;
    if (size > LINE_MAX_BYTES) {
        struct dango_error wrong;
        dango_error_set(&wrong, DANGO_ERR_RANGE, "%zu bytes are more than an event may have", size);
        refuse(input, &wrong);
        return 0;
    }
    return input->raw ? push_raw(input, text, size, err) : push_json(input, text, size, err);
}

/* Pushes the lines that are complete; at the end of the input also the last one without a line break. */
static int push_lines(struct input *input, struct dango_error *err)
{
    int status = 0;
    while (status == 0 && input->begin < input->end && !cli_stop_signal()) {
        char *line = input->bytes + input->begin;
        char *end = memchr(input->bytes + input->scanned, '\n', input->end - input->scanned);
        if (!end && !input->ended) {
            input->scanned = input->end;
            break;
        }
        size_t size = end ? (size_t)(end - line) : input->end - input->begin;
        status = push_line(input, line, size, err);
        input->begin += size + (end != NULL);
        input->scanned = input->begin;
    }
    return status;
}

/* Room behind what is there. A line longer than any event may be is an error: nobody would take it. */
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
    if (input->end > LINE_MAX_BYTES)
        return dango_error_set(err, DANGO_ERR_RANGE, "line %" PRIu64 " is longer than the %zu bytes an event may have",
                               input->line + 1, LINE_MAX_BYTES);
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
        int timeout_ms = input->watched ? WATCH_MS : cli_progress_timeout_ms(input->progress);
        int ready = poll(fds, 2, timeout_ms);
        if (ready > 0)
            return 0;
        if (ready < 0 && errno != EINTR)
            return dango_error_set_errno(err, errno, "standard input");
        int status = check_watched(input, err);
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

static int produce_lines(diaspora_producer *producer, bool raw, struct cli_progress *progress, struct dango_error *err)
{
    struct input input = {.producer = producer, .progress = progress, .raw = raw};
    int status = 0;
    while (status == 0 && !input.ended && !cli_stop_signal()) {
        status = read_more(&input, err);
        if (status == 0)
            status = push_lines(&input, err);
    }
    diaspora_future_release(input.watched);
    free(input.bytes);
    return status;
}

/* Options of the producer as JSON text, to be freed by json_object_put of the object. */
static int producer_options(const struct fields *fields, struct json_object **json, struct dango_error *err)
{
    *json = json_object_new_object();
    json_object_object_add(*json, "name", json_object_new_string(fields->name ? fields->name : "diaspora-ctl"));
    struct json_object *size = fields->batch_size ? cli_component_value(fields->batch_size, err) : NULL;
    if (fields->batch_size && !size) {
        json_object_put(*json);
        *json = NULL;
        return dango_error_prefix(err, "--batch-size");
    }
    if (size)
        json_object_object_add(*json, "batch_size", size);
    return 0;
}

static int produce_to(diaspora_producer *producer, const struct fields *fields, struct dango_error *err)
{
    struct cli_progress progress;
    cli_progress_start(&progress, "sent");
    int status = fields->files ? cli_produce_files(producer, fields->files, &progress, err)
                               : produce_lines(producer, fields->raw, &progress, err);
    /* Also after an interruption: what was taken from the input is stored. */
    if (status == 0)
        status = diaspora_flush(producer, DIASPORA_FOREVER, err);
    cli_progress_hide(&progress);
    if (status != 0)
        return status;
    cli_progress_summary(&progress);
    if (cli_stop_signal())
        return 128 + cli_stop_signal();
    return progress.failed > 0;
}

static int produce(void *args, struct dango_error *err)
{
    const struct fields *fields = args;
    struct json_object *json = NULL;
    diaspora_topic *topic = NULL;
    diaspora_producer *producer = NULL;
    diaspora_driver *driver = NULL;
    if (fields->files && fields->raw)
        return dango_error_set(err, DANGO_ERR_INVALID, "--raw is about lines; it does not go with --files");
    int status = producer_options(fields, &json, err);
    if (status == 0)
        status = cli_stop_start(err);
    if (status == 0 && (driver = cli_connect(&fields->common, err)) &&
        (topic = diaspora_topic_open(driver, fields->topic, err)) &&
        (producer = diaspora_producer_open(topic, json_object_to_json_string(json), err)))
        status = produce_to(producer, fields, err);
    else
        status = err->code;
    diaspora_producer_close(producer);
    diaspora_topic_close(topic);
    diaspora_driver_close(driver);
    json_object_put(json);
    return status;
}

const struct cli_command cli_produce = {
    .name = "produce",
    .usage = "--topic NAME ",
    .summary = "send lines or files to a topic",
    .details =
        "Sends one event per non-empty line of standard input: the line, a JSON text, is the metadata (with --raw\n"
        "any UTF-8 text, sent as a JSON string). A line that is not JSON is reported and skipped.\n"
        "\n"
        "With --files, sends one event per regular file below DIR: metadata {\"name\",\"size\",\"mode\",\"mtime\"},\n"
        "the content is the data; \"name\" is relative to DIR, \"mode\" the permission bits, \"mtime\" in seconds.\n"
        "Symbolic links are skipped and counted; unreadable files are reported and counted as failures.\n"
        "\n"
        "Ends at the end of the input, when everything is stored. Exit status 0 if all went well, 1 if anything\n"
        "failed. SIGINT and SIGTERM end it early, with what was read stored (exit status 130, 143).\n",
    .options = options,
    .fields_size = sizeof(struct fields),
    .run = produce,
};
