/*
 * mofka-log dump: events as they stand in the log, one a line; damage where it is.
 *
 *     id  time  producer:sequence  data size  metadata         separated by tabs
 *     # damage: …                                              instead of events that cannot be read
 */
#include "cli/log.h"

#include "diaspora/record.h"
#include "util/json.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

struct dump {
    const struct log_fields *fields;
    const struct mofka_inspection *inspection;
    uint64_t from, left; /* events that may still be shown */
    enum mofka_severity worst;
};

/* An event; pointers into the frame. */
struct event {
    const struct mofka_frame *frame;
    uint64_t id;
    struct diaspora_record record;
    const unsigned char *data;
};

static void print_event(const struct event *event, bool with_data)
{
    char time[LOG_TIME_SIZE];
    printf("%" PRIu64 "\t%s\t%" PRIx64 ":%" PRIu64 "\t%" PRIu64 "\t", event->id,
           log_time(event->frame->timestamp_ns, time), event->frame->producer, event->frame->sequence,
           event->record.data_size);
    log_print_escaped(stdout, event->record.metadata, (size_t)event->record.metadata_size);
    putchar('\n');
    if (with_data)
        log_print_hex_lines(stdout, event->data, (size_t)event->record.data_size);
}

/* Metadata that are no JSON document (serializers may write anything) are shown by their bytes. */
static void print_event_json(const struct event *event, bool with_data)
{
    char time[LOG_TIME_SIZE], producer[24];
    size_t size = (size_t)event->record.metadata_size;
    struct json_object *json = json_object_new_object();
    struct json_object *metadata = dango_json_parse((const char *)event->record.metadata, size, NULL);
    snprintf(producer, sizeof producer, "%" PRIx64, event->frame->producer);
    json_object_object_add(json, "id", json_object_new_uint64(event->id));
    json_object_object_add(json, "time", json_object_new_string(log_time(event->frame->timestamp_ns, time)));
    json_object_object_add(json, "producer", json_object_new_string(producer));
    json_object_object_add(json, "sequence", json_object_new_uint64(event->frame->sequence));
    if (metadata)
        json_object_object_add(json, "metadata", metadata);
    else
        log_add_hex(json, "metadata_hex", event->record.metadata, size);
    json_object_object_add(json, "data_size", json_object_new_uint64(event->record.data_size));
    if (with_data)
        log_add_hex(json, "data_hex", event->data, (size_t)event->record.data_size);
    log_print_json(json);
}

/* The walk has taken the records apart already: they are sound. */
static int show_frame(void *arg, const struct mofka_inspected_chunk *chunk, const struct mofka_scan_item *item)
{
    struct dump *dump = arg;
    const struct mofka_frame *frame = item->frame;
    const unsigned char *at = (const unsigned char *)(frame + 1);
    size_t left = (size_t)frame->records_size;
    struct event event = {.frame = frame, .id = frame->first_id, .data = at + left};
    (void)chunk;
    for (; event.id < frame->first_id + frame->count && dump->left > 0; event.id++) {
        size_t size = diaspora_record_get(at, left, &event.record);
        assert(size > 0);
        if (event.id >= dump->from) {
            (dump->fields->json ? print_event_json : print_event)(&event, dump->fields->data);
            dump->left--;
        }
        event.data += event.record.data_size;
        at += size;
        left -= size;
    }
    return dump->left == 0 || ferror(stdout);
}

static int show_finding(void *arg, const struct mofka_finding *finding)
{
    struct dump *dump = arg;
    if (finding->severity > dump->worst)
        dump->worst = finding->severity;
    if (dump->fields->json) {
        struct json_object *json = json_object_new_object();
        json_object_object_add(json, "finding", log_finding_json(finding));
        log_print_json(json);
    } else {
        printf("# ");
        log_print_finding(stdout, dump->inspection, finding);
    }
    return 0;
}

static int parse_id(const char *text, uint64_t *id, struct dango_error *err)
{
    char *end;
    errno = 0;
    *id = strtoull(text, &end, 10);
    if (errno != 0 || end == text || *end || text[0] < '0' || text[0] > '9')
        return dango_error_set(err, DANGO_ERR_INVALID, "--from: expected the id of an event (0, 1, …), got \"%s\"",
                               text);
    return 0;
}

static int run(const struct log_fields *fields, struct mofka_inspection *inspection, struct dango_error *err)
{
    struct dump dump = {
        .fields = fields, .inspection = inspection, .left = fields->count ? (uint64_t)fields->count : UINT64_MAX};
    struct mofka_inspect_visitor visitor = {show_frame, show_finding, &dump};
    if (fields->from && parse_id(fields->from, &dump.from, err) < 0)
        return LOG_FAILED;
    bool ended = dango_mofka_inspect_walk(inspection, dump.from, MOFKA_INSPECT_CONTENTS, &visitor) == 0;
    if (ended && dump.from > inspection->next_id)
        return dango_error_set(err, DANGO_ERR_RANGE, "--from: the log ends before event %" PRIu64, inspection->next_id),
               LOG_FAILED;
    return (int)dump.worst;
}

static const struct cli_option options[] = {
    LOG_PATHS("DIR", "the partition (<path>/<topic>-<uuid>), or a directory that holds just one"),
    {"from", 0, CLI_TEXT, false, offsetof(struct log_fields, from), "ID", "begin with this event"},
    {"count", 0, CLI_COUNT, false, offsetof(struct log_fields, count), "N", "end after so many events"},
    {"data", 0, CLI_FLAG, false, offsetof(struct log_fields, data), NULL, "show the data, too, in hexadecimal digits"},
    LOG_JSON,
    LOG_HELP,
};

const struct log_command log_dump = {
    .name = "dump",
    .usage = "DIR [OPTIONS]",
    .details = "Shows events, one a line: id, time of arrival, producer and sequence number of the batch, size of the\n"
               "data, metadata. What cannot be read is shown in its place, after a \"#\".\n",
    .options = options,
    .single = true,
    .run = run,
};
