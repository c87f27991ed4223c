/*
 * diaspora-ctl topic import: a topic from what its partitions have left on storage.
 */
#include "cli/cli.h"

#include "util/json.h"
#include "util/log.h"

struct import_fields {
    struct cli_common common;
    const char *name;
    struct cli_words words;
    struct cli_component topic;
};

static const struct cli_option import_options[] = {
    {"name", 0, CLI_TEXT, false, offsetof(struct import_fields, name), "NAME", "name of the topic"},
    {"NAME", 0, CLI_WORDS, false, offsetof(struct import_fields, words), "NAME", "the same"},
    {"topic", 0, CLI_COMPONENT, false, offsetof(struct import_fields, topic), NULL,
     "options of the topic, as a JSON file"},
    CLI_COMMON(struct import_fields),
};

/* The one name that was given, either way. */
static const char *find_name(const struct import_fields *fields, struct dango_error *err)
{
    size_t count = fields->words.count + (fields->name != NULL);
    if (count == 1)
        return fields->name ? fields->name : fields->words.list[0];
    if (count == 0)
        dango_error_set(err, DANGO_ERR_INVALID, "which topic? Add --name NAME");
    else
        dango_error_set(err, DANGO_ERR_INVALID, "%zu names are given: import one topic at a time", count);
    return NULL;
}

static int import_topic(const struct cli_common *common, const char *name, const char *options, struct dango_error *err)
{
    diaspora_driver *driver = cli_connect(common, err);
    if (!driver)
        return err->code;
    int status = diaspora_topic_import(driver, name, options, err);
    if (status == 0)
        log_info(CLI_LOG, "topic \"%s\" imported", name);
    diaspora_driver_close(driver);
    return status;
}

static int import(void *args, struct dango_error *err)
{
    const struct import_fields *fields = args;
    struct json_object *options = NULL;
    const char *name = find_name(fields, err);
    int status = name ? cli_component_json(&fields->topic, "topic", &options, err) : err->code;
    if (status == 0)
        status = import_topic(&fields->common, name, json_object_to_json_string(options), err);
    json_object_put(options);
    return status;
}

const struct cli_command cli_topic_import = {
    .name = "topic import",
    .usage = "NAME ",
    .summary = "make a topic from the files of its partitions",
    .details =
        "Takes up all partitions of a topic that lie in a directory, after the database that knew them was lost:\n"
        "--topic.config.type default --topic.config.partition.path DIR, and other options as of topic create.\n"
        "Events, ids and positions of consumers are as they were. The servers look into DIR, each on its machine.\n",
    .options = import_options,
    .fields_size = sizeof(struct import_fields),
    .run = import,
};
