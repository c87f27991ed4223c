/*
 * A producer or consumer for the scenarios of tests/scenario: a process over the public API that says on standard
 * output what it does, one line each, so that a test can wait for it, kill it, and compare.
 *
 *     mofka-peer create  GROUP TOPIC OPTIONS
 *     mofka-peer admin   GROUP                              keeps one driver open, and does what the lines of its standard
 *                                                           input say: "create TOPIC OPTIONS", "open TOPIC", "delete
 *                                                           TOPIC", and to a topic that it keeps open: "keep TOPIC",
 *                                                           "positions", "reset CONSUMER ID", "complete"; says "done",
 *                                                           the positions, or "error" for each
 *     mofka-peer produce GROUP TOPIC COUNT BATCH DATA [FIRST]
 *                                                           COUNT events (0: for ever), DATA bytes of data each,
 *                                                           batches of BATCH events (0: adaptive), numbered from FIRST
 *     mofka-peer scatter GROUP TOPIC COUNT SEGMENTS         COUNT events in batches of one, pushed without waiting;
 *                                                           every fifth has data in SEGMENTS pieces of memory
 *     mofka-peer consume GROUP TOPIC NAME COUNT DATA        COUNT events (0: for ever), DATA: none | all
 *     mofka-peer follow  GROUP TOPIC NAME DATA              everything, for ever: says "from PARTITION FIRST END" (the
 *                                                           extents), "run PARTITION ID NUMBER COUNT" for consecutive
 *                                                           ids, numbers going to the partitions in turn; unless the
 *                                                           name begins with "-" acknowledges what it has said, and
 *                                                           says "acked PARTITION ID"
 *     mofka-peer list    GROUP TOPIC NAME                   checks all events there are in partition 0, acknowledges the
 *                                                           last, says "run NUMBER COUNT" for consecutive numbers
 *     mofka-peer extent  GROUP TOPIC NAME                   says "extent FIRST END" of partition 0
 *     mofka-peer partitions GROUP TOPIC                     says what each partition is, in order, a JSON object a line
 *
 * Event i of a producer has the metadata {"i":<i>} and data in which byte k is (unsigned char)(i + k).
 *
 * In the environment:
 *     PEER_RECONNECT_MS     how long a server that is lost is looked for; else it is tried once
 *     PEER_BATCHES          produce: flush after that many batches instead of each
 *     PEER_TARGETS          produce, consume: option "targets", such as "[0, 2]"
 *     PEER_EARLY            produce: ask for early answers, and go on after a flush that failed
 *     PEER_PAUSE_US         produce: rests after each flush
 *     PEER_GO_ON            produce: an event whose fate is unknown is no end: says "unknown N" for those up to N
 *     PEER_EXACT            consume: the id of event i must be i
 *
 * Lines: "ready", "stored N" (after each flush), "got N" (every 1000 events and at the end, acknowledged), "error CODE:
 * text". Exit status: 0, 1 after an error of the library (which is printed), 2 when content is wrong.
 */
#include <diaspora/diaspora.h>

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static diaspora_error err = DIASPORA_ERROR_INIT;

static int failed(void)
{
    printf("error %d: %s\n", err.code, err.text);
    return 1;
}

static diaspora_driver *open_driver(const char *group_file)
{
    char options[4200];
    const char *patience_ms = getenv("PEER_RECONNECT_MS");
    snprintf(options, sizeof options, "{\"group_file\": \"%s\", \"reconnect_timeout_ms\": %s}", group_file,
             patience_ms ? patience_ms : "0");
    return diaspora_driver_open("mofka", options, &err);
}

static int create(const char *group_file, const char *topic, const char *options)
{
    diaspora_driver *driver = open_driver(group_file);
    int code = driver ? diaspora_topic_create(driver, topic, options, NULL, &err) : err.code;
    diaspora_driver_close(driver);
    return code == 0 ? 0 : failed();
}

static int open_once(diaspora_driver *driver, const char *name)
{
    diaspora_topic *topic = diaspora_topic_open(driver, name, &err);
    diaspora_topic_close(topic);
    return topic ? 0 : err.code;
}

static int say_positions(diaspora_topic *topic)
{
    char *positions = diaspora_topic_positions(topic, &err);
    if (positions)
        puts(positions);
    free(positions);
    return positions ? 0 : failed();
}

