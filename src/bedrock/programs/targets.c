/*
 * See targets.h. Addresses are read before the network is started: a mistake in the group file costs nothing.
 */
#include "bedrock/programs/targets.h"
#include "margo/dango_margo.h"
#include "mercury/dango_hg.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static double parse_timeout_ms(const struct cli_program *program, const char *timeout)
{
    char *end;
    if (!timeout)
        return BEDROCK_CLIENT_TIMEOUT_MS;
    double seconds = strtod(timeout, &end);
    if (*end || !(seconds > 0 && seconds <= 86400))
        cli_refuse(program, CLI_MISUSED, "--timeout: \"%s\" is not a number of seconds", timeout);
    return seconds * 1000;
}

static void note_failure(struct targets *targets, const struct dango_error *why)
{
    targets->failed++;
    targets->gone += why->code == DANGO_ERR_DISCONNECTED;
    targets->hung += why->code == DANGO_ERR_TIMEOUT;
    fprintf(stderr, "%s: %s\n", targets->program, why->text);
}

static void on_failure(struct bedrock_service *member, const struct dango_error *why, void *targets)
{
    (void)member;
    note_failure(targets, why);
}

/* After this time users are told whom they wait for, unless --timeout is shorter. */
#define SILENCE_MS 3000.0

static void tell_silence(void *arg, const char *address)
{
    const struct targets *targets = arg;
    fprintf(stderr, "%s: no answer from %s for %g s: it hangs, is stopped, or is busy; waiting on (see --timeout)\n",
            targets->program, address, SILENCE_MS / 1000);
}

/* `first`: an address of that protocol, perhaps, which says more than its name. NULL: none. */
static int connect_client(struct targets *targets, const char *protocol, const char *first, double timeout_ms,
                          struct dango_error *err)
{
    size_t length = strlen(protocol);
    bool same = first && strncmp(first, protocol, length) == 0 && first[length] == ':';
    char *more = same ? dango_hg_client_protocol(first) : NULL;

    targets->mid = dango_margo_init(more ? more : protocol, MARGO_CLIENT_MODE, NULL, err);
    free(more);
    if (targets->mid == MARGO_INSTANCE_NULL)
        return err->code;
    dango_margo_on_silence(targets->mid, SILENCE_MS, tell_silence, targets);
    int status = bedrock_client_create(targets->mid, &targets->client, err);
    if (status == 0)
        bedrock_client_set_timeout(targets->client, timeout_ms);
    return status;
}

/*
 * Whether a group can be opened with that address: one whose host is unknown fails alone. Any other failure is a mistake
 * in what the user gave, such as the wrong protocol: then *status is set.
 */
static bool is_usable(struct targets *targets, const char *address, int *status, struct dango_error *err)
{
    struct bedrock_service *service = NULL;
    int code = bedrock_service_open(targets->client, address, 0, &service, err);
    bedrock_service_close(service);
    if (code == DANGO_ERR_NOT_FOUND)
        note_failure(targets, err);
    else
        *status = code;
    return code == 0;
}

static int open_group(struct targets *targets, const char **addresses, size_t count, uint16_t provider_id,
                      struct dango_error *err)
{
    size_t usable = 0;
    int status = 0;
    for (size_t i = 0; i < count && status == 0; i++)
        if (is_usable(targets, addresses[i], &status, err))
            addresses[usable++] = addresses[i];
    if (status == 0)
        status = bedrock_group_open(targets->client, addresses, usable, provider_id, &targets->group, err);
    if (status < 0)
        return status;
    targets->count = targets->failed + bedrock_group_size(targets->group);
    bedrock_group_on_failure(targets->group, on_failure, targets);
    return 0;
}

int targets_open(struct targets *targets, const struct cli_program *program, const char *protocol,
                 const struct cli_list *given, const char *file, uint16_t provider_id, const char *timeout,
                 struct dango_error *err)
{
    char **members = NULL;
    size_t num_members = 0;
    double timeout_ms = parse_timeout_ms(program, timeout);
    *targets = (struct targets){.program = program->name, .file = file};
    if (file && bedrock_group_file_read(file, &members, &num_members, err) < 0)
        return err->code;
    const char **all = calloc(given->count + num_members + 1, sizeof *all);
    if (!all)
        abort();
    if (given->count > 0)
        memcpy(all, given->values, given->count * sizeof *all);
    for (size_t i = 0; i < num_members; i++)
        all[given->count + i] = members[i];
    int status = connect_client(targets, protocol, all[0], timeout_ms, err);
    if (status == 0)
        status = open_group(targets, all, given->count + num_members, provider_id, err);
    free(all);
    bedrock_addresses_free(members, num_members);
    if (status < 0)
        targets_close(targets);
    return status;
}

int targets_result(const struct targets *targets, const char *option)
{
    if (targets->failed == 0)
        return 0;
    if (targets->gone == targets->count && targets->file) {
        fprintf(
            stderr,
            "%s: nobody listed in %s answers: the service has probably ended; start it again, or give another file\n",
            targets->program, targets->file);
        return 1;
    }
    if (targets->count == 1 && targets->hung == 0)
        return 1; /* all has been said */
    fprintf(stderr, "%s: %zu of %zu daemons failed", targets->program, targets->failed, targets->count);
    if (targets->gone > 0)
        fprintf(stderr, "; %zu not there any more%s%s", targets->gone, targets->file ? ", though listed in " : "",
                targets->file ? targets->file : "");
    if (targets->hung > 0)
        fprintf(stderr,
                "; %zu without an answer, but running: try again with a longer --timeout, or end what hangs on its "
                "machine (kill -9)",
                targets->hung);
    if (option && targets->failed < targets->count)
        fprintf(stderr, "; %s shows what the others say", option);
    fputc('\n', stderr);
    return 1;
}

void targets_close(struct targets *targets)
{
    bedrock_group_close(targets->group);
    bedrock_client_destroy(targets->client);
    if (targets->mid)
        margo_finalize_and_wait(targets->mid);
    targets->group = NULL;
    targets->client = NULL;
    targets->mid = MARGO_INSTANCE_NULL;
}
