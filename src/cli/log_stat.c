/*
 * mofka-log stat: identity, extent, sizes and consumers of partitions.
 */
#include "cli/log.h"

#include "diaspora/record.h"

#include <inttypes.h>

struct stat_totals {
    const struct mofka_inspection *inspection;
    uint64_t frames, events, bytes, metadata, data;
    uint64_t first_id, first_ns, last_id, last_ns; /* when there are events */
    uint64_t damaged_places, damaged_events;
    bool complete;
    enum mofka_severity worst;
    struct mofka_inspected_cursor *cursors;
    size_t num_cursors;
};

static uint64_t metadata_size(const struct mofka_frame *frame)
{
    const unsigned char *at = (const unsigned char *)(frame + 1);
    size_t left = (size_t)frame->records_size, size;
    struct diaspora_record record;
    uint64_t total = 0;
    for (; left > 0 && (size = diaspora_record_get(at, left, &record)) > 0; at += size, left -= size)
        total += record.metadata_size;
    return total;
}

static int count_frame(void *arg, const struct mofka_inspected_chunk *chunk, const struct mofka_scan_item *item)
{
    struct stat_totals *totals = arg;
    const struct mofka_frame *frame = item->frame;
    (void)chunk;
    totals->complete = totals->complete || frame->flags & MOFKA_FRAME_END_OF_STREAM;
    totals->frames++;
    if (frame->count == 0)
        return 0;
    if (totals->events == 0) {
        totals->first_id = frame->first_id;
        totals->first_ns = frame->timestamp_ns;
    }
    totals->last_id = frame->first_id + frame->count - 1;
    totals->last_ns = frame->timestamp_ns;
    totals->events += frame->count;
    totals->data += frame->data_size;
    totals->metadata += metadata_size(frame);
    return 0;
}

static int count_finding(void *arg, const struct mofka_finding *finding)
{
    struct stat_totals *totals = arg;
    if (finding->severity > totals->worst)
        totals->worst = finding->severity;
    if (finding->severity == MOFKA_NOTE)
        return 0;
    totals->damaged_places++;
    totals->damaged_events += finding->events;
    return 0;
}

static uint64_t overhead(const struct stat_totals *totals)
{
    uint64_t payload = totals->metadata + totals->data;
    return totals->bytes > payload ? totals->bytes - payload : 0;
}

static double per_event(const struct stat_totals *totals, uint64_t bytes)
{
    return totals->events ? (double)bytes / (double)totals->events : 0;
}

