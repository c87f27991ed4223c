/*
 * The set of processes that a launcher (mpirun, srun …) started together: who am I, and how many are there.
 *
 * Read from the launcher's environment, so that no MPI library is needed for it. Pure data, any thread.
 */
#ifndef DANGO_BEDROCK_WORLD_H
#define DANGO_BEDROCK_WORLD_H

#include <stdbool.h>

struct json_object;

struct bdk_world {
    bool launched; /* by a launcher that says rank and size; otherwise rank is 0 and size 1 */
    int rank, size;
};

void bdk_world_read(struct bdk_world *world);

/* $MPI_COMM_WORLD of expressions: {"rank", "size"}; NULL (null) without a launcher. A new reference. */
struct json_object *bdk_world_variable(const struct bdk_world *world);

#endif
