/*
 * diaspora-ctl topic create, topic list.
 */
#include "cli/cli.h"

#include "util/json.h"
#include "util/log.h"

#include <stdlib.h>
#include <string.h>

/* ---- create ---------------------------------------------------------------------------------------------------- */

struct create_fields {
    struct cli_common common;
    const char *name;
    struct cli_component topic, validator, serializer, selector;
};

static const struct cli_option create_options[] = {
    {"name", 0, CLI_TEXT, true, offsetof(struct create_fields, name), "NAME", "name of the topic"},
    {"topic", 0, CLI_COMPONENT, false, offsetof(struct create_fields, topic), NULL,
     "options of the topic, as a JSON file"},
    {"validator", 0, CLI_TYPED_COMPONENT, false, offsetof(struct create_fields, validator), "TYPE",
     "what checks events (default: \"default\", nothing)"},
    {"partition-selector", 0, CLI_TYPED_COMPONENT, false, offsetof(struct create_fields, selector), "TYPE",
     "what chooses partitions (default: \"default\", round robin)"},
    {"serializer", 0, CLI_TYPED_COMPONENT, false, offsetof(struct create_fields, serializer), "TYPE",
     "how metadata are stored (default: \"default\", as they are)"},
    CLI_COMMON(struct create_fields),
};

/* The description of a topic object as JSON text, to be freed; *text stays NULL when nothing was said about it. */
static int describe(const struct cli_component *component, const char *name, char **text, struct dango_error *err)
{
    struct json_object *json;
    if (!component->type && !component->file && !component->members)
        return 0;
    int status = cli_component_json(component, name, &json, err);
    if (status != 0)
        return status;
    if (component->type)
        json_object_object_add(json, "type", json_object_new_string(component->type));
    if (dango_json_get(json, "type"))
        *text = strdup(json_object_to_json_string(json));
    else
        status = dango_error_set(err, DANGO_ERR_INVALID, "options for the %s are given, but no type: add --%s TYPE",
                                 name, name);
    json_object_put(json);
    return status;
}

static int create_topic(const struct create_fields *fields, const char *options, const diaspora_topic_objects *objects,
                        struct dango_error *err)
{
    diaspora_driver *driver = cli_connect(&fields->common, err);
    if (!driver)
        return err->code;
    log_info(CLI_LOG, "connected; creating topic \"%s\"", fields->name);
    int status = diaspora_topic_create(driver, fields->name, options, objects, err);
    if (status == 0)
        log_info(CLI_LOG, "topic \"%s\" created", fields->name);
    diaspora_driver_close(driver);
    return status;
}

static int create(void *args, struct dango_error *err)
{
    const struct create_fields *fields = args;
    char *validator = NULL, *selector = NULL, *serializer = NULL;
    struct json_object *options = NULL;
    int status = cli_component_json(&fields->topic, "topic", &options, err);
    if (status == 0)
        status = describe(&fields->validator, "validator", &validator, err);
    if (status == 0)
        status = describe(&fields->selector, "partition-selector", &selector, err);
    if (status == 0)
        status = describe(&fields->serializer, "serializer", &serializer, err);
    if (status == 0) {
        const diaspora_topic_objects objects = {validator, selector, serializer};
        status = create_topic(fields, json_object_to_json_string(options), &objects, err);
    }
    json_object_put(options);
    free(validator);
    free(selector);
    free(serializer);
    return status;
}

const struct cli_command cli_topic_create = {
    .name = "topic create",
    .usage = "--name NAME ",
    .summary = "create a topic",
    .details = "Creates a topic. Options of the topic depend on the driver; for \"mofka\":\n"
               "--topic.num_partitions N, --topic.config.type memory|default|legacy,\n"
               "--topic.config.partition.KEY VALUE, --topic.dependencies.NAME VALUE.\n"
               "A file given with --topic-config is the object that these build.\n"
               "Values are integers, numbers, true, false, lists (a,b,c) or else text.\n",
    .options = create_options,
    .fields_size = sizeof(struct create_fields),
    .run = create,
};

/* ---- list ------------------------------------------------------------------------------------------------------ */

struct list_fields {
    struct cli_common common;
    bool verbose;
};

static const struct cli_option list_options[] = {
    {"verbose", 'v', CLI_FLAG, false, offsetof(struct list_fields, verbose), NULL, "with the description of each"},
    CLI_COMMON(struct list_fields),
};

static void print_topics(struct json_object *topics, bool verbose)
{
    json_object_object_foreach (topics, name, description) {
        const char *text =
            json_object_to_json_string_ext(description, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE);
        printf("%s%s%s\n", name, verbose ? " " : "", verbose ? text : "");
    }
}

static int list(void *args, struct dango_error *err)
{
    const struct list_fields *fields = args;
    diaspora_driver *driver = cli_connect(&fields->common, err);
    if (!driver)
        return err->code;
    char *text = diaspora_topic_list(driver, err);
    struct json_object *topics = text ? dango_json_parse(text, strlen(text), err) : NULL;
    if (topics)
        print_topics(topics, fields->verbose);
    int status = topics ? 0 : err->code;
    json_object_put(topics);
    free(text);
    diaspora_driver_close(driver);
    return status;
}

const struct cli_command cli_topic_list = {
    .name = "topic list",
    .usage = "",
    .summary = "list the topics",
    .details = "Prints the names of the topics on standard output, one a line, sorted.\n",
    .options = list_options,
    .fields_size = sizeof(struct list_fields),
    .run = list,
};