static void print_sizes(const struct stat_totals *totals)
{
    const struct {
        const char *name;
        uint64_t bytes;
    } rows[] = {{"metadata", totals->metadata}, {"data", totals->data}, {"overhead", overhead(totals)}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        printf("  %-10s %" PRIu64 " bytes, %.1f per event\n", rows[i].name, rows[i].bytes,
               per_event(totals, rows[i].bytes));
}

static void print(const struct stat_totals *totals)
{
    const struct mofka_inspection *inspection = totals->inspection;
    char first[LOG_TIME_SIZE], last[LOG_TIME_SIZE];
    printf("%s\n  topic      %s\n  uuid       %s\n  format     %" PRId64 "\n", inspection->path, inspection->topic,
           inspection->uuid_text, inspection->format);
    if (inspection->holder != 0)
        printf("  open       by process %d\n", (int)inspection->holder);
    printf("  chunks     %zu, %" PRIu64 " bytes\n  frames     %" PRIu64 "\n  events     %" PRIu64 "%s\n",
           inspection->num_chunks, totals->bytes, totals->frames, totals->events,
           totals->complete ? ", the stream is complete" : "");
    if (totals->events > 0) {
        printf("  first      %" PRIu64 " at %s\n  last       %" PRIu64 " at %s\n", totals->first_id,
               log_time(totals->first_ns, first), totals->last_id, log_time(totals->last_ns, last));
        print_sizes(totals);
    }
    if (totals->damaged_places > 0)
        printf("  damage     %" PRIu64 " places, %" PRIu64 " events: see mofka-log verify %s\n", totals->damaged_places,
               totals->damaged_events, inspection->path);
    for (size_t i = 0; i < totals->num_cursors; i++) {
        printf("  consumer   ");
        log_print_escaped(stdout, (const unsigned char *)totals->cursors[i].name, strlen(totals->cursors[i].name));
        printf(": next is event %" PRIu64 "\n", totals->cursors[i].next_id);
    }
}

static struct json_object *moment(uint64_t id, uint64_t time_ns)
{
    char time[LOG_TIME_SIZE];
    struct json_object *json = json_object_new_object();
    json_object_object_add(json, "id", json_object_new_uint64(id));
    json_object_object_add(json, "time", json_object_new_string(log_time(time_ns, time)));
    return json;
}

static struct json_object *positions(const struct stat_totals *totals)
{
    struct json_object *list = json_object_new_array();
    for (size_t i = 0; i < totals->num_cursors; i++) {
        struct json_object *cursor = json_object_new_object();
        json_object_object_add(cursor, "consumer", json_object_new_string(totals->cursors[i].name));
        json_object_object_add(cursor, "next_id", json_object_new_uint64(totals->cursors[i].next_id));
        json_object_array_add(list, cursor);
    }
    return list;
}

static void print_json(const struct stat_totals *totals)
{
    const struct mofka_inspection *inspection = totals->inspection;
    const struct {
        const char *name;
        uint64_t number;
    } numbers[] = {{"chunks", inspection->num_chunks},
                   {"frames", totals->frames},
                   {"events", totals->events},
                   {"log_bytes", totals->bytes},
                   {"metadata_bytes", totals->metadata},
                   {"data_bytes", totals->data},
                   {"overhead_bytes", overhead(totals)},
                   {"damaged_places", totals->damaged_places},
                   {"damaged_events", totals->damaged_events}};
    struct json_object *json = json_object_new_object();
    json_object_object_add(json, "directory", json_object_new_string(inspection->path));
    json_object_object_add(json, "topic", json_object_new_string(inspection->topic));
    json_object_object_add(json, "uuid", json_object_new_string(inspection->uuid_text));
    json_object_object_add(json, "format", json_object_new_int64(inspection->format));
    json_object_object_add(json, "open_by",
                           inspection->holder ? json_object_new_int64((int64_t)inspection->holder) : NULL);
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        json_object_object_add(json, numbers[i].name, json_object_new_uint64(numbers[i].number));
    json_object_object_add(json, "overhead_per_event", json_object_new_double(per_event(totals, overhead(totals))));
    json_object_object_add(json, "complete", json_object_new_boolean(totals->complete));
    json_object_object_add(json, "first", totals->events ? moment(totals->first_id, totals->first_ns) : NULL);
    json_object_object_add(json, "last", totals->events ? moment(totals->last_id, totals->last_ns) : NULL);
    json_object_object_add(json, "positions", positions(totals));
    log_print_json(json);
}

static int run(const struct log_fields *fields, struct mofka_inspection *inspection, struct dango_error *err)
{
    struct stat_totals totals = {.inspection = inspection};
    struct mofka_inspect_visitor visitor = {count_frame, count_finding, &totals};
    size_t whole, torn;
    for (size_t i = 0; i < inspection->num_chunks; i++)
        totals.bytes += inspection->chunks[i].size;
    dango_mofka_inspect_walk(inspection, 0, 0, &visitor);
    int status = dango_mofka_inspect_cursors(inspection, &totals.cursors, &totals.num_cursors, &whole, &torn, err);
    (fields->json ? print_json : print)(&totals);
    dango_mofka_inspect_free_cursors(totals.cursors, totals.num_cursors);
    if (status == DANGO_ERR_CORRUPT || inspection->identity_error.code != 0)
        totals.worst = totals.worst > MOFKA_DAMAGE ? totals.worst : MOFKA_DAMAGE;
    else if (status < 0)
        return LOG_FAILED;
    return (int)totals.worst;
}

static const struct cli_option options[] = {
    LOG_PATHS("DIR...", "partitions (<path>/<topic>-<uuid>), or directories that hold some (<path>)"),
    LOG_JSON,
    LOG_HELP,
};

const struct log_command log_stat = {
    .name = "stat",
    .usage = "DIR... [OPTIONS]",
    .details = "Tells what partitions hold: identity, chunks, events, sizes, first and last event, positions of\n"
               "consumers. Overhead is what the chunks hold besides metadata and data. Checksums of contents are not\n"
               "compared: that is what verify does.\n",
    .options = options,
    .run = run,
};
