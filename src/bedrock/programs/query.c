/*
 * bedrock-query: prints the effective configurations of daemons, or what an expression over them gives, as one JSON
 * object by address. All daemons are asked at the same time. If some fail they are named on standard error, and nothing is
 * printed, since a script would take it for all there is, unless --keep-going asks for what the living answer.
 *
 * Exit status: 0; 255 when something failed, be it one daemon of many; 1 for a wrong command line.
 */
#include "bedrock/output.h"
#include "bedrock/programs/targets.h"
#include "util/file.h"
#include "util/json.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct cli_list addresses;
static const char *group_file, *provider_id, *script_file, *expression, *log_level, *timeout;
static bool pretty, keep_going;

static const struct cli_option options[] = {
    {'a', "addresses", "ADDRESS", "address of a daemon; may be repeated", .list = &addresses},
    {'f', "flock-file", "FILE", "take the addresses from a group file", .value = &group_file},
    {'i', "provider-id", "N", "management provider id of the daemons (default 0)", .value = &provider_id},
    {'j', "jx9-file", "FILE", "evaluate the expression in FILE in each daemon", .value = &script_file},
    {'e', "expression", "EXPR", "evaluate EXPR in each daemon, e.g. '$__config__.providers[0].name'",
     .value = &expression},
    {'p', "pretty", NULL, "several lines, indented by 4 spaces", .flag = &pretty},
    {'k', "keep-going", NULL, "print what some daemons answer although others fail", .flag = &keep_going},
    {'T', "timeout", "SECONDS", "how long a daemon may take to answer (default 30)", .value = &timeout},
    {'v', "verbose", "LEVEL", "level of log messages (default warning)", .value = &log_level},
    CLI_END,
};

static const struct cli_program program = {
    .name = "bedrock-query",
    .positional = "PROTOCOL",
    .summary = "Prints the effective configuration of running bedrock daemons.",
    .example = "bedrock-query na+sm -f mofka.json -p",
    .file_option = "-f",
    .options = options,
};

static uint16_t parse_provider_id(void)
{
    char *end;
    if (!provider_id)
        return 0;
    unsigned long value = strtoul(provider_id, &end, 10);
    if (!isdigit((unsigned char)*provider_id) || *end || value >= UINT16_MAX)
        cli_refuse(&program, CLI_MISUSED, "--provider-id: \"%s\" is not in 0..65534", provider_id);
    return (uint16_t)value;
}

/* The text to evaluate; NULL: the configuration is wanted. An empty file means no script. */
static char *read_script(struct dango_error *err)
{
    size_t length;
    if (expression)
        return strdup(expression);
    char *text = script_file ? dango_file_read(script_file, DANGO_JSON_SIZE_MAX, &length, err) : NULL;
    if (text && text[strspn(text, " \t\r\n")] == '\0') {
        free(text);
        return NULL;
    }
    return text;
}

static int print(const char *text, struct dango_error *err)
{
    struct json_object *json = dango_json_parse(text, strlen(text), err);
    if (!json)
        return err->code;
    char *output = dango_bedrock_json_text(json, pretty);
    json_object_put(json);
    int failed = puts(output) == EOF || fflush(stdout) == EOF;
    free(output);
    return failed ? dango_error_set(err, DANGO_ERR_IO, "cannot write to standard output") : 0;
}

/* The exit status; negative: the error is still to be printed. */
static int query(const char *protocol, struct dango_error *err)
{
    struct targets targets;
    char *result = NULL;
    uint16_t id = parse_provider_id();
    char *script = read_script(err);
    int status = err->code;
    if (status == 0)
        status = targets_open(&targets, &program, protocol, &addresses, group_file, id, timeout, err);
    if (status < 0) {
        free(script);
        return status;
    }
    if (script)
        bedrock_group_query(targets.group, script, &result, NULL);
    else
        bedrock_group_get_config(targets.group, &result, NULL);
    targets_close(&targets);
    if (targets.failed == 0 || (keep_going && targets.failed < targets.count))
        status = print(result, err);
    free(result);
    free(script);
    return status < 0 ? status : targets_result(&targets, keep_going ? NULL : "--keep-going");
}

int main(int argc, char **argv)
{
    struct dango_error err = {0};
    const char *protocol = cli_parse(&program, argc, argv);
    if (addresses.count == 0 && !group_file)
        cli_refuse(&program, CLI_IMPOSSIBLE, "error: no address or flock file specified");
    if (script_file && expression)
        cli_refuse(&program, CLI_IMPOSSIBLE, "--jx9-file and --expression exclude each other");
    cli_set_log_level(&program, log_level, "warning");
    int status = query(protocol, &err);
    if (status < 0)
        fprintf(stderr, "bedrock-query: %s\n", err.text);
    return status == 0 ? 0 : CLI_IMPOSSIBLE;
}
