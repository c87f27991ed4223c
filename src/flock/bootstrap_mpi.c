/*
 * Bootstrap method "mpi": the processes that a launcher started together, or those of them that "mpi_ranks" lists, are the
 * members of a new group. Each contributes its address and its own provider id; all get the same view.
 *
 * What can fail in one process only is done first, and its outcome is exchanged before anything else: then all of them go
 * on, or all fail with the text of the first that failed; nobody waits for a process that has given up. Part of that is
 * taking over the group file, which the first listed rank does for all. Without a launcher, or alone in it, the process
 * forms a group of one, and MPI is not needed.
 */
#include "flock/internal.h"
#include "flock/mpi.h"

#include <flock/flock-bootstrap.h>

#include "util/json.h"

#include <assert.h>
#include <limits.h>
#include <string.h>

/* What the processes tell each other first. */
struct report {
    int32_t status; /* 0, or an error code */
    uint16_t provider_id;
    char text[256]; /* of the error */
};

static int read_rank(struct json_object *ranks, size_t i, const struct dango_world *world, int *list,
                     struct dango_error *err)
{
    assert(i < json_object_array_length(ranks));
    struct json_object *rank = json_object_array_get_idx(ranks, i);
    int64_t value = json_object_is_type(rank, json_type_int) ? json_object_get_int64(rank) : -1;
    if (value < 0 || value >= world->size)
        return dango_error_set(err, DANGO_ERR_RANGE, "entry %zu: expected a rank between 0 and %d, found %s%s", i,
                               world->size - 1, json_object_to_json_string(rank),
                               world->launched ? "" : " (this process was not started by an MPI launcher)");
    for (size_t j = 0; j < i; j++) {
        if (list[j] == (int)value)
            return dango_error_set(err, DANGO_ERR_INVALID, "entry %zu: rank %d is listed twice", i, (int)value);
    }
    list[i] = (int)value;
    return 0;
}

int *flk_mpi_ranks(struct json_object *ranks, const struct dango_world *world, size_t *count, struct dango_error *err)
{
    assert(world->size > 0 && count);
    if (ranks && (!json_object_is_type(ranks, json_type_array) || json_object_array_length(ranks) == 0)) {
        dango_error_set(err, DANGO_ERR_INVALID, "expected a list of at least one rank, found %s",
                        dango_json_kind(ranks));
        return NULL;
    }
    *count = ranks ? json_object_array_length(ranks) : (size_t)world->size;
    int *list = *count <= INT_MAX ? calloc(*count, sizeof *list) : NULL;
    if (!list) {
        dango_error_set(err, DANGO_ERR_NO_MEMORY, "out of memory");
        return NULL;
    }
    int status = 0;
    for (size_t i = 0; status == 0 && i < *count; i++) {
        if (ranks)
            status = read_rank(ranks, i, world, list, err);
        else
            list[i] = (int)i;
    }
    if (status == 0)
        return list;
    free(list);
    return NULL;
}

static bool is_listed(const struct flk_bootstrap *bootstrap)
{
    for (size_t i = 0; i < bootstrap->rank_count; i++) {
        if (bootstrap->ranks[i] == bootstrap->world.rank)
            return true;
    }
    return false;
}

bool flk_mpi_is_collective(const struct flk_bootstrap *bootstrap)
{
    return bootstrap->rank_count > 1 && is_listed(bootstrap);
}

bool flk_mpi_agree(const struct flk_bootstrap *bootstrap, bool success)
{
    assert(flk_mpi_is_collective(bootstrap));
    uint8_t mine = success;
    uint8_t *all = calloc(bootstrap->rank_count, 1);
    bool agreed = flk_mpi_allgather(bootstrap->ranks, bootstrap->rank_count, &mine, 1, all, NULL) == 0;
    for (size_t i = 0; agreed && i < bootstrap->rank_count; i++)
        agreed = all[i] != 0;
    free(all);
    return agreed;
}

