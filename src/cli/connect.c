/*
 * Which driver, with which options: from the command line and from DIASPORA_CTL_DRIVER_OPTIONS, which holds --driver
 * options quoted as for a shell (without any expansion) and ranks below the command line. If the command line names
 * another driver than the variable, the variable means something else and is ignored entirely.
 */
#include "cli/cli.h"

#include "util/json.h"
#include "util/log.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define VARIABLE  "DIASPORA_CTL_DRIVER_OPTIONS"
#define WORDS_MAX 256

struct environment {
    struct cli_component driver;
};

static const struct cli_option environment_options[] = {
    {"driver", 0, CLI_TYPED_COMPONENT, false, offsetof(struct environment, driver), "TYPE", ""},
    {.kind = CLI_END},
};

/* Reads one word of a shell at *text into *to (in place is fine); moves both on. False when a quote is not closed. */
static bool read_word(const char **text, char **to)
{
    const char *from = *text;
    char quote = 0;
    for (; *from && (quote || !strchr(" \t\n", *from)); from++) {
        bool escapes = *from == '\\' && quote != '\'' && (!quote || (from[1] && strchr("\"\\$`\n", from[1])));
        if (escapes && from[1])
            *(*to)++ = *++from;
        else if (quote ? *from == quote : *from == '"' || *from == '\'')
            quote = quote ? 0 : *from;
        else
            *(*to)++ = *from;
    }
    *text = from;
    *(*to)++ = '\0';
    return quote == 0;
}

/* Splits into words that lie in `buffer`, which is as long as the text and one more. */
static int split_words(const char *text, char *buffer, char **words, int *count, struct dango_error *err)
{
    *count = 0;
    for (;;) {
        text += strspn(text, " \t\n");
        if (!*text)
            return 0;
        if (*count == WORDS_MAX)
            return dango_error_set(err, DANGO_ERR_INVALID, "more than %d words", WORDS_MAX);
        words[(*count)++] = buffer;
        if (!read_word(&text, &buffer))
            return dango_error_set(err, DANGO_ERR_INVALID, "a quote is not closed");
    }
}

/* The component that the variable describes; texts lie in `buffer`. */
static int parse_environment(const char *text, char *buffer, struct environment *environment, struct dango_error *err)
{
    char *words[WORDS_MAX];
    int count;
    int status = split_words(text, buffer, words, &count, err);
    if (status == 0)
        status = cli_args_parse(environment_options, count, words, environment, err);
    if (status != 0)
        dango_error_prefix(err, VARIABLE);
    return status;
}

int cli_driver_options(const struct cli_component *driver, const char *environment, char **type,
                       struct json_object **json, struct dango_error *err)
{
    struct environment base = {0};
    struct json_object *own = NULL;
    char *buffer = malloc(environment ? strlen(environment) + 2 : 1);
    assert(buffer);
    *type = NULL;
    *json = NULL;
    int status = environment ? parse_environment(environment, buffer, &base, err) : 0;
    if (status != 0)
        goto out;
    if (driver->type && base.driver.type && strcmp(driver->type, base.driver.type) != 0) {
        cli_args_release(environment_options, &base);
        base = (struct environment){0};
    }
    const char *name = driver->type ? driver->type : base.driver.type;
    if (!name) {
        status = dango_error_set(
            err, DANGO_ERR_INVALID,
            "--driver TYPE is required, as in \"--driver mofka --driver.group_file mofka.json\", here or in " VARIABLE);
        goto out;
    }
    status = cli_component_json(&base.driver, "driver", json, err);
    if (status == 0)
        status = cli_component_json(driver, "driver", &own, err);
    if (status != 0)
        goto out;
    cli_component_merge(*json, own);
    *type = strdup(name);
    assert(*type);
out:
    if (status != 0) {
        json_object_put(*json);
        *json = NULL;
    }
    json_object_put(own);
    cli_args_release(environment_options, &base);
    free(buffer);
    return status;
}

diaspora_driver *cli_connect(const struct cli_common *common, struct dango_error *err)
{
    char *type;
    struct json_object *json;
    if (cli_driver_options(&common->driver, getenv(VARIABLE), &type, &json, err) != 0)
        return NULL;
    log_debug(CLI_LOG, "opening driver \"%s\" with %s", type, json_object_to_json_string(json));
    diaspora_driver *driver = diaspora_driver_open(type, json_object_to_json_string(json), err);
    json_object_put(json);
    free(type);
    return driver;
}

diaspora_topic *cli_open_topic(const struct cli_common *common, const char *name, diaspora_driver **driver,
                               struct dango_error *err)
{
    *driver = cli_connect(common, err);
    return *driver ? diaspora_topic_open(*driver, name, err) : NULL;
}
