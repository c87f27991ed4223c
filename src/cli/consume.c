/*
 * diaspora-ctl consume: events to standard output, one document per line, or to files (files.c).
 *
 * Where it ends, without --follow and --count: a partition is done when the last event that it held when consume
 * started has come; later events are left to whoever comes next. What was written is acknowledged, partition by
 * partition, after it has left our buffers: the event acknowledged last is held until a later one takes its place.
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

#define EVENTS_AT_ONCE           64u
#define ACKNOWLEDGE_EVERY_EVENTS 65536u
#define DEFAULT_NAME             "diaspora-ctl"

struct fields {
    struct cli_common common;
    const char *topic, *name, *into, *from, *targets;
    int64_t count;
    bool follow, raw;
};

static const struct cli_option options[] = {
    {"topic", 0, CLI_TEXT, true, offsetof(struct fields, topic), "NAME", "topic to read"},
    {"into", 0, CLI_TEXT, false, offsetof(struct fields, into), "DIR", "write events as files, into this directory"},
    {"name", 0, CLI_TEXT, false, offsetof(struct fields, name), "CONSUMER", "whose position is used and saved"},
    {"from", 0, CLI_TEXT, false, offsetof(struct fields, from), "first|saved|last|ID|TIME", "where to start"},
    {"count", 0, CLI_COUNT, false, offsetof(struct fields, count), "N", "end after N events, waiting for them"},
    {"follow", 0, CLI_FLAG, false, offsetof(struct fields, follow), NULL, "go on with what comes later"},
    {"targets", 0, CLI_TEXT, false, offsetof(struct fields, targets), "N[,N...]", "read these partitions only"},
    {"raw", 0, CLI_FLAG, false, offsetof(struct fields, raw), NULL, "print JSON strings as plain text"},
    CLI_COMMON(struct fields),
};

struct partition {
    uint64_t end;            /* ids from here on were not there at the start */
    bool done;               /* everything before the end has come */
    diaspora_event *written; /* last one written, not yet acknowledged, or NULL */
    uint64_t skipped;        /* events that were no longer kept, as told */
};

struct reading {
    const struct fields *fields;
    diaspora_consumer *consumer;
    struct json_object *targets; /* indices of partitions; NULL: all */
    struct cli_progress progress;
    struct cli_output output;
    struct cli_files files;
    struct partition *partitions;
    size_t partition_count, partitions_left;
    bool bounded; /* ends where the topic ended at the start */
    uint64_t unacknowledged;
    bool ended;
};

/* ---- where it ends --------------------------------------------------------------------------------------------- */

static bool is_target(const struct reading *r, size_t partition)
{
    for (size_t i = 0; r->targets && i < json_object_array_length(r->targets); i++)
        if (json_object_get_uint64(json_object_array_get_idx(r->targets, i)) == partition)
            return true;
    return !r->targets;
}

static int find_ends(struct reading *r, struct dango_error *err)
{
    r->partitions_left = r->partition_count;
    for (size_t i = 0; i < r->partition_count; i++) {
        struct partition *p = &r->partitions[i];
        uint64_t first;
        if (!is_target(r, i)) {
            p->done = true;
            r->partitions_left--;
            continue;
        }
        int status = diaspora_consumer_extent(r->consumer, i, &first, &p->end, err);
        if (status != 0)
            return status;
        p->done = first >= p->end;
        if (p->done)
            r->partitions_left--;
        else
            r->progress.expected += p->end - first;
    }
    r->ended = r->bounded && r->partitions_left == 0;
    if (r->fields->count > 0)
        r->progress.expected = (uint64_t)r->fields->count;
    else if (!r->bounded)
        r->progress.expected = 0;
    return 0;
}

/* Notes that an event was dealt with: the end may be reached. */
static void note_end(struct reading *r, const diaspora_event *event)
{
    assert(diaspora_event_partition(event) < r->partition_count);
    struct partition *p = &r->partitions[diaspora_event_partition(event)];
    if (!p->done && diaspora_event_id(event) + 1 >= p->end) {
        p->done = true;
        r->partitions_left--;
    }
    if (r->bounded && r->partitions_left == 0)
        r->ended = true;
    if (r->fields->count > 0 && r->progress.events >= (uint64_t)r->fields->count)
        r->ended = true;
}

/* ---- writing --------------------------------------------------------------------------------------------------- */

static int write_line(struct reading *r, const diaspora_event *event, struct dango_error *err)
{
    const char *text = diaspora_event_metadata(event);
    size_t size = diaspora_event_metadata_size(event);
    struct json_object *json = r->fields->raw && *text == '"' ? dango_json_parse(text, size, NULL) : NULL;
    if (json_object_is_type(json, json_type_string)) {
        text = json_object_get_string(json);
        size = (size_t)json_object_get_string_len(json);
    }
    int status = cli_output_line(&r->output, text, size, err);
    json_object_put(json);
    return status;
}

