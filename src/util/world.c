/*
 * Rank and size from the environment: the pairs of variables that the usual launchers set, first complete pair wins. Of
 * Slurm's variables the ones of the step are taken: a batch script, which is no step, has those of the job as well.
 */
#include "util/world.h"

#include <json-c/json.h>

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>

static const struct {
    const char *rank, *size;
} launchers[] = {
    {"OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"},
    {"PMI_RANK", "PMI_SIZE"},
    {"SLURM_PROCID", "SLURM_STEP_NUM_TASKS"},
};

static bool read_number(const char *name, int *number)
{
    const char *text = getenv(name);
    if (!text || !*text)
        return false;
    char *end;
    errno = 0;
    long value = strtol(text, &end, 10);
    if (errno || *end || value < 0 || value > INT_MAX)
        return false;
    *number = (int)value;
    return true;
}

void dango_world_read(struct dango_world *world)
{
    *world = (struct dango_world){.size = 1};
    for (size_t i = 0; i < sizeof launchers / sizeof *launchers; i++) {
        int rank, size;
        if (read_number(launchers[i].rank, &rank) && read_number(launchers[i].size, &size) && rank < size) {
            *world = (struct dango_world){.launched = true, .rank = rank, .size = size};
            return;
        }
    }
}

struct json_object *dango_world_variable(const struct dango_world *world)
{
    assert(world->rank < world->size);
    if (!world->launched)
        return NULL;
    struct json_object *json = json_object_new_object();
    json_object_object_add(json, "rank", json_object_new_int(world->rank));
    json_object_object_add(json, "size", json_object_new_int(world->size));
    return json;
}
