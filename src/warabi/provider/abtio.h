/*
 * What the two files of the target `abtio` share. Not for others.
 *
 * Locks: `growth` orders the creation of places; `lock` guards the table, the free places and the state of syncing, and
 * is not held during I/O. `growth` comes first.
 */
#ifndef DANGO_WARABI_PROVIDER_ABTIO_H
#define DANGO_WARABI_PROVIDER_ABTIO_H

#include "warabi/provider/blob_file.h"
#include "warabi/provider/target.h"

#include "util/list.h"

#include <uthash.h>

/* Free places are kept by the power of two of their capacity. */
#define WB_FREE_CLASSES 64

struct file_settings {
    char *path;
    bool create_if_missing, override_if_exists, sync, directio, destroy_on_shutdown;
    int64_t alignment; /* bytes */
    struct json_object *abt_io;
};

struct file_region {
    struct wb_region base;
    UT_hash_handle hh; /* by offset */
    uint64_t offset, capacity, serial;
    unsigned references; /* guarded by the lock, like `erased` */
    bool erased;
};

struct abtio_target {
    struct wb_target base;
    struct file_settings settings;
    struct wb_file file;
    int direct_fd; /* -1: none */
    bool own_io;   /* file.io is ours */
    ABT_mutex growth, lock;
    uint64_t end; /* place of the next region; guarded by growth */
    struct file_region *regions;
    uint64_t erasures; /* ever */
    struct list_node free[WB_FREE_CLASSES];
    ABT_cond synced;
    bool syncing, failed;
    uint64_t sync_wanted, sync_done; /* tickets */
};

static inline struct abtio_target *target_of(const struct wb_target *base)
{
    return (struct abtio_target *)(uintptr_t)base;
}

static inline struct file_region *region_of(struct wb_region *base)
{
    return (struct file_region *)base;
}

/* Whether the target may still be changed: 0, or an error that says what happened. */
int wb_abtio_check_health(struct abtio_target *target, struct dango_error *err);

/* Notes a place that is free; whether its bytes are known to be zeros. Under the lock, or alone. */
void wb_abtio_add_free(struct abtio_target *target, uint64_t offset, uint64_t capacity, bool punched);
void wb_abtio_forget_free(struct abtio_target *target);

/* Operations of the target type. */
int wb_abtio_create(struct wb_target *base, uint64_t size, warabi_region_t *id, struct wb_region **result,
                    struct dango_error *err);
int wb_abtio_acquire(struct wb_target *base, const warabi_region_t *id, struct wb_region **result,
                     struct dango_error *err);
void wb_abtio_release(struct wb_region *base);
int wb_abtio_erase(struct wb_target *base, const warabi_region_t *id, struct dango_error *err);

#endif