/* An event that is no file, or not one that can be here, is reported and passed over; a full disk is the end. */
static int write_event_file(struct reading *r, const diaspora_event *event, struct dango_error *err)
{
    struct dango_error wrong = DIASPORA_ERROR_INIT;
    if (cli_files_write(&r->files, event, &wrong) == 0)
        return 0;
    if (r->files.hopeless)
        return dango_error_set(err, wrong.code, "%s", wrong.text);
    r->progress.failed++;
    if (r->progress.failed > CLI_COMPLAINTS_MAX)
        return 0;
    cli_progress_hide(&r->progress);
    log_error(CLI_LOG, "event %" PRIu64 " of partition %zu: %s", diaspora_event_id(event),
              diaspora_event_partition(event), wrong.text);
    if (r->progress.failed == CLI_COMPLAINTS_MAX)
        log_error(CLI_LOG, "further events that cannot be written are only counted");
    return 0;
}

/* Takes an event: writes it and keeps it for the acknowledgement. */
static int take(struct reading *r, diaspora_event *event, struct dango_error *err)
{
    if (diaspora_event_id(event) == DIASPORA_NO_MORE_EVENTS) {
        r->ended = true;
        return 0;
    }
    struct partition *p = &r->partitions[diaspora_event_partition(event)];
    if (r->ended || (r->bounded && diaspora_event_id(event) >= p->end)) {
        diaspora_event_release(event);
        return 0;
    }
    int status = r->fields->into ? write_event_file(r, event, err) : write_line(r, event, err);
    if (status != 0) { /* it did not leave us: it must not be acknowledged, nor anything behind it */
        r->ended = true;
        diaspora_event_release(event);
        return status;
    }
    r->progress.events++;
    r->progress.bytes += r->fields->into ? diaspora_event_data_size(event) : diaspora_event_metadata_size(event);
    note_end(r, event);
    diaspora_event_release(p->written);
    p->written = event;
    r->unacknowledged++;
    return 0;
}

/* Tells about events that are missing because they are no longer kept. */
static void tell_skipped(struct reading *r)
{
    for (size_t i = 0; i < r->partition_count; i++) {
        uint64_t skipped;
        if (!is_target(r, i) || diaspora_consumer_skipped(r->consumer, i, &skipped, NULL) != 0 ||
            skipped == r->partitions[i].skipped)
            continue;
        cli_progress_hide(&r->progress);
        log_warning(CLI_LOG, "partition %zu: %" PRIu64 " events are no longer kept and were skipped", i,
                    skipped - r->partitions[i].skipped);
        r->partitions[i].skipped = skipped;
    }
}

/* Everything taken is written; then the last of each partition is acknowledged. */
static int settle(struct reading *r, struct dango_error *err)
{
    int status = cli_output_flush(&r->output, err);
    if (r->output.closed)
        r->ended = true;
    /* What is acknowledged is not sent again: files must be safe first. */
    if (status == 0 && r->unacknowledged > 0 && r->fields->into && r->fields->name)
        status = cli_files_sync(&r->files, err);
    for (size_t i = 0; i < r->partition_count; i++) {
        struct partition *p = &r->partitions[i];
        if (!p->written)
            continue;
        /* Acknowledging is cumulative: the last one stands for all before it. */
        if (status == 0 && !r->output.closed && r->fields->name)
            status = diaspora_event_acknowledge(p->written, err);
        diaspora_event_release(p->written);
        p->written = NULL;
    }
    r->unacknowledged = 0;
    tell_skipped(r);
    return status;
}

/* ---- reading --------------------------------------------------------------------------------------------------- */

/* Waits for events, for the wish to stop, or for the reader of standard output to go away. */
static int wait_for_events(struct reading *r, int fd, struct dango_error *err)
{
    struct pollfd fds[] = {{.fd = fd, .events = POLLIN},
                           {.fd = cli_stop_fd(), .events = POLLIN},
                           {.fd = r->fields->into ? -1 : STDOUT_FILENO, .events = 0}};
    int ready = poll(fds, 3, cli_progress_timeout_ms(&r->progress));
    if (ready < 0 && errno != EINTR)
        return dango_error_set_errno(err, errno, "poll");
    if (ready > 0 && (fds[2].revents & POLLERR))
        r->ended = r->output.closed = true;
    cli_progress_show(&r->progress);
    return 0;
}

