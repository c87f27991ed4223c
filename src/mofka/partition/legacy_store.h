/*
 * What a partition of type `legacy` keeps where: metadata and descriptors in two collections of a Yokan database, data in
 * regions of a Warabi target, in the layout of the original.
 *
 *     <topic>--<uuid>--md    document i + 1: the metadata of event i
 *     <topic>--<uuid>--dd    document i + 1: where its data are, 32 bytes: u64 size, u64 offset, region id; none for an
 *                            event without data
 *     document 0 of both     "F", or "T" once the partition is complete
 *
 * The data of a batch are one region. They are written first, then the descriptors, then the metadata, all of a batch or
 * none: an event exists when its metadata do. How much survives the end of the servers is up to the two providers.
 *
 * All functions block the calling ULT or thread on RPCs. append: one at a time; read: any number at the same time.
 */
#ifndef DANGO_MOFKA_PARTITION_LEGACY_STORE_H
#define DANGO_MOFKA_PARTITION_LEGACY_STORE_H

#include "mofka/partition/frame.h"

#include <margo.h>

struct mofka_legacy_store;

/* A provider somewhere. */
struct mofka_legacy_address {
    const char *address;
    uint16_t provider_id;
};

struct mofka_legacy_settings {
    margo_instance_id mid;
    const char *topic;
    uint8_t uuid[16];
    struct mofka_legacy_address metadata, data;
};

/* Makes the collections when there are none. *count: the events that are there; *complete: there will be no more. */
int dango_mofka_legacy_open(const struct mofka_legacy_settings *settings, struct mofka_legacy_store **store,
                            uint64_t *count, bool *complete, struct dango_error *err);
void dango_mofka_legacy_close(struct mofka_legacy_store *store);

/*
 * Stores a batch: a frame with first_id, followed by its content, or the end of the stream. On failure nothing of it is
 * there; when that is not known (a server did not answer) the store takes no more batches until it is opened again, and
 * says so.
 */
int dango_mofka_legacy_append(struct mofka_legacy_store *store, const struct mofka_frame *frame,
                              struct dango_error *err);

/* Events from `first_id` on, which exist up to `end`, as one sealed frame with data: as many as are reasonable to handle
 * at a time, at least one. The caller frees it. */
int dango_mofka_legacy_read(struct mofka_legacy_store *store, uint64_t first_id, uint64_t end,
                            struct mofka_frame **frame, struct dango_error *err);

#endif
