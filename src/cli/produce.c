/*
 * diaspora-ctl produce: events from standard input, one per line (produce_lines.c), or from files (produce_files.c).
 *
 * Either of these returns when everything it pushed is stored or has failed, and counts what is stored: after an error
 * the summary says where to go on.
 */
#include "cli/cli.h"

#include "util/json.h"

#include <inttypes.h>

struct fields {
    struct cli_common common;
    const char *topic, *name, *files, *batch_size, *targets;
    bool raw;
};

static const struct cli_option options[] = {
    {"topic", 0, CLI_TEXT, true, offsetof(struct fields, topic), "NAME", "topic to send to"},
    {"files", 0, CLI_TEXT, false, offsetof(struct fields, files), "DIR", "send the files below a directory"},
    {"raw", 0, CLI_FLAG, false, offsetof(struct fields, raw), NULL, "lines are plain text; each becomes a JSON string"},
    {"name", 0, CLI_TEXT, false, offsetof(struct fields, name), "PRODUCER", "name of the producer"},
    {"batch-size", 0, CLI_TEXT, false, offsetof(struct fields, batch_size), "N|adaptive",
     "events per batch (default: adaptive)"},
    {"targets", 0, CLI_TEXT, false, offsetof(struct fields, targets), "N[,N...]", "send to these partitions only"},
    CLI_COMMON(struct fields),
};

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
    if (fields->targets && cli_targets(fields->targets, *json, err) != 0) {
        json_object_put(*json);
        *json = NULL;
        return err->code;
    }
    return 0;
}

static int produce_to(diaspora_producer *producer, const struct fields *fields, struct dango_error *err)
{
    struct cli_progress progress;
    char ending[80] = "";
    cli_progress_start(&progress, "sent");
    int status = fields->files ? cli_produce_files(producer, fields->files, &progress, err)
                               : cli_produce_lines(producer, fields->raw, &progress, err);
    if (status != 0 && progress.line > 0)
        snprintf(ending, sizeof ending, " before the error; go on after line %" PRIu64, progress.line);
    else if (status != 0)
        snprintf(ending, sizeof ending, " before the error");
    cli_progress_summary(&progress, ending);
    if (status != 0)
        return status;
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
        "Sends one event per line of standard input: the line, a JSON text, is the metadata (with --raw any UTF-8\n"
        "text, sent as a JSON string). Empty lines and lines of white space are skipped. A line that is not JSON\n"
        "(with --raw: not UTF-8), or longer than the 64 MiB that an event may have, is reported and skipped.\n"
        "\n"
        "With --files, sends one event per regular file below DIR: metadata {\"name\",\"size\",\"mode\",\"mtime\"},\n"
        "the content is the data; \"name\" is relative to DIR, \"mode\" the permission bits, \"mtime\" in seconds.\n"
        "Symbolic links are skipped and counted; unreadable files are reported and counted as failures.\n"
        "\n"
        "Ends at the end of the input, when everything is stored. An error that ends it early (the server is gone)\n"
        "is preceded by the number of events that are stored, and the line after which to go on.\n"
        "Exit status 0 if all went well, 1 if anything failed.\n"
        "SIGINT and SIGTERM end it early, with what was read stored (exit status 130, 143).\n",
    .options = options,
    .fields_size = sizeof(struct fields),
    .run = produce,
};
