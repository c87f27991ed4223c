/*
 * The set of processes that a launcher (mpirun, srun …) started together: who am I, and how many are there.
 *
 * Read from the launcher's environment, so that no MPI library is needed for it. Pure data, any thread.
 */
#ifndef DANGO_UTIL_WORLD_H
#define DANGO_UTIL_WORLD_H

#include <stdbool.h>

struct json_object;

struct dango_world {
    bool launched; /* by a launcher that says rank and size; otherwise rank is 0 and size 1 */
    int rank, size;
};

void dango_world_read(struct dango_world *world);

/* $MPI_COMM_WORLD of expressions: {"rank", "size"}; NULL (null) without a launcher. A new reference. */
struct json_object *dango_world_variable(const struct dango_world *world);

#endif