static int reset(diaspora_topic *topic, const char *consumer, uint64_t id)
{
    char options[64];
    snprintf(options, sizeof options, "{\"to\": %" PRIu64 "}", id);
    return diaspora_topic_reset_position(topic, consumer, options, &err);
}

static int admin(const char *group_file)
{
    char line[4096], topic[257], options[3500];
    uint64_t id;
    diaspora_topic *kept = NULL;
    diaspora_driver *driver = open_driver(group_file);
    if (!driver)
        return failed();
    puts("ready");
    while (fgets(line, sizeof line, stdin)) {
        int code = -1;
        if (sscanf(line, "create %256s %3499[^\n]", topic, options) == 2)
            code = diaspora_topic_create(driver, topic, options, NULL, &err);
        else if (sscanf(line, "open %256s", topic) == 1)
            code = open_once(driver, topic);
        else if (sscanf(line, "delete %256s", topic) == 1)
            code = diaspora_topic_delete(driver, topic, NULL, &err);
        else if (sscanf(line, "keep %256s", topic) == 1)
            code = (kept = diaspora_topic_open(driver, topic, &err)) ? 0 : err.code;
        else if (sscanf(line, "reset %256s %" SCNu64, topic, &id) == 2)
            code = reset(kept, topic, id);
        else if (strcmp(line, "complete\n") == 0)
            code = diaspora_topic_complete(kept, &err);
        else if (strcmp(line, "positions\n") == 0) {
            say_positions(kept);
            continue;
        }
        if (code == 0)
            puts("done");
        else
            failed();
    }
    diaspora_topic_close(kept);
    diaspora_driver_close(driver);
    return 0;
}

/* ", "targets": …" for the options of a producer or consumer, or nothing. */
static const char *targets(void)
{
    static char text[256];
    const char *list = getenv("PEER_TARGETS");
    if (list)
        snprintf(text, sizeof text, ", \"targets\": %s", list);
    return text;
}

/* ---- produce ---- */

static bool early;

static int push_one(diaspora_producer *producer, uint64_t i, unsigned char *data, size_t size)
{
    char text[48];
    int length = snprintf(text, sizeof text, "{\"i\":%" PRIu64 "}", i);
    for (size_t k = 0; k < size; k++)
        data[k] = (unsigned char)(i + k);
    return diaspora_push(producer, text, (size_t)length, DIASPORA_DATA(data, size), NULL, &err);
}

static useconds_t pause_us;
static bool go_on;

static int forgive(int code, uint64_t end)
{
    if (!go_on || code != DIASPORA_CORRUPT)
        return code;
    printf("unknown %" PRIu64 ": %s\n", end, err.text);
    return 0;
}

static int push_all(diaspora_producer *producer, uint64_t first, uint64_t count, uint64_t flush_every, size_t size)
{
    unsigned char *data = malloc(size * flush_every + 1); /* the library reads it until the flush */
    int code = 0;
    for (uint64_t i = 0; code == 0 && (count == 0 || i < count); i++) {
        code = push_one(producer, first + i, data + (i % flush_every) * size, size);
        if (code == 0 && ((i + 1) % flush_every == 0 || i + 1 == count)) {
            code = diaspora_flush(producer, DIASPORA_FOREVER, &err);
            if (code == 0)
                printf("stored %" PRIu64 "\n", i + 1);
            else if (early)
                code = (failed(), 0);
            else
                code = forgive(code, i + 1);
            usleep(pause_us);
        }
    }
    free(data);
    return code;
}

static int produce(const char *group_file, const char *name, uint64_t first, uint64_t count, uint64_t batch,
                   size_t size)
{
    char options[320], batch_size[32] = "\"adaptive\"";
    if (batch > 0)
        snprintf(batch_size, sizeof batch_size, "%" PRIu64, batch);
    snprintf(options, sizeof options, "{\"batch_size\": %s, \"ack_early\": %s%s}", batch_size, early ? "true" : "false",
             targets());
    diaspora_driver *driver = open_driver(group_file);
    diaspora_topic *topic = driver ? diaspora_topic_open(driver, name, &err) : NULL;
    diaspora_producer *producer = topic ? diaspora_producer_open(topic, options, &err) : NULL;
    int code = producer ? 0 : err.code;
    if (code == 0) {
        puts("ready");
        const char *batches = getenv("PEER_BATCHES");
        uint64_t flush_every = (batch > 0 ? batch : 100) * (batches ? strtoull(batches, NULL, 10) : 1);
        code = push_all(producer, first, count, flush_every, size);
    }
    int status = code == 0 ? 0 : failed();
    diaspora_producer_close(producer);
    diaspora_topic_close(topic);
    diaspora_driver_close(driver);
    return status;
}

