/*
 * mofka-log verify: every frame of every chunk, indexes, positions; a line per finding and one per partition.
 */
#include "cli/log.h"

#include <inttypes.h>

struct verification {
    const struct mofka_inspection *inspection;
    enum mofka_severity worst;
    uint64_t frames, events, findings[MOFKA_UNREADABLE + 1];
};

static int count_frame(void *arg, const struct mofka_inspected_chunk *chunk, const struct mofka_scan_item *item)
{
    struct verification *verification = arg;
    (void)chunk;
    verification->frames++;
    verification->events += item->frame->count;
    return 0;
}

static int print_finding(void *arg, const struct mofka_finding *finding)
{
    struct verification *verification = arg;
    verification->findings[finding->severity]++;
    if (finding->severity > verification->worst)
        verification->worst = finding->severity;
    log_print_finding(stdout, verification->inspection, finding);
    return 0;
}

static int run(const struct log_fields *fields, struct mofka_inspection *inspection, struct dango_error *err)
{
    struct verification verification = {.inspection = inspection};
    struct mofka_inspect_visitor visitor = {count_frame, print_finding, &verification};
    (void)fields, (void)err;
    dango_mofka_inspect_verify(inspection, &visitor);
    printf("%s: %zu chunks, %" PRIu64 " frames, %" PRIu64 " events: ", inspection->path, inspection->num_chunks,
           verification.frames, verification.events);
    if (verification.worst == MOFKA_NOTE)
        printf("sound\n");
    else
        printf("damaged in %" PRIu64 " places, %" PRIu64 " could not be read\n", verification.findings[MOFKA_DAMAGE],
               verification.findings[MOFKA_UNREADABLE]);
    return (int)verification.worst;
}

static const struct cli_option options[] = {
    LOG_PATHS("DIR...", "partitions (<path>/<topic>-<uuid>), or directories that hold some (<path>)"),
    LOG_HELP,
};

const struct log_command log_verify = {
    .name = "verify",
    .usage = "DIR...",
    .details =
        "Checks every frame of every chunk with its content, the indexes against the chunks, the positions of\n"
        "consumers and partition.json. Prints a line for everything that it finds: where, which events, what to\n"
        "do; a \"note\" loses nothing. Changes nothing; a server may have the partition open.\n",
    .options = options,
    .run = run,
};
