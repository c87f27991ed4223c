/*
 * diaspora-ctl topic complete, topic delete.
 */
#include "cli/cli.h"

#include "util/log.h"

struct fields {
    struct cli_common common;
    const char *name;
    bool force, keep_data;
};

static const struct cli_option complete_options[] = {
    {"name", 0, CLI_TEXT, true, offsetof(struct fields, name), "NAME", "name of the topic"},
    CLI_COMMON(struct fields),
};

static int complete(void *args, struct dango_error *err)
{
    const struct fields *fields = args;
    diaspora_driver *driver;
    diaspora_topic *topic = cli_open_topic(&fields->common, fields->name, &driver, err);
    int status = topic ? diaspora_topic_complete(topic, err) : err->code;
    if (status == 0)
        log_info(CLI_LOG, "topic \"%s\" is complete", fields->name);
    diaspora_topic_close(topic);
    diaspora_driver_close(driver);
    return status;
}

const struct cli_command cli_topic_complete = {
    .name = "topic complete",
    .usage = "--name NAME ",
    .summary = "mark a topic as complete",
    .details =
        "No more events are taken, for ever: producers get an error, and consumers that have read everything are\n"
        "told that this was all. What producers had sent before is stored first. Marking a topic again does no\n"
        "harm.\n",
    .options = complete_options,
    .fields_size = sizeof(struct fields),
    .run = complete,
};

static const struct cli_option delete_options[] = {
    {"name", 0, CLI_TEXT, true, offsetof(struct fields, name), "NAME", "name of the topic"},
    {"force", 0, CLI_FLAG, false, offsetof(struct fields, force), NULL, "even while it has producers or consumers"},
    {"keep-data", 0, CLI_FLAG, false, offsetof(struct fields, keep_data), NULL, "leave its files where they are"},
    CLI_COMMON(struct fields),
};

static int delete (void *args, struct dango_error *err)
{
    const struct fields *fields = args;
    char options[64];
    snprintf(options, sizeof options, "{\"force\": %s, \"keep_data\": %s}", fields->force ? "true" : "false",
             fields->keep_data ? "true" : "false");
    diaspora_driver *driver = cli_connect(&fields->common, err);
    int status = driver ? diaspora_topic_delete(driver, fields->name, options, err) : err->code;
    if (status == 0)
        log_info(CLI_LOG, "topic \"%s\" deleted", fields->name);
    diaspora_driver_close(driver);
    return status;
}

const struct cli_command cli_topic_delete = {
    .name = "topic delete",
    .usage = "--name NAME ",
    .summary = "delete a topic with its events",
    .details =
        "Deletes the topic, its events and its positions, for ever; with --keep-data files stay where they are.\n"
        "Refused while it has producers or consumers; with --force those fail.\n"
        "\n"
        "When it is interrupted, the same command goes on. Servers that cannot be reached are passed over: what\n"
        "they have stored of the topic stays, and is named.\n",
    .options = delete_options,
    .fields_size = sizeof(struct fields),
    .run = delete,
};
