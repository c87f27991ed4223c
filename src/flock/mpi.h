/*
 * The processes that a launcher started together, and how they exchange a few bytes before they know each other's
 * addresses.
 *
 * Rank and size come from the launcher's environment (util/world.h). The exchange is MPI's, in a plug-in (src/mpi/) that is
 * loaded when it is needed, so that a machine without MPI runs everything else. MPI is used at the start only:
 *
 *     dango_flock_mpi_enter();      every process of the launch; loads the plug-in, initialises MPI
 *     flk_mpi_allgather(…)          the listed processes
 *     dango_flock_mpi_leave();      every process; finalises MPI if `enter` initialised it
 *
 * MPI's rule is all or none: if one process of a launch initialises MPI, all must, also those that take no part in any
 * exchange. Since MPI has been finalised when the service is up, processes come and go later as they like.
 *
 * All MPI calls of a process are made by one thread of its own: ULT stacks are too small for them, and a ULT that waits for
 * the others must not stop its execution stream. The functions block the caller only, a ULT or a thread; one at a time.
 */
#ifndef FLOCK_MPI_H
#define FLOCK_MPI_H

#include "util/world.h"

#include <dango/error.h>

#include <stddef.h>

/* ---- what the plug-in provides: the symbol dango_mpi of libdango-mpi.so ---- */

#define DANGO_MPI_ABI 1

struct json_object;

struct dango_mpi {
    int abi;
    /* Initialises MPI if nobody has (*owner: it did, and `finalize` is to be called); rank and size in MPI_COMM_WORLD. */
    int (*init)(bool *owner, int *rank, int *size, struct dango_error *err);
    /* Every one of the `count` different ranks calls it with the same list; `out` gets count * size bytes in the order of
     * the list. With size 0 it is a barrier. */
    int (*allgather)(const int *ranks, int count, const void *in, size_t size, void *out, struct dango_error *err);
    void (*finalize)(void);
};

/* ---- for Bedrock ---- */

/* Collective over the launch; does nothing without a launcher. Failures are kept and reported by the first exchange. */
void dango_flock_mpi_enter(void);
void dango_flock_mpi_leave(void);
/* The addresses of all processes of the launch, by rank, as an array of strings: collective over the launch, between enter
 * and leave. The own one alone without a launcher. A new reference; NULL with an error. */
struct json_object *dango_flock_mpi_addresses(const char *own, struct dango_error *err);

/* ---- for the bootstrap ---- */

/* Whether this process is between enter and leave of a launch with MPI: others may wait for it at any moment. */
bool flk_mpi_runs(void);
/* See struct dango_mpi. Fails if MPI is not there, not initialised (any more), or disagrees with the launcher. */
int flk_mpi_allgather(const int *ranks, size_t count, const void *in, size_t size, void *out, struct dango_error *err);
/* The same for texts of different lengths: `count` slots of *slot bytes, each with a text that ends with a NUL. To be
 * freed; NULL with an error. */
char *flk_mpi_gather_text(const int *ranks, size_t count, const char *text, size_t *slot, struct dango_error *err);

#endif