#define PIECE 20 /* bytes */

/* Pieces with gaps between them; the first of two in `memory`, which has room for 2 * count. */
static void scatter_data(uint64_t i, unsigned char *memory, diaspora_segment *segments, size_t count)
{
    for (size_t k = 0; k < count * PIECE; k++)
        memory[k / PIECE * 2 * PIECE + k % PIECE] = (unsigned char)(i + k);
    for (size_t s = 0; s < count; s++)
        segments[s] = (diaspora_segment){memory + s * 2 * PIECE, PIECE};
}

static int push_scattered(diaspora_producer *producer, uint64_t count, size_t pieces)
{
    unsigned char *memory = malloc((count / 5 + 1) * pieces * 2 * PIECE);
    diaspora_segment *segments = malloc(pieces * sizeof *segments);
    int code = 0;
    for (uint64_t i = 0; code == 0 && i < count; i++) {
        char text[48];
        int length = snprintf(text, sizeof text, "{\"i\":%" PRIu64 "}", i);
        if (i % 5 == 0)
            scatter_data(i, memory + i / 5 * pieces * 2 * PIECE, segments, pieces);
        code = diaspora_push(producer, text, (size_t)length, segments, i % 5 == 0 ? pieces : 0, NULL, &err);
    }
    int flushed = diaspora_flush(producer, DIASPORA_FOREVER, code == 0 ? &err : NULL);
    free(segments);
    free(memory);
    return code != 0 ? code : flushed;
}

static int scatter(const char *group_file, const char *name, uint64_t count, size_t pieces)
{
    diaspora_driver *driver = open_driver(group_file);
    diaspora_topic *topic = driver ? diaspora_topic_open(driver, name, &err) : NULL;
    diaspora_producer *producer = topic ? diaspora_producer_open(topic, "{\"batch_size\": 1}", &err) : NULL;
    int code = producer ? push_scattered(producer, count, pieces) : err.code;
    int status = code == 0 ? 0 : failed();
    diaspora_producer_close(producer);
    diaspora_topic_close(topic);
    diaspora_driver_close(driver);
    return status;
}

/* ---- consume ---- */

static bool exact; /* events are numbered as their producer did */

static int check_event(const diaspora_event *event, bool with_data)
{
    uint64_t i;
    if (sscanf(diaspora_event_metadata(event), "{\"i\":%" SCNu64 "}", &i) != 1)
        return 2;
    if (exact && diaspora_event_id(event) != i)
        return 2;
    if (!with_data)
        return 0;
    const unsigned char *data = diaspora_event_data(event);
    uint64_t size = diaspora_event_data_size(event);
    if (size != diaspora_event_data_total(event))
        return 2;
    for (uint64_t k = 0; k < size; k++)
        if (data[k] != (unsigned char)(i + k))
            return 2;
    return 0;
}

static uint64_t count; /* to be consumed; 0: for ever */
static bool with_data;

static int pull_all(diaspora_consumer *consumer)
{
    puts("ready");
    uint64_t got = 0;
    int status = 0;
    while (status == 0 && (count == 0 || got < count)) {
        diaspora_event *event;
        if (diaspora_pull(consumer, DIASPORA_FOREVER, &event, &err) != 0) {
            if (failed(), err.code != DIASPORA_CORRUPT)
                return 1;
            continue; /* behind the damage */
        }
        status = check_event(event, with_data);
        if (status != 0)
            printf("wrong content in event %" PRIu64 ": %s\n", diaspora_event_id(event),
                   diaspora_event_metadata(event));
        if (++got % 1000 == 0 || got == count) {
            if (status == 0 && diaspora_event_acknowledge(event, &err) != 0)
                status = failed();
            if (status == 0)
                printf("got %" PRIu64 "\n", got);
        }
        diaspora_event_release(event);
    }
    return status;
}

