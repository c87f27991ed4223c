/*
 * diaspora-ctl topic positions, topic positions reset, topic positions delete: the saved positions of consumers.
 */
#include "cli/cli.h"

#include "util/json.h"
#include "util/log.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

struct fields {
    struct cli_common common;
    const char *name, *consumer, *partition, *to;
    bool json, force;
};

/* ---- list ------------------------------------------------------------------------------------------------------ */

static const struct cli_option list_options[] = {
    {"name", 0, CLI_TEXT, true, offsetof(struct fields, name), "NAME", "name of the topic"},
    {"json", 0, CLI_FLAG, false, offsetof(struct fields, json), NULL, "as JSON, one object per partition"},
    CLI_COMMON(struct fields),
};

static uint64_t number(struct json_object *object, const char *name)
{
    return json_object_get_uint64(dango_json_get(object, name));
}

static void print_partition(size_t partition, struct json_object *state)
{
    uint64_t first = number(state, "first"), end = number(state, "end");
    struct json_object *positions = dango_json_get(state, "positions");
    json_object_object_foreach (positions, consumer, value) {
        uint64_t position = number(value, "position");
        uint64_t next = position < first ? first : position;
        printf("%-9zu %12" PRIu64 " %12" PRIu64 " %12" PRIu64 " %9" PRIu64 "  %s\n", partition, position, end - next,
               next - position, number(value, "connected"), consumer);
    }
}

static int print_positions(const char *text, struct dango_error *err)
{
    struct json_object *states = dango_json_parse(text, strlen(text), err);
    if (!states)
        return err->code;
    printf("%-9s %12s %12s %12s %9s  %s\n", "PARTITION", "POSITION", "BEHIND", "MISSED", "CONNECTED", "CONSUMER");
    for (size_t i = 0; i < json_object_array_length(states); i++)
        print_partition(i, json_object_array_get_idx(states, i));
    json_object_put(states);
    return 0;
}

static int list(void *args, struct dango_error *err)
{
    const struct fields *fields = args;
    diaspora_driver *driver = NULL;
    diaspora_topic *topic = cli_open_topic(&fields->common, fields->name, &driver, err);
    char *text = topic ? diaspora_topic_positions(topic, err) : NULL;
    int status = text ? 0 : err->code;
    if (text && fields->json)
        puts(text);
    else if (text)
        status = print_positions(text, err);
    free(text);
    diaspora_topic_close(topic);
    diaspora_driver_close(driver);
    return status;
}

const struct cli_command cli_topic_positions = {
    .name = "topic positions",
    .usage = "--name NAME ",
    .summary = "list the saved positions of consumers",
    .details =
        "Prints, for every partition and every consumer that has saved a position: the position (the id of the\n"
        "first event that it has not acknowledged), how many stored events are still before it, how many it has\n"
        "missed because they are no longer stored, and how many consumers of that name are connected.\n",
    .options = list_options,
    .fields_size = sizeof(struct fields),
    .run = list,
};

/* ---- reset and delete ------------------------------------------------------------------------------------------ */

#define NAME_OPTION                                                                                                    \
    {                                                                                                                  \
        "name", 0, CLI_TEXT, true, offsetof(struct fields, name), "NAME", "name of the topic"                          \
    }
#define CONSUMER_OPTION                                                                                                \
    {                                                                                                                  \
        "consumer", 0, CLI_TEXT, true, offsetof(struct fields, consumer), "NAME", "whose position"                     \
    }
#define PARTITION_OPTION                                                                                               \
    {                                                                                                                  \
        "partition", 0, CLI_TEXT, false, offsetof(struct fields, partition), "N",                                      \
            "index of the partition; all by default"                                                                   \
    }
#define FORCE_OPTION                                                                                                   \
    {                                                                                                                  \
        "force", 0, CLI_FLAG, false, offsetof(struct fields, force), NULL,                                             \
            "even while it is reading: its subscription ends"                                                          \
    }

static const struct cli_option reset_options[] = {
    NAME_OPTION,
    CONSUMER_OPTION,
    {"to", 0, CLI_TEXT, true, offsetof(struct fields, to), "WHERE", "first, last, an event id or a time"},
    PARTITION_OPTION,
    FORCE_OPTION,
    CLI_COMMON(struct fields),
};

static const struct cli_option delete_options[] = {
    NAME_OPTION, CONSUMER_OPTION, PARTITION_OPTION, FORCE_OPTION, CLI_COMMON(struct fields),
};

/* Adds the value that `text` stands for, if it is given. */
static int add_option(struct json_object *options, const char *name, const char *text, struct dango_error *err)
{
    struct json_object *value = text ? cli_component_value(text, err) : NULL;
    if (text && !value)
        return dango_error_prefix(err, "--%s", name);
    if (value)
        json_object_object_add(options, name, value);
    return 0;
}

typedef int (*change_function)(diaspora_topic *topic, const char *consumer, const char *options, diaspora_error *err);

static int change(const struct fields *fields, change_function function, const char *done, struct dango_error *err)
{
    diaspora_driver *driver = NULL;
    diaspora_topic *topic = NULL;
    struct json_object *options = json_object_new_object();
    json_object_object_add(options, "force", json_object_new_boolean(fields->force));
    int status = add_option(options, "to", fields->to, err);
    if (status == 0)
        status = add_option(options, "partition", fields->partition, err);
    if (status == 0) {
        topic = cli_open_topic(&fields->common, fields->name, &driver, err);
        status = topic ? function(topic, fields->consumer, json_object_to_json_string(options), err) : err->code;
    }
    if (status == 0)
        log_info(CLI_LOG, "topic \"%s\": position of consumer \"%s\" %s", fields->name, fields->consumer, done);
    json_object_put(options);
    diaspora_topic_close(topic);
    diaspora_driver_close(driver);
    return status;
}

static int reset(void *args, struct dango_error *err)
{
    return change(args, diaspora_topic_reset_position, "moved", err);
}

static int delete (void *args, struct dango_error *err)
{
    return change(args, diaspora_topic_delete_position, "deleted", err);
}

#define LIVE_CONSUMERS                                                                                                 \
    "\n"                                                                                                               \
    "While consumers of that name are connected this is refused; with --force they are shut out first: what they\n"    \
    "ask for from then on fails, and acknowledgements that are still under way do not count.\n"

const struct cli_command cli_topic_positions_reset = {
    .name = "topic positions reset",
    .usage = "--name NAME --consumer NAME --to WHERE ",
    .summary = "move a consumer's position",
    .details = "Makes the next consumer of that name start somewhere else: at the \"first\" stored event, behind the\n"
               "\"last\" one, at an id, or at the first event that came at a time or later (2025-01-31T12:00:00 local\n"
               "time, with a Z at the end UTC). The position is durable when the command ends.\n" LIVE_CONSUMERS,
    .options = reset_options,
    .fields_size = sizeof(struct fields),
    .run = reset,
};

const struct cli_command cli_topic_positions_delete = {
    .name = "topic positions delete",
    .usage = "--name NAME --consumer NAME ",
    .summary = "forget a consumer's position",
    .details = "As if no consumer of that name had ever been there: the next one starts at the first "
               "event.\n" LIVE_CONSUMERS,
    .options = delete_options,
    .fields_size = sizeof(struct fields),
    .run = delete,
};
