/*
 * The operations of a provider on its target, without the network: ids are resolved, ranges checked, and the region is
 * held while it is in use. The handlers decode requests and call these; tests may, too.
 *
 * `remote` describes the memory of the peer; NULL means that `data` is used instead.
 */
#ifndef DANGO_WARABI_PROVIDER_STORE_H
#define DANGO_WARABI_PROVIDER_STORE_H

#include "warabi/provider/target.h"

/* Where the data of a write come from: bytes at hand, or remote memory. */
struct wb_source {
    const void *data;
    uint64_t size; /* of `data`; must be what the segments add up to */
    const struct wb_remote *remote;
};

int wb_store_create(struct wb_target *target, uint64_t size, warabi_region_t *id, struct dango_error *err);
int wb_store_write(struct wb_target *target, const warabi_region_t *id, const struct wb_segments *segments,
                   const struct wb_source *source, bool persist, struct dango_error *err);
int wb_store_create_write(struct wb_target *target, uint64_t size, const struct wb_source *source, bool persist,
                          warabi_region_t *id, struct dango_error *err);
int wb_store_persist(struct wb_target *target, const warabi_region_t *id, const struct wb_segments *segments,
                     struct dango_error *err);

/* Into remote memory. */
int wb_store_push(struct wb_target *target, const warabi_region_t *id, const struct wb_segments *segments,
                  const struct wb_remote *remote, struct dango_error *err);

/* Into a new buffer of at most WB_EAGER_MAX bytes, to be freed by the caller. */
int wb_store_read(struct wb_target *target, const warabi_region_t *id, const struct wb_segments *segments, char **data,
                  uint64_t *size, struct dango_error *err);

int wb_store_size(struct wb_target *target, const warabi_region_t *id, uint64_t *size, struct dango_error *err);
int wb_store_erase(struct wb_target *target, const warabi_region_t *id, struct dango_error *err);

#endif