/* ---- follow ---- */

#define PARTITIONS_MAX 8
#define SAY_EVERY      100
#define ACK_EVERY      500 /* events of a partition */
#define IDLE_MS        100

/* What was read of a partition, and not said yet. */
static struct run {
    uint64_t next_id, next_number; /* of the event that would continue it */
    uint64_t length, unacknowledged;
} runs[PARTITIONS_MAX];
static size_t partitions;

static void say_run(size_t partition)
{
    struct run *run = &runs[partition];
    if (run->length > 0)
        printf("run %zu %" PRIu64 " %" PRIu64 " %" PRIu64 "\n", partition, run->next_id - run->length,
               run->next_number - run->length * partitions, run->length);
    run->length = 0;
}

static int note_event(const diaspora_event *event)
{
    struct run *run = &runs[diaspora_event_partition(event)];
    uint64_t i, id = diaspora_event_id(event);
    if (check_event(event, with_data) != 0 || sscanf(diaspora_event_metadata(event), "{\"i\":%" SCNu64 "}", &i) != 1)
        return 2;
    if (id != run->next_id || i != run->next_number)
        say_run(diaspora_event_partition(event));
    run->next_id = id + 1;
    run->next_number = i + partitions;
    run->unacknowledged++;
    if (++run->length >= SAY_EVERY)
        say_run(diaspora_event_partition(event));
    return 0;
}

/* Positions are those of partitions: `event` is the last one of its own. */
static int acknowledge(diaspora_event *event)
{
    size_t partition = diaspora_event_partition(event);
    say_run(partition);
    if (diaspora_event_acknowledge(event, &err) != 0)
        return failed();
    printf("acked %zu %" PRIu64 "\n", partition, diaspora_event_id(event));
    runs[partition].unacknowledged = 0;
    return 0;
}

static bool acknowledging;

/* When nothing comes, says and acknowledges what it has: `last` are the last events of partitions. */
static int settle(diaspora_event **last)
{
    int status = 0;
    for (size_t p = 0; p < PARTITIONS_MAX && status == 0; p++) {
        say_run(p);
        if (acknowledging && last[p] && runs[p].unacknowledged > 0)
            status = acknowledge(last[p]);
    }
    return status;
}

static int follow_all(diaspora_consumer *consumer)
{
    diaspora_event *last[PARTITIONS_MAX] = {NULL}, *event;
    uint64_t first, end;
    int status = 0;
    for (; partitions < PARTITIONS_MAX && diaspora_consumer_extent(consumer, partitions, &first, &end, NULL) == 0;
         partitions++)
        printf("from %zu %" PRIu64 " %" PRIu64 "\n", partitions, first, end);
    puts("ready");
    while (status == 0) {
        int code = diaspora_pull(consumer, IDLE_MS, &event, &err);
        if (code == DIASPORA_TIMEOUT) {
            status = settle(last);
        } else if (code != 0) {
            settle(last);
            status = failed();
        } else {
            size_t partition = diaspora_event_partition(event);
            if (last[partition])
                diaspora_event_release(last[partition]);
            last[partition] = event;
            status = note_event(event);
            if (status == 0 && acknowledging && runs[partition].unacknowledged >= ACK_EVERY)
                status = acknowledge(event);
        }
    }
    for (size_t p = 0; p < PARTITIONS_MAX; p++)
        if (last[p])
            diaspora_event_release(last[p]);
    return status;
}

/* ---- list ---- */

/* From the consumer's position to where the partition ends now. */
static int list_all(diaspora_consumer *consumer)
{
    uint64_t first, end, next, run = 0, length = 0;
    if (diaspora_consumer_extent(consumer, 0, &first, &end, &err) != 0)
        return failed();
    for (next = first; next < end; next++) {
        diaspora_event *event;
        uint64_t i;
        if (diaspora_pull(consumer, DIASPORA_FOREVER, &event, &err) != 0)
            return failed();
        if (sscanf(diaspora_event_metadata(event), "{\"i\":%" SCNu64 "}", &i) != 1 || check_event(event, true) != 0 ||
            diaspora_event_id(event) != next)
            return 2;
        if (length > 0 && i != run + length) {
            printf("run %" PRIu64 " %" PRIu64 "\n", run, length);
            length = 0;
        }
        if (length++ == 0)
            run = i;
        if (next + 1 == end && diaspora_event_acknowledge(event, &err) != 0)
            return failed();
        diaspora_event_release(event);
    }
    if (length > 0)
        printf("run %" PRIu64 " %" PRIu64 "\n", run, length);
    return 0;
}

