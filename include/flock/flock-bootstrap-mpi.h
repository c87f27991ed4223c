/*
 * Initial view of the processes of an MPI communicator. In this header only, so that the library needs no MPI, and the
 * program's own MPI is used, whichever that is.
 */
#ifndef FLOCK_BOOTSTRAP_MPI_H
#define FLOCK_BOOTSTRAP_MPI_H

#include <flock/flock-bootstrap.h>
#include <mpi.h>

#include <stdlib.h>
#include <string.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Collective over the communicator; MPI must be initialised. Every process contributes its address and its own provider id
 * (which may differ); all get the same view, which replaces the content of `view`.
 */
static inline flock_return_t flock_group_view_init_from_mpi(margo_instance_id mid, uint16_t provider_id, MPI_Comm comm,
                                                            flock_group_view_t *view)
{
    int size = 0;
    /* Length of the address (0: there is none, all fail) and provider id, then the addresses padded to the longest. */
    unsigned long mine[2] = {0, provider_id}, longest = 0, shortest = 1;
    unsigned long *all = NULL;
    char *text = NULL;
    if (MPI_Comm_size(comm, &size) != MPI_SUCCESS)
        return FLOCK_ERR_FROM_MPI;
    flock_return_t ret = flock_group_view_init_from_self(mid, provider_id, view);
    if (ret == FLOCK_SUCCESS)
        mine[0] = strlen(view->members.data[0].address) + 1;
    all = (unsigned long *)calloc((size_t)size, sizeof mine);
    if (!all)
        return FLOCK_ERR_ALLOCATION;
    if (MPI_Allgather(mine, 2, MPI_UNSIGNED_LONG, all, 2, MPI_UNSIGNED_LONG, comm) != MPI_SUCCESS) {
        free(all);
        return FLOCK_ERR_FROM_MPI;
    }
    for (int i = 0; i < size; i++) {
        longest = all[2 * i] > longest ? all[2 * i] : longest;
        shortest = all[2 * i] < shortest ? all[2 * i] : shortest;
    }
    if (shortest == 0) {
        ret = ret == FLOCK_SUCCESS ? FLOCK_ERR_FROM_MERCURY : ret;
    } else {
        text = (char *)calloc((size_t)size + 1, longest);
        if (text) {
            memcpy(text + (size_t)size * longest, view->members.data[0].address, mine[0]);
            if (MPI_Allgather(text + (size_t)size * longest, (int)longest, MPI_CHAR, text, (int)longest, MPI_CHAR,
                              comm) != MPI_SUCCESS)
                ret = FLOCK_ERR_FROM_MPI;
        } else {
            ret = FLOCK_ERR_ALLOCATION;
        }
    }
    for (int i = 0; i < size && ret == FLOCK_SUCCESS; i++) {
        if (!flock_group_view_add_member(view, text + (size_t)i * longest, (uint16_t)all[2 * i + 1]))
            ret = FLOCK_ERR_ALLOCATION;
    }
    free(text);
    free(all);
    return ret;
}

#ifdef __cplusplus
}
#endif

#endif
