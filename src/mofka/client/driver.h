/*
 * What the files of the network driver share. The driver implements the table of src/diaspora/driver.h:
 *
 *     driver.c    opening: group file, engine, master database; the table
 *     options.c   option tables, and what they make of the options of a topic
 *     topic.c     creation (all or nothing), opening, listing
 *     creation.c  the steps of a creation; claim.c: who may do them
 *     import.c    topics from the directories of their partitions
 *     delete.c    deletion of topics
 *     directories.c  partitions that nobody serves
 *     admin.c     what operators do to partitions
 *     memory.c    buffers registered for the network
 *     sink.c      batches to a partition
 *     source.c    events from a partition
 *     link.c      sessions, calls in order, loss of a server
 *     relink.c    finding a partition again
 *     resolve.c   where a partition is now
 *     lease.c     keeping sessions alive
 *     engine.c    the network itself
 *
 * Topics in the master database are in src/mofka/registry/, which servers use as well.
 */
#ifndef DANGO_MOFKA_CLIENT_DRIVER_H
#define DANGO_MOFKA_CLIENT_DRIVER_H

#include "diaspora/driver.h"
#include "mofka/client/engine.h"
#include "mofka/client/lease.h"
#include "mofka/registry/registry.h"
#include "mofka/wire/directories.h"

#include <bedrock/client.h>
#include <flock/flock-group-view.h>
#include <pthread.h>
#include <stdatomic.h>

struct mofka_driver {
    char *group_file;
    double reconnect_timeout_ms;
    struct mofka_engine *engine;
    struct bedrock_client *bedrock;
    _Atomic(struct mofka_registry *) registry; /* another one when the master database has moved */
    struct mofka_leases leases;
    /* Finding what has moved (resolve.c). */
    struct bedrock_client *prober; /* as `bedrock`, but impatient */
    ABT_mutex search_lock;         /* guards the rest; held while servers are asked */
    int64_t searched_ns;
    struct dango_error search_result;
    size_t search_skip;              /* servers that the next search passes over: this one has waited for them */
    flock_group_view_t view;         /* the group as some server knew it at the last search; the file may be older */
    bool view_is_new;                /* of this search */
    struct mofka_registry **retired; /* registries that may be in use; closed with the driver */
    size_t retired_count;
    pthread_mutex_t losses_lock; /* guards the count of links that look for their partition */
    size_t losses;
};

struct mofka_topic {
    struct mofka_driver *driver;
    char *name;
    size_t partition_count;
    struct mofka_topic_partition {
        struct mofka_target target;
        uint8_t uuid[16];
        char *problem; /* why its server does not serve it; NULL: it does. Without a target otherwise */
    } * partitions;
};

/* driver.c: what the user reads when links are lost and when they are back; one line for all of them. */
void mofka_driver_note_loss(struct mofka_driver *driver, const char *why);
void mofka_driver_note_end(struct mofka_driver *driver, bool found, const char *address, double seconds);

/* resolve.c: these block the calling thread, for seconds if servers hang. */

int mofka_search_init(struct mofka_driver *driver, struct dango_error *err);
void mofka_search_fini(struct mofka_driver *driver);
/* Looks for the master database anew; driver->registry is then the one to use. Servers that do not answer are passed over;
 * `opening`: after more patience, and they are named in the log. */
int mofka_find_master(struct mofka_driver *driver, bool opening, struct dango_error *err);
/* Whether what failed with `code` in `*registry` is worth another try, because the master database is elsewhere now:
 * `*registry` is the new one then. */
bool mofka_master_moved(struct mofka_driver *driver, struct mofka_registry **registry, int code);
/* Where the partition is now, according to the master database. */
int mofka_resolve(struct mofka_driver *driver, const char *topic, const uint8_t uuid[16], struct mofka_target *target,
                  struct dango_error *err);

/* topic.c */
int mofka_topic_create(void *driver, const char *name, struct json_object *options,
                       const struct diaspora_topic_description *description, struct dango_error *err);
int mofka_topic_import(void *driver, const char *name, struct json_object *options, struct dango_error *err);
int mofka_topic_exists(void *driver, const char *name, bool *exists, struct dango_error *err);
int mofka_topic_list(void *driver, struct json_object **list, struct dango_error *err);
int mofka_topic_open(void *driver, const char *name, void **topic, struct diaspora_topic_description *description,
                     struct dango_error *err);
void mofka_topic_close(void *topic);
/* An error when there is no such partition, or its server does not serve it. */
int mofka_topic_partition(struct mofka_topic *topic, size_t i, struct mofka_topic_partition **partition,
                          struct dango_error *err);

/* Whether a failure says that a server is dead, or hangs. */
static inline bool mofka_is_absence(int code)
{
    return code == DANGO_ERR_DISCONNECTED || code == DANGO_ERR_TIMEOUT;
}

/* delete.c */
int mofka_topic_delete(void *driver, const char *name, bool force, bool keep_data, struct dango_error *err);

/* directories.c: what one server answers (mofka/wire/directories.h), a new reference; NULL on failure. */
int mofka_ask_directories(struct mofka_driver *driver, const char *address, const mofka_directories_in_t *question,
                          struct json_object **list, struct dango_error *err);

/* admin.c: see struct diaspora_driver_ops */
void mofka_operator_request_init(struct mofka_operator_request *request, const uint8_t uuid[16]);
int mofka_inspect_users(const struct mofka_target *target, const uint8_t uuid[16], uint64_t *users,
                        struct dango_error *err);
int mofka_topic_inspect(void *topic, size_t partition, struct json_object **state, struct dango_error *err);
int mofka_topic_set_position(void *topic, size_t partition, const struct diaspora_position_change *change,
                             struct dango_error *err);
int mofka_topic_complete(void *topic, size_t partition, struct dango_error *err);

/* memory.c */

/* Memory that servers can reach, with the flat form of its handle made once. */
struct mofka_memory {
    hg_bulk_t bulk;
    size_t flat_size, flat_capacity;
    unsigned char *flat;
};

int mofka_buffer_allocate(void *driver, size_t size, struct diaspora_buffer *buffer, struct dango_error *err);
void mofka_buffer_free(void *driver, struct diaspora_buffer *buffer);
/* Registers segments (at least one byte in all). Reuses memory->flat; released with mofka_memory_release. */
int mofka_memory_register(struct mofka_engine *engine, const diaspora_segment *segments, size_t count, uint8_t flags,
                          struct mofka_memory *memory, struct dango_error *err);
void mofka_memory_unregister(struct mofka_memory *memory); /* keeps the flat buffer */
void mofka_memory_release(struct mofka_memory *memory);

/* sink.c, source.c: see struct diaspora_driver_ops */
int mofka_sink_open(void *topic, size_t partition, const struct diaspora_sink_settings *settings, void **sink,
                    struct dango_error *err);
void mofka_sink_submit(void *sink, struct diaspora_batch *batch);
void mofka_sink_settle(void *sink, struct diaspora_settling *settling);
void mofka_sink_close(void *sink);
int mofka_source_open(void *topic, size_t partition, const struct diaspora_source_settings *settings, void **source,
                      struct dango_error *err);
void mofka_source_fetch(void *source, struct diaspora_fetch *fetch);
void mofka_source_read(void *source, struct diaspora_read *read);
int mofka_source_acknowledge(void *source, uint64_t event_id, struct dango_error *err);
int mofka_source_extent(void *source, uint64_t *first, uint64_t *end, struct dango_error *err);
uint64_t mofka_source_skipped(void *source);
void mofka_source_close(void *source);

#endif
