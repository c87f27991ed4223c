/*
 * libdango-mpi.so: the few MPI calls that Dango makes, behind the table of flock/mpi.h. The only file that knows MPI;
 * loaded by src/flock/mpi.c, which also calls everything here from one thread.
 *
 * MPI's errors are returned, not fatal; only MPI_Init itself may still end the process when its launcher does not fit, as it
 * does in every MPI program.
 */
#include "flock/mpi.h"

#include <mpi.h>

#include <assert.h>
#include <limits.h>
#include <stdint.h>
#include <stdlib.h>

/* Keeps our communicators apart from others that the program may be creating at the same time. */
#define COMM_TAG 0x464c

static int check(int code, const char *what, struct dango_error *err)
{
    if (code == MPI_SUCCESS)
        return 0;
    char text[MPI_MAX_ERROR_STRING];
    int length = 0;
    if (MPI_Error_string(code, text, &length) != MPI_SUCCESS)
        length = 0;
    return dango_error_set(err, DANGO_ERR_INTERNAL, "%s: %.*s", what, length, text);
}

static int start(struct dango_error *err)
{
    int level = MPI_THREAD_SINGLE;
    int status = check(MPI_Init_thread(NULL, NULL, MPI_THREAD_MULTIPLE, &level), "MPI_Init_thread", err);
    /* Our thread is the one that initialised MPI, hence its "main thread". */
    if (status == 0 && level < MPI_THREAD_FUNNELED)
        status = dango_error_set(err, DANGO_ERR_UNSUPPORTED, "this MPI cannot be used by programs with threads");
    if (status == 0)
        MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
    return status;
}

static int mpi_init(bool *owner, int *rank, int *size, struct dango_error *err)
{
    assert(owner && rank && size);
    int initialized = 0, finalized = 0, level = 0;
    MPI_Initialized(&initialized);
    MPI_Finalized(&finalized);
    if (finalized)
        return dango_error_set(err, DANGO_ERR_UNSUPPORTED, "the program has finalised MPI already");
    int status = 0;
    if (!initialized) {
        status = start(err);
        *owner = status == 0;
    } else if (MPI_Query_thread(&level) != MPI_SUCCESS || level < MPI_THREAD_SERIALIZED) {
        return dango_error_set(err, DANGO_ERR_UNSUPPORTED,
                               "the program has initialised MPI without MPI_THREAD_SERIALIZED: use MPI_Init_thread");
    }
    if (status == 0)
        status = check(MPI_Comm_rank(MPI_COMM_WORLD, rank), "MPI_Comm_rank", err);
    if (status == 0)
        status = check(MPI_Comm_size(MPI_COMM_WORLD, size), "MPI_Comm_size", err);
    return status;
}

static int create_comm(const int *ranks, int count, MPI_Comm *comm, struct dango_error *err)
{
    MPI_Group world = MPI_GROUP_NULL, group = MPI_GROUP_NULL;
    int status = check(MPI_Comm_group(MPI_COMM_WORLD, &world), "MPI_Comm_group", err);
    if (status == 0)
        status = check(MPI_Group_incl(world, count, ranks, &group), "MPI_Group_incl", err);
    /* Collective over the group, not over the world: the others need not call. */
    if (status == 0)
        status = check(MPI_Comm_create_group(MPI_COMM_WORLD, group, COMM_TAG, comm), "MPI_Comm_create_group", err);
    if (group != MPI_GROUP_NULL)
        MPI_Group_free(&group);
    if (world != MPI_GROUP_NULL)
        MPI_Group_free(&world);
    return status;
}

static int mpi_allgather(const int *ranks, int count, const void *in, size_t size, void *out, struct dango_error *err)
{
    assert(ranks && count > 0 && size <= INT_MAX);
    MPI_Comm comm = MPI_COMM_NULL;
    int status = create_comm(ranks, count, &comm, err);
    if (status == 0 && size == 0)
        status = check(MPI_Barrier(comm), "MPI_Barrier", err);
    else if (status == 0)
        status = check(MPI_Allgather(in, (int)size, MPI_BYTE, out, (int)size, MPI_BYTE, comm), "MPI_Allgather", err);
    if (comm != MPI_COMM_NULL)
        MPI_Comm_free(&comm);
    return status;
}

static void mpi_finalize(void)
{
    MPI_Finalize();
}

extern const struct dango_mpi dango_mpi;

__attribute__((visibility("default"))) const struct dango_mpi dango_mpi = {
    .abi = DANGO_MPI_ABI,
    .init = mpi_init,
    .allgather = mpi_allgather,
    .finalize = mpi_finalize,
};