static int read_events(struct reading *r, int fd, struct dango_error *err)
{
    int status = 0;
    while (status == 0 && !r->ended && !cli_stop_signal()) {
        diaspora_event *events[EVENTS_AT_ONCE];
        size_t count = 0;
        status = diaspora_pull_many(r->consumer, 0, events, EVENTS_AT_ONCE, &count, err);
        if (status == DIASPORA_TIMEOUT) {
            status = settle(r, err);
            if (status == 0 && !r->ended)
                status = wait_for_events(r, fd, err);
            continue;
        }
        for (size_t i = 0; i < count; i++) {
            int taken = take(r, events[i], err);
            status = status != 0 ? status : taken;
        }
        if (status == 0 && r->unacknowledged >= ACKNOWLEDGE_EVERY_EVENTS)
            status = settle(r, err);
        cli_progress_show(&r->progress);
    }
    /* What came before a failure is written and acknowledged as far as that is possible. */
    struct dango_error later;
    int settled = settle(r, status == 0 ? err : &later);
    return status != 0 ? status : settled;
}

/* Options of the consumer; NULL with the error set. One reference. */
static struct json_object *consumer_options(const struct fields *fields, struct dango_error *err)
{
    struct json_object *json = json_object_new_object();
    const char *from = fields->from ? fields->from : fields->name ? "saved" : "first";
    struct json_object *value = cli_component_value(from, err);
    if (!value || (!fields->name && strcmp(from, "saved") == 0)) {
        if (value)
            dango_error_set(err, DANGO_ERR_INVALID, "--from saved needs --name CONSUMER: whose position?");
        json_object_put(value);
        json_object_put(json);
        return NULL;
    }
    json_object_object_add(json, "name", json_object_new_string(fields->name ? fields->name : DEFAULT_NAME));
    json_object_object_add(json, "from", value);
    json_object_object_add(json, "data", json_object_new_string(fields->into ? "all" : "none"));
    if (fields->targets && cli_targets(fields->targets, json, err) != 0) {
        json_object_put(json);
        return NULL;
    }
    return json;
}

static int consume_from(struct reading *r, diaspora_topic *topic, struct dango_error *err)
{
    int status = 0;
    r->partition_count = diaspora_topic_num_partitions(topic);
    r->partitions = calloc(r->partition_count, sizeof *r->partitions);
    if (!r->partitions)
        return dango_error_set(err, DANGO_ERR_NO_MEMORY, "consume: out of memory");
    r->bounded = !r->fields->follow && r->fields->count == 0;
    cli_progress_start(&r->progress, "received");
    int fd = diaspora_consumer_fd(r->consumer, err);
    status = fd < 0 ? fd : find_ends(r, err);
    if (status == 0)
        status = read_events(r, fd, err);
    cli_progress_hide(&r->progress);
    if (status < 0)
        return status;
    cli_progress_summary(&r->progress, "");
    if (cli_stop_signal() && !r->fields->follow)
        return 128 + cli_stop_signal();
    return r->progress.failed > 0;
}

static int consume(void *args, struct dango_error *err)
{
    struct reading r = {.fields = args, .files = {.root = -1, .parent = -1}};
    const struct fields *fields = args;
    diaspora_driver *driver = NULL;
    diaspora_topic *topic = NULL;
    int status = -1;
    if (fields->raw && fields->into)
        return dango_error_set(err, DANGO_ERR_INVALID, "--raw is about lines; it does not go with --into");
    struct json_object *json = consumer_options(fields, err);
    r.targets = dango_json_get(json, "targets");
    if (json && cli_stop_start(err) == 0 && (driver = cli_connect(&fields->common, err)) &&
        (topic = diaspora_topic_open(driver, fields->topic, err)) &&
        (r.consumer = diaspora_consumer_open(topic, json_object_to_json_string(json), err)) &&
        (!fields->into || cli_files_open(&r.files, fields->into, err) == 0))
        status = consume_from(&r, topic, err);
    else
        status = err->code;
    diaspora_consumer_close(r.consumer);
    diaspora_topic_close(topic);
    diaspora_driver_close(driver);
    cli_files_close(&r.files);
    cli_output_release(&r.output);
    free(r.partitions);
    json_object_put(json);
    return status;
}

const struct cli_command cli_consume = {
    .name = "consume",
    .usage = "--topic NAME ",
    .summary = "print or write the events of a topic",
    .details =
        "Prints the metadata of events on standard output, one document per line; with --into DIR writes each\n"
        "event as a file instead, as \"produce --files\" sends them: names are relative to DIR and never leave it.\n"
        "\n"
        "Where it starts: with --name at the position saved under that name, without at the first event; --from\n"
        "says otherwise. With --name, what was written is acknowledged, i.e. the position is saved.\n"
        "\n"
        "Where it ends: when everything has been delivered that the topic held when consume started. With\n"
        "--count N after N events, with --follow never; in both cases it waits for events to come. It also ends\n"
        "when the reader of its output has gone, and when a topic that is marked complete is read to the end.\n"
        "\n"
        "Exit status 0 if all went well, 1 if anything failed. SIGINT and SIGTERM end it after what was received\n"
        "is written: exit status 0 with --follow, else 130, 143.\n",
    .options = options,
    .fields_size = sizeof(struct fields),
    .run = consume,
};
