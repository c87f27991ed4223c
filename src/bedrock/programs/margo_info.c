/*
 * margo-info: which transports are there, and does each start here? It starts a server on each specifier that the
 * original's tool knows, in the same order, and says what came of it, those that work first:
 *
 *     ### description ###
 *     SPECIFIER <tab> CLASS <tab> PROTOCOL <tab> YES|NO <tab> example address | N/A <tab> reason
 *
 * then which libraries for communication are loaded (with -l: all libraries). With a specifier, only that one. --json
 * prints the table as an array of objects, and nothing else.
 *
 * Exit status: 0; 255 when the one specifier that was asked for does not start; 1 for a wrong command line.
 */
#include "bedrock/output.h"
#include "bedrock/programs/cli.h"
#include "margo/dango_margo.h"
#include "util/json.h"

#include <dlfcn.h>
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static bool as_json, all_libraries;
static const char *log_level;

static const struct cli_option options[] = {
    {'j', "json", NULL, "print an array of JSON objects", .flag = &as_json},
    {'l', "libraries", NULL, "list all loaded libraries, not only those for communication", .flag = &all_libraries},
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
    const char *specifier, *description;
} transports[] = {
    {"ofi+tcp://", "libfabric tcp provider for TCP networks"},
    {"ofi+verbs://", "libfabric verbs provider for InfiniBand or RoCE networks"},
    {"ofi+shm://", "libfabric shm provider for shared memory"},
    {"ofi+sockets://", "libfabric sockets provider for TCP networks (superseded by ofi+tcp)"},
    {"ofi+psm2://", "libfabric psm2 provider for Omni-Path networks"},
    {"ofi+opx://", "libfabric opx provider for Omni-Path networks"},
    {"ofi+gni://", "libfabric gni provider for Cray Aries networks"},
    {"ofi+cxi://", "libfabric cxi provider for HPE Slingshot networks"},
    {"psm+psm://", "integrated psm plugin for True Scale networks"},
    {"psm2+psm2://", "integrated psm2 plugin for Omni-Path networks"},
    {"na+sm://", "integrated shared memory transport for one node"},
    {"bmi+tcp://", "BMI tcp module for TCP networks"},
    {"ucx+tcp://", "UCX TCP/IP"},
    {"ucx+rc://", "UCX RC (reliable connection)"},
    {"ucx+ud://", "UCX UD (unreliable datagram)"},
    {"ucx+dc://", "UCX DC (dynamic connection)"},
    {"ucx+all://", "UCX default/automatic transport selection"},
    {"tcp://", "TCP/IP, integrated transport over sockets"},
    {"verbs://", "InfiniBand or RoCE, default transport"},
    {"sm://", "shared memory, default transport"},
    {"psm2://", "Omni-Path, default transport"},
};
#define TRANSPORT_COUNT (sizeof transports / sizeof *transports)

struct result {
    bool works;
    char text[DANGO_ERROR_TEXT_MAX]; /* an address, or why not */
};

static bool can_load(const char *library)
{
    void *handle = dlopen(library, RTLD_LAZY | RTLD_LOCAL);
    if (handle)
        dlclose(handle);
    return handle != NULL;
}

/* The families of transports that are not ours to build in, and what they need. */
static const char *missing_family(const char *specifier)
{
    static const char *const others[] = {"ucx+", "bmi+", "psm+", "psm2+"};
    static const char *const on_libfabric[] = {"ofi+", "verbs:", "psm2:", "cxi:"};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (strncmp(specifier, others[i], strlen(others[i])) == 0)
            return "not supported; tcp runs on everything that has IP addresses";
    for (size_t i = 0; i < sizeof on_libfabric / sizeof *on_libfabric; i++)
        if (strncmp(specifier, on_libfabric[i], strlen(on_libfabric[i])) == 0 && !can_load("libfabric.so.1"))
            return "libfabric is not installed (package libfabric1)";
    return NULL;
}