static int print_extent(diaspora_consumer *consumer)
{
    uint64_t first, end;
    if (diaspora_consumer_extent(consumer, 0, &first, &end, &err) != 0)
        return failed();
    printf("extent %" PRIu64 " %" PRIu64 "\n", first, end);
    return 0;
}

static int consume(const char *group_file, const char *name, const char *consumer_name, const char *data,
                   int (*body)(diaspora_consumer *consumer))
{
    char options[512];
    snprintf(options, sizeof options, "{\"name\": \"%s\", \"data\": \"%s\"%s}", consumer_name, data, targets());
    diaspora_driver *driver = open_driver(group_file);
    diaspora_topic *topic = driver ? diaspora_topic_open(driver, name, &err) : NULL;
    diaspora_consumer *consumer = topic ? diaspora_consumer_open(topic, options, &err) : NULL;
    int status = consumer ? body(consumer) : failed();
    diaspora_consumer_close(consumer);
    diaspora_topic_close(topic);
    diaspora_driver_close(driver);
    return status;
}

static int print_partitions(const char *group_file, const char *name)
{
    diaspora_driver *driver = open_driver(group_file);
    diaspora_topic *topic = driver ? diaspora_topic_open(driver, name, &err) : NULL;
    int status = topic ? 0 : failed();
    for (size_t i = 0; topic && i < diaspora_topic_num_partitions(topic); i++)
        puts(diaspora_topic_partition_info(topic, i));
    diaspora_topic_close(topic);
    diaspora_driver_close(driver);
    return status;
}

int main(int argc, char **argv)
{
    setvbuf(stdout, NULL, _IOLBF, 0);
    exact = getenv("PEER_EXACT") != NULL;
    early = getenv("PEER_EARLY") != NULL;
    go_on = getenv("PEER_GO_ON") != NULL;
    pause_us = (useconds_t)strtoul(getenv("PEER_PAUSE_US") ? getenv("PEER_PAUSE_US") : "0", NULL, 10);
    if (argc == 5 && strcmp(argv[1], "create") == 0)
        return create(argv[2], argv[3], argv[4]);
    if (argc == 3 && strcmp(argv[1], "admin") == 0)
        return admin(argv[2]);
    if ((argc == 7 || argc == 8) && strcmp(argv[1], "produce") == 0)
        return produce(argv[2], argv[3], argc == 8 ? strtoull(argv[7], NULL, 10) : 0, strtoull(argv[4], NULL, 10),
                       strtoull(argv[5], NULL, 10), strtoull(argv[6], NULL, 10));
    if (argc == 6 && strcmp(argv[1], "scatter") == 0)
        return scatter(argv[2], argv[3], strtoull(argv[4], NULL, 10), strtoull(argv[5], NULL, 10));
    if (argc == 7 && strcmp(argv[1], "consume") == 0) {
        count = strtoull(argv[5], NULL, 10);
        with_data = strcmp(argv[6], "all") == 0;
        return consume(argv[2], argv[3], argv[4], argv[6], pull_all);
    }
    if (argc == 6 && strcmp(argv[1], "follow") == 0) {
        with_data = strcmp(argv[5], "all") == 0;
        acknowledging = argv[4][0] != '-';
        return consume(argv[2], argv[3], argv[4], argv[5], follow_all);
    }
    if (argc == 5 && strcmp(argv[1], "list") == 0)
        return consume(argv[2], argv[3], argv[4], "all", list_all);
    if (argc == 5 && strcmp(argv[1], "extent") == 0)
        return consume(argv[2], argv[3], argv[4], "none", print_extent);
    if (argc == 4 && strcmp(argv[1], "partitions") == 0)
        return print_partitions(argv[2], argv[3]);
    fprintf(stderr, "usage: see the head of peer.c\n");
    return 2;
}