/* What can fail here and not elsewhere. */
static void prepare(const struct flk_bootstrap *bootstrap, struct report *report, char **address)
{
    struct dango_error err = {0};
    struct flk_lock lock = FLK_LOCK_NONE;
    memset(report, 0, sizeof *report);
    report->provider_id = bootstrap->provider_id;
    *address = flk_self_address(bootstrap->mid);
    if (!*address)
        dango_error_set(&err, DANGO_ERR_INTERNAL, "cannot tell the own address");
    if (err.code == 0 && bootstrap->file && bootstrap->ranks[0] == bootstrap->world.rank) {
        if (flk_lock_take(&lock, bootstrap->mid, bootstrap->file, &err) == 0)
            flk_claim_file(bootstrap->mid, bootstrap->file, NULL, &err);
        flk_lock_release(&lock);
    }
    report->status = err.code;
    snprintf(report->text, sizeof report->text, "%.255s", err.text);
}

/* The first failure becomes everybody's. */
static int read_reports(const struct flk_bootstrap *bootstrap, struct report *reports, struct dango_error *err)
{
    for (size_t i = 0; i < bootstrap->rank_count; i++) {
        reports[i].text[sizeof reports[i].text - 1] = '\0';
        if (reports[i].status != 0)
            return dango_error_set(err, reports[i].status, "rank %d: %s", bootstrap->ranks[i], reports[i].text);
    }
    return 0;
}

/* With the reports known, which are good: the addresses. */
static int gather(const struct flk_bootstrap *bootstrap, const struct report *reports, const char *address,
                  flock_group_view_t *view, struct dango_error *err)
{
    size_t slot;
    char *all = flk_mpi_gather_text(bootstrap->ranks, bootstrap->rank_count, address, &slot, err);
    int status = all ? 0 : err->code;
    for (size_t i = 0; status == 0 && i < bootstrap->rank_count; i++) {
        const char *text = all + i * slot;
        if (flock_group_view_find_member(view, text, reports[i].provider_id))
            status = dango_error_set(err, DANGO_ERR_EXISTS, "two ranks have the address %s and provider id %u", text,
                                     reports[i].provider_id);
        else if (!flock_group_view_add_member(view, text, reports[i].provider_id))
            status = dango_error_set(err, DANGO_ERR_NO_MEMORY, "out of memory");
    }
    free(all);
    return status;
}

static int exchange(const struct flk_bootstrap *bootstrap, flock_group_view_t *view, struct dango_error *err)
{
    struct report mine;
    char *address;
    struct report *reports = calloc(bootstrap->rank_count, sizeof *reports);
    if (!reports)
        return dango_error_set(err, DANGO_ERR_NO_MEMORY, "out of memory");
    prepare(bootstrap, &mine, &address);
    int status = flk_mpi_allgather(bootstrap->ranks, bootstrap->rank_count, &mine, sizeof mine, reports, err);
    if (status == 0)
        status = read_reports(bootstrap, reports, err);
    if (status == 0)
        status = gather(bootstrap, reports, address, view, err);
    free(address);
    free(reports);
    return status == 0 ? 0 : dango_error_prefix(err, "bootstrap method \"mpi\"");
}

int flk_bootstrap_mpi(const struct flk_bootstrap *bootstrap, flock_group_view_t *view, struct dango_error *err)
{
    assert(bootstrap->rank_count > 0 && view);
    if (!is_listed(bootstrap))
        return dango_error_set(
            err, DANGO_ERR_NOT_FOUND,
            "this process is rank %d, which is not in mpi_ranks: give its provider another bootstrap "
            "method, or leave it out by a condition (\"__if__\")",
            bootstrap->world.rank);
    if (flk_mpi_is_collective(bootstrap))
        return exchange(bootstrap, view, err);
    flock_return_t ret = flock_group_view_init_from_self(bootstrap->mid, bootstrap->provider_id, view);
    return ret == FLOCK_SUCCESS ? 0 : dango_error_set(err, DANGO_ERR_INTERNAL, "cannot tell the own address");
}
