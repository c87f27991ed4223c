/*
 * What a storage device for regions must implement: THE place to plug in another kind of target.
 *
 * A new target is one file that defines a `const struct wb_target_type` and one line in the list of targets.c. It
 * embeds struct wb_target as first member of its state, and struct wb_region as first member of what `create` and
 * `acquire` return.
 *
 * Contract. Segments and remote ranges are checked against the sizes before they get here. All functions except open
 * and close may be called concurrently, from ULTs; they may block cooperatively and must not hold locks while they
 * transfer. An acquired region stays usable until `release`, also when it is erased meanwhile; its id is invalid as
 * soon as `erase` returned. `close` is called when no region is acquired; it leaves stored data where they are.
 * Failures return a negative code with a text (DANGO_ERR_NOT_FOUND for ids that are not, or no longer, valid).
 */
#ifndef DANGO_WARABI_PROVIDER_TARGET_H
#define DANGO_WARABI_PROVIDER_TARGET_H

#include "warabi/segments.h"

#include <abt-io.h>
#include <dango/options.h>
#include <margo.h>
#include <warabi/client.h>

struct json_object;

struct wb_target {
    const struct wb_target_type *type;
};

struct wb_region {
    struct wb_target *target;
    uint64_t size; /* bytes, as created */
};

/* Bulk memory of the process `address`, from `offset` on. */
struct wb_remote {
    margo_instance_id mid;
    hg_addr_t address;
    hg_bulk_t bulk;
    uint64_t offset;
};

struct wb_target_type {
    const char *name;                   /* "type" in the configuration */
    const struct dango_option *options; /* of its "config" */
    size_t settings_size;               /* of the struct that they fill in */
    bool persists_any; /* `persist` makes the whole target durable: any id will do, as in the original */

    /* Opens the storage. `config` has been checked against `options` and is borrowed; it may be NULL for {}.
     * `io`: the ABT-IO instance that the provider depends on, borrowed; ABT_IO_INSTANCE_NULL when there is none. */
    int (*open)(struct json_object *config, abt_io_instance_id io, struct wb_target **target, struct dango_error *err);
    void (*close)(struct wb_target *target);

    /* The effective "config", one new reference. */
    struct json_object *(*get_config)(const struct wb_target *target);

    /* A new region full of zeros, acquired; `id` names it from now on. */
    int (*create)(struct wb_target *target, uint64_t size, warabi_region_t *id, struct wb_region **region,
                  struct dango_error *err);
    int (*acquire)(struct wb_target *target, const warabi_region_t *id, struct wb_region **region,
                   struct dango_error *err);
    void (*release)(struct wb_region *region);
    int (*erase)(struct wb_target *target, const warabi_region_t *id, struct dango_error *err);

    /* Between the segments of a region and local memory that holds them one after the other. */
    int (*write)(struct wb_region *region, const struct wb_segments *segments, const char *data,
                 struct dango_error *err);
    int (*read)(struct wb_region *region, const struct wb_segments *segments, char *data, struct dango_error *err);

    /* The same with remote memory: `total` bytes, more than 0. */
    int (*pull)(struct wb_region *region, const struct wb_segments *segments, uint64_t total,
                const struct wb_remote *remote, struct dango_error *err);
    int (*push)(struct wb_region *region, const struct wb_segments *segments, uint64_t total,
                const struct wb_remote *remote, struct dango_error *err);

    /* Returns when the segments are durable. `region` may be NULL if the type persists_any. */
    int (*persist)(struct wb_target *target, struct wb_region *region, const struct wb_segments *segments,
                   struct dango_error *err);
};

extern const struct wb_target_type wb_target_memory, wb_target_abtio;

/* The type of this name; NULL and an error that lists the types if there is none. */
const struct wb_target_type *wb_target_type_find(const char *name, struct dango_error *err);

#endif
