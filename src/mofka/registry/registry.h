/*
 * Topics in the master database, and what servers need to find their partitions again:
 *
 *     MOFKA:GLOBAL:<topic>:validator, :selector, :serializer     JSON descriptions of the topic objects
 *     collection MOFKA:GLOBAL:<topic>:partitions                 one document per partition, in index order
 *     MOFKA:SERVER:<name>                                        {"address"} of the server of that name, at its last start
 *
 * The document of a partition:
 *
 *     {"uuid", "address", "provider_id",    identity; where the partition is now
 *      "server",                            name of the server that keeps it, which survives restarts; absent: unknown
 *      "provider",                          description to start it with: name, type, tags, config, and dependencies
 *                                           without addresses: "master_database" is added at every start, providers
 *                                           of other servers are "name@server:NAME" (reference.h)
 *      "error"}                             why it is not served; absent when it is. Written by its server
 *
 * After a restart the server looks for the documents with its name, starts the providers and puts the new address and
 * provider id into each document, with one write.
 *
 *     MOFKA:GLOBAL:<topic>:creator                               who creates the topic; absent when nobody does
 *
 * A topic exists when its three keys do. Its creator first claims it (`creator`, which only one of several can), takes away
 * what a dead creator has left, makes the collection, writes each partition down before it starts it, and puts the keys last
 * and together: until then nobody sees the topic, and no server restores it. Whoever fails takes all of it away again; of
 * whoever dies, the next creator does.
 *
 * All functions block and may be called from any thread.
 */
#ifndef DANGO_MOFKA_REGISTRY_H
#define DANGO_MOFKA_REGISTRY_H

#include "diaspora/driver.h"

#include <margo.h>

struct mofka_registry;

int dango_mofka_registry_open(margo_instance_id mid, const char *address, uint16_t provider_id,
                              struct mofka_registry **registry, struct dango_error *err);
void dango_mofka_registry_close(struct mofka_registry *registry);

/* "yokan:<id>@<address>" */
const char *dango_mofka_registry_locator(const struct mofka_registry *registry);

int dango_mofka_registry_exists(struct mofka_registry *registry, const char *topic, bool *exists,
                                struct dango_error *err);

/* ---- creation ---- */

/* Claims the creation of a topic with a mark. DANGO_ERR_BUSY when there is one: *other (may be NULL if it has just gone)
 * is a reference to it. */
int dango_mofka_registry_claim(struct mofka_registry *registry, const char *topic, struct json_object *mark,
                               struct json_object **other, struct dango_error *err);
/* Takes the mark out: exactly one caller gets it, as a reference; NULL in it when there is none. */
int dango_mofka_registry_unclaim(struct mofka_registry *registry, const char *topic, struct json_object **mark,
                                 struct dango_error *err);
/* Writes one's own mark again. */
int dango_mofka_registry_renew_claim(struct mofka_registry *registry, const char *topic, struct json_object *mark,
                                     struct dango_error *err);
/* Makes the empty list of partitions. DANGO_ERR_EXISTS when there is one: of a topic that is being deleted, or was, until
 * the deleter died. */
int dango_mofka_registry_begin(struct mofka_registry *registry, const char *topic, struct dango_error *err);
/* Appends a partition; *id is that of its document. */
int dango_mofka_registry_add_partition(struct mofka_registry *registry, const char *topic,
                                       struct json_object *partition, uint64_t *id, struct dango_error *err);
int dango_mofka_registry_publish(struct mofka_registry *registry, const char *topic,
                                 const struct diaspora_topic_description *description, struct dango_error *err);
/* The first step of deletion: the topic is no more, for clients and for servers that come back. What `drop` removes tells
 * until then which partitions are left. Nothing happens when it is no topic (any more). */
int dango_mofka_registry_unpublish(struct mofka_registry *registry, const char *topic, struct dango_error *err);
/* Removes the list of partitions: DANGO_ERR_NOT_FOUND when there is none. */
int dango_mofka_registry_drop(struct mofka_registry *registry, const char *topic, struct dango_error *err);

/* ---- looking ---- */

/* "there is no topic …", with those that there are and the one that was probably meant; DANGO_ERR_NOT_FOUND. Asks for their
 * names. */
int dango_mofka_registry_no_topic(struct mofka_registry *registry, const char *topic, struct dango_error *err);

/* Fills the description, one reference each. */
int dango_mofka_registry_load(struct mofka_registry *registry, const char *topic,
                              struct diaspora_topic_description *description, struct dango_error *err);
void dango_mofka_registry_release(struct diaspora_topic_description *description);

/* ---- partitions ---- */

struct mofka_partition_record {
    const char *topic;
    uint64_t id;              /* of the document */
    struct json_object *json; /* the document; borrowed */
};

/* Calls `visit` with each partition of a topic, in their order; stops at the first failure of it, and returns that.
 * DANGO_ERR_NOT_FOUND when there is no topic, nor what is left of one. */
int dango_mofka_registry_partitions(struct mofka_registry *registry, const char *topic,
                                    int (*visit)(void *arg, const struct mofka_partition_record *record,
                                                 struct dango_error *err),
                                    void *arg, struct dango_error *err);
/* Replaces the document by record->json. */
int dango_mofka_registry_update_partition(struct mofka_registry *registry, const struct mofka_partition_record *record,
                                          struct dango_error *err);

/* ---- servers ---- */

/* Enters the name of a server with its address; DANGO_ERR_EXISTS when the name is there. */
int dango_mofka_registry_add_server(struct mofka_registry *registry, const char *name, const char *address,
                                    struct dango_error *err);
/* The address entered for a name, for the caller to free; NULL in it when there is none. */
int dango_mofka_registry_find_server(struct mofka_registry *registry, const char *name, char **address,
                                     struct dango_error *err);
/* Takes a name out: exactly one caller gets the address, to free; NULL in it when there is no such name. */
int dango_mofka_registry_take_server(struct mofka_registry *registry, const char *name, char **address,
                                     struct dango_error *err);

/* ---- listing ---- */

/* Array of the names of all topics; a new reference. */
int dango_mofka_registry_names(struct mofka_registry *registry, struct json_object **names, struct dango_error *err);

/* {name: {"name", "num_partitions", "validator", "serializer", "partition_selector"}} */
int dango_mofka_registry_list(struct mofka_registry *registry, struct json_object **list, struct dango_error *err);

#endif
