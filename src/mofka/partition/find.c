/*
 * Finding events by time: a binary search over ids with an ordinary reader, for both storages. The time of a batch is that
 * of its arrival at the server; should the server's clock have been set back, the search finds one of the places where
 * times pass the wanted one.
 */
#include "mofka/partition/internal.h"

/* Copies the header of the batch with event `id`, or of the next sound one: 1; 0 at the end; negative: it cannot be read. */
static int look(struct mofka_partition *partition, uint64_t id, struct mofka_frame *header, struct dango_error *err)
{
    const struct mofka_limits limits = {.size = UINT64_MAX, .events = UINT32_MAX, .with_data = true, .unchecked = true};
    struct mofka_reader reader;
    struct mofka_slice slice;
    uint64_t needed;
    int found = dango_mofka_reader_seek(&reader, partition, id, err);
    if (found < 0)
        return found;
    do {
        found = dango_mofka_reader_next(&reader, &limits, &slice, &needed, err);
    } while (found < 0 && dango_mofka_reader_skip(&reader) > 0);
    if (found > 0)
        *header = *slice.frame;
    dango_mofka_reader_fini(&reader);
    return found;
}

int dango_mofka_partition_find_time(struct mofka_partition *partition, uint64_t time_ns, uint64_t *id,
                                    struct dango_error *err)
{
    if (partition->ops->load)
        return dango_error_set(err, DANGO_ERR_UNSUPPORTED, "partitions of this type do not keep the time of events");
    /* Batches that begin below `low` are older, those from `high` on are not. */
    uint64_t low = dango_mofka_partition_first_id(partition), high = dango_mofka_partition_next_id(partition);
    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        struct mofka_frame header;
        int found = look(partition, middle, &header, err);
        if (found < 0)
            return found;
        if (found > 0 && header.timestamp_ns < time_ns)
            low = header.first_id + header.count;
        else if (found > 0 && header.first_id < middle)
            high = header.first_id;
        else
            high = middle;
    }
    *id = low;
    return 0;
}
