/*
 * margo-info: which transports are built in, and does each start here? It starts a server on each known protocol and
 * says what came of it: protocol, class, name, YES or NO, and an example address or the reason.
 *
 * Exit status: 0; 255 when the one protocol that was asked for does not start; 1 for a wrong command line.
 */
#include "bedrock/output.h"
#include "bedrock/programs/cli.h"
#include "margo/dango_margo.h"
#include "util/json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static bool as_json;
static const char *log_level;

static const struct cli_option options[] = {
    {'j', "json", NULL, "print an array of JSON objects", .flag = &as_json},
    {'v', "verbose", "LEVEL", "level of log messages (default off)", .value = &log_level},
    CLI_END,
};

static const struct cli_program program = {
    .name = "margo-info",
    .positional = "[PROTOCOL]",
    .summary = "Tries which transports can be used on this machine.",
    .options = options,
};

static const struct transport {
    const char *protocol, *description;
} transports[] = {
    {"na+sm://", "shared memory on one node"},      {"tcp://", "TCP, any network"},
    {"ofi+tcp://", "libfabric over TCP"},           {"ofi+verbs://", "libfabric over InfiniBand or RoCE"},
    {"ofi+cxi://", "libfabric over Slingshot"},     {"ofi+opx://", "libfabric over Omni-Path Express"},
    {"ofi+psm2://", "libfabric over Omni-Path"},    {"ofi+gni://", "libfabric over Aries or Gemini"},
    {"ofi+shm://", "libfabric over shared memory"}, {"ofi+sockets://", "libfabric over sockets (old)"},
};
#define TRANSPORT_COUNT (sizeof transports / sizeof *transports)

struct result {
    bool works;
    char text[DANGO_ERROR_TEXT_MAX]; /* an address, or why not */
};

static void try_transport(const char *protocol, struct result *result)
{
    struct dango_error err = {0};
    *result = (struct result){0};
    margo_instance_id mid = dango_margo_init(protocol, MARGO_SERVER_MODE, NULL, &err);
    if (mid == MARGO_INSTANCE_NULL) {
        snprintf(result->text, sizeof result->text, "%s", err.text);
        return;
    }
    hg_addr_t self = HG_ADDR_NULL;
    hg_size_t size = sizeof result->text;
    result->works =
        margo_addr_self(mid, &self) == HG_SUCCESS && margo_addr_to_string(mid, result->text, &size, self) == HG_SUCCESS;
    margo_addr_free(mid, self);
    margo_finalize_and_wait(mid);
}

/* "ofi+tcp://" → class "ofi", name "tcp"; without a class: "-". */
static void split(const char *protocol, char class_name[16], char name[32])
{
    const char *plus = strchr(protocol, '+'), *start = plus ? plus + 1 : protocol;
    snprintf(class_name, 16, "%.*s", plus ? (int)(plus - protocol) : 1, plus ? protocol : "-");
    snprintf(name, 32, "%.*s", (int)strcspn(start, ":"), start);
}

static void print_line(const char *protocol, const char *description, const struct result *result)
{
    char class_name[16], name[32];
    split(protocol, class_name, name);
    printf("### %s ###\n%s\t%s\t%s\t%s\t%s\n", description, protocol, class_name, name, result->works ? "YES" : "NO",
           result->text);
}

static struct json_object *to_json(size_t index, const char *protocol, const char *description,
                                   const struct result *result)
{
    char class_name[16], name[32];
    struct json_object *json = json_object_new_object();
    split(protocol, class_name, name);
    json_object_object_add(json, "index", json_object_new_int64((int64_t)index));
    json_object_object_add(json, "addr", json_object_new_string(protocol));
    json_object_object_add(json, "xport", json_object_new_string(class_name));
    json_object_object_add(json, "proto", json_object_new_string(name));
    json_object_object_add(json, "desc", json_object_new_string(description));
    json_object_object_add(json, "result", json_object_new_boolean(result->works));
    json_object_object_add(json, result->works ? "example_runtime_addr" : "reason",
                           json_object_new_string(result->text));
    return json;
}

static void print_json(const struct transport *list, const struct result *results, size_t count)
{
    struct json_object *array = json_object_new_array();
    for (size_t i = 0; i < count; i++)
        json_object_array_add(array, to_json(i, list[i].protocol, list[i].description, &results[i]));
    char *text = dango_bedrock_json_text(array, true);
    puts(text);
    free(text);
    json_object_put(array);
}

/* What works comes first. */
static void print_table(const struct transport *list, const struct result *results, size_t count)
{
    char host[256] = "";
    gethostname(host, sizeof host - 1);
    printf("Transports on %s:\n\n", host);
    for (int works = 1; works >= 0; works--) {
        for (size_t i = 0; i < count; i++) {
            if (results[i].works == works)
                print_line(list[i].protocol, list[i].description, &results[i]);
        }
    }
}

int main(int argc, char **argv)
{
    struct result results[TRANSPORT_COUNT];
    const char *asked = cli_parse(&program, argc, argv);
    const struct transport single = {asked, "as asked for"};
    const struct transport *list = asked ? &single : transports;
    size_t count = asked ? 1 : TRANSPORT_COUNT;
    cli_set_log_level(&program, log_level, "off");
    for (size_t i = 0; i < count; i++)
        try_transport(list[i].protocol, &results[i]);
    if (as_json)
        print_json(list, results, count);
    else
        print_table(list, results, count);
    return asked && !results[0].works ? 255 : 0;
}
