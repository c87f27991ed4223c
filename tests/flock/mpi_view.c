/*
 * Started by mpirun: every process forms the view of MPI_COMM_WORLD with a provider id of its own, and checks that it is in
 * it, and that the view has as many members as there are processes.
 */
#include <flock/flock-bootstrap-mpi.h>

#include <assert.h>
#include <stdio.h>

int main(int argc, char **argv)
{
    int rank, size;
    flock_group_view_t view = FLOCK_GROUP_VIEW_INITIALIZER, self = FLOCK_GROUP_VIEW_INITIALIZER;
    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    uint16_t id = (uint16_t)(42 + rank);
    margo_instance_id mid = margo_init("na+sm", MARGO_SERVER_MODE, 0, 0);
    flock_return_t ret = flock_group_view_init_from_mpi(mid, id, MPI_COMM_WORLD, &view);
    assert(ret == FLOCK_SUCCESS && flock_group_view_member_count(&view) == (size_t)size);
    ret = flock_group_view_init_from_self(mid, id, &self);
    assert(ret == FLOCK_SUCCESS && flock_group_view_find_member(&view, self.members.data[0].address, id));
    flock_group_view_clear(&view);
    flock_group_view_clear(&self);
    margo_finalize(mid);
    MPI_Finalize();
    printf("rank %d of %d: good\n", rank, size);
    return 0;
}
