/*
 * diaspora-ctl topic complete.
 */
#include "cli/cli.h"

#include "util/log.h"

struct fields {
    struct cli_common common;
    const char *name;
};

static const struct cli_option options[] = {
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
    .options = options,
    .fields_size = sizeof(struct fields),
    .run = complete,
};