static void try_transport(const char *protocol, struct result *result)
{
    struct dango_error err = {0};
    *result = (struct result){0};
    margo_instance_id mid = dango_margo_init(protocol, MARGO_SERVER_MODE, NULL, &err);
    if (mid == MARGO_INSTANCE_NULL) {
        const char *missing = missing_family(protocol);
        snprintf(result->text, sizeof result->text, "%s", missing ? missing : err.text);
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
    bool colours = isatty(STDOUT_FILENO);
    const char *on = !colours ? "" : result->works ? "\033[32m" : "\033[31m";
    split(protocol, class_name, name);
    printf("%s### %s ###\n%s\t%s\t%s\t", on, description, protocol, class_name, name);
    if (result->works)
        printf("YES\t%s", result->text);
    else
        printf("NO\tN/A\t%s", result->text);
    puts(colours ? "\033[0m" : "");
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
    json_object_object_add(json, "example_runtime_addr", json_object_new_string(result->works ? result->text : "N/A"));
    if (!result->works)
        json_object_object_add(json, "reason", json_object_new_string(result->text));
    return json;
}

static void print_json(const struct transport *list, const struct result *results, size_t count)
{
    struct json_object *array = json_object_new_array();
    for (size_t i = 0; i < count; i++)
        json_object_array_add(array, to_json(i, list[i].specifier, list[i].description, &results[i]));
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
                print_line(list[i].specifier, list[i].description, &results[i]);
        }
    }
}

/* ---- libraries ---- */

static bool for_communication(const char *path)
{
    static const char *const names[] = {"libdango", "libfabric", "libucp", "libuct", "libibverbs", "librdmacm",
                                        "libcxi",   "libpsm",    "libmpi", "libopx", "libefa"};
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strncmp(name, names[i], strlen(names[i])) == 0)
            return true;
    return false;
}

static int print_library(struct dl_phdr_info *info, size_t size, void *arg)
{
    (void)size, (void)arg;
    if (info->dlpi_name && *info->dlpi_name && (all_libraries || for_communication(info->dlpi_name)))
        printf("\t%s\n", info->dlpi_name);
    return 0;
}

static void print_notes(void)
{
    printf("\nA transport that says YES starts here; whether others can be reached is for the network to decide.\n"
           "Tools that tell more: ip address (interfaces for tcp), fi_info (libfabric), ibstat (InfiniBand).\n"
           "\nLoaded libraries%s:\n",
           all_libraries ? "" : " for communication (-l: all)");
    dl_iterate_phdr(print_library, NULL);
}

/* ---- one specifier ---- */

static void warn_if_unknown(const char *specifier)
{
    size_t length = strcspn(specifier, ":");
    for (size_t i = 0; i < TRANSPORT_COUNT; i++)
        if (strcspn(transports[i].specifier, ":") == length && strncmp(transports[i].specifier, specifier, length) == 0)
            return;
    fprintf(stderr, "margo-info: warning: \"%s\" is none of the known specifiers:", specifier);
    for (size_t i = 0; i < TRANSPORT_COUNT; i++)
        fprintf(stderr, " %s", transports[i].specifier);
    fputc('\n', stderr);
}

static void print_single(const char *specifier, const struct result *result)
{
    if (result->works)
        printf("%s\tYES\truntime address: %s\n", specifier, result->text);
    else
        printf("%s\tNO\t%s\n", specifier, result->text);
}

int main(int argc, char **argv)
{
    struct result results[TRANSPORT_COUNT];
    const char *asked = cli_parse(&program, argc, argv);
    const struct transport single = {asked, "as asked for"};
    const struct transport *list = asked ? &single : transports;
    size_t count = asked ? 1 : TRANSPORT_COUNT;
    cli_set_log_level(&program, log_level, asked ? "info" : "off");
    if (asked)
        warn_if_unknown(asked);
    for (size_t i = 0; i < count; i++)
        try_transport(list[i].specifier, &results[i]);
    if (as_json)
        print_json(list, results, count);
    else if (asked)
        print_single(asked, &results[0]);
    else
        print_table(list, results, count);
    if (!as_json && (!asked || all_libraries))
        print_notes();
    return asked && !results[0].works ? CLI_IMPOSSIBLE : 0;
}
