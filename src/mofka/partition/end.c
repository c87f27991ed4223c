/*
 * The end of a stream: a batch without events that goes the way of all batches, so that it is stored behind everything that
 * was reserved before it, in a log as a frame with MOFKA_FRAME_END_OF_STREAM. From its reservation on other batches are
 * refused; should it fail, they are taken again.
 */
#include "mofka/partition/internal.h"

#include <assert.h>

/* Under the lock. */
static int reserve_end(struct mofka_partition *partition, struct mofka_reception *reception, struct dango_error *err)
{
    if (partition->ending)
        return dango_error_set(err, DANGO_ERR_BUSY, "the topic is just being marked as complete by somebody else");
    int code = partition->ops->place(partition, reception, (size_t)mofka_frame_extent(0, 0), err);
    if (code != 0)
        return code;
    partition->ending = true;
    atomic_fetch_add_explicit(&partition->ends.pending, 1, memory_order_relaxed);
    list_append(&partition->pending, &reception->link);
    return 0;
}

int dango_mofka_partition_end(struct mofka_partition *partition, struct mofka_reception *reception,
                              struct dango_error *err)
{
    assert(reception->done);
    *reception = (struct mofka_reception){.done = reception->done, .end_of_stream = true, .stream = &partition->ends};
    int code = 0;
    pthread_mutex_lock(&partition->lock);
    bool complete = dango_mofka_partition_is_complete(partition);
    reception->attempt = partition->ends.failed_attempt + 1;
    if (!complete)
        code = reserve_end(partition, reception, err);
    pthread_mutex_unlock(&partition->lock);
    if (complete)
        reception->done(reception, dango_mofka_partition_next_id(partition), 0);
    else if (code == 0)
        dango_mofka_partition_commit(partition, reception, 0);
    return code;
}

bool dango_mofka_partition_is_complete(const struct mofka_partition *partition)
{
    return atomic_load_explicit(&partition->complete, memory_order_acquire);
}

void mofka_partition_set_complete(struct mofka_partition *partition, bool complete)
{
    partition->ending = complete;
    atomic_store_explicit(&partition->complete, complete, memory_order_release);
}

void mofka_partition_ended(struct mofka_partition *partition, int code)
{
    pthread_mutex_lock(&partition->lock);
    mofka_partition_set_complete(partition, code == 0);
    pthread_mutex_unlock(&partition->lock);
    /* Nothing has grown, but those who wait for events can be told that there will be none. */
    if (code == 0 && partition->settings.grown)
        partition->settings.grown(partition->settings.arg);
}
