/*
 * Making a topic, step by step, in a way that a death at any moment leaves nothing that others stumble over: what is made
 * is written down first (registry.h). Used for new topics and for those whose partitions are taken up from files.
 *
 *     struct mofka_creation creation = {.driver = driver, .name = name, .options = options};
 *     int code = mofka_creation_begin(&creation, err);
 *     for (i …; code == 0)
 *         code = mofka_creation_add(&creation, &partition, err);
 *     if (code == 0)
 *         code = mofka_creation_publish(&creation, &description, err);
 *     mofka_creation_end(&creation, code, err);       undoes everything if that is not 0
 *
 * One thread. Everything blocks.
 */
#ifndef DANGO_MOFKA_CLIENT_CREATION_H
#define DANGO_MOFKA_CLIENT_CREATION_H

#include "mofka/client/claim.h"
#include "mofka/client/driver.h"
#include "mofka/client/options.h"

struct mofka_creation {
    struct mofka_driver *driver;
    const char *name;
    const struct mofka_topic_options *options;
    size_t servers_needed; /* so many servers, from the first, must answer: the others are not missed. 0: all must */
    /* The rest is the creation's. */
    struct mofka_registry *registry;
    struct bedrock_group *group; /* the servers that the group file names now, in its order */
    struct mofka_claim claim;
    bool claimed;                     /* our mark is in the database */
    bool took_over;                   /* from a creator that has died */
    bool begun;                       /* the list of partitions is ours */
    struct json_object *server_names; /* by address */
    size_t started;
    size_t capacity;
    struct mofka_started {
        size_t server;
        char provider[BEDROCK_NAME_MAX + 1];
    } * partitions;
};

struct mofka_new_partition {
    size_t server; /* index in the group */
    char uuid[37];
    bool must_exist;            /* its files are there */
    struct json_object *origin; /* kept with its files, see docs/formats/log.md; may be NULL. Borrowed */
};

/* DANGO_ERR_EXISTS: the topic exists; DANGO_ERR_BUSY: somebody else is creating it. */
int mofka_creation_begin(struct mofka_creation *creation, struct dango_error *err);
int mofka_creation_add(struct mofka_creation *creation, const struct mofka_new_partition *partition,
                       struct dango_error *err);
int mofka_creation_publish(struct mofka_creation *creation, const struct diaspora_topic_description *description,
                           struct dango_error *err);
/* Also after a failed begin. `code` is the outcome so far; what could not be undone is added to the text of *err. */
void mofka_creation_end(struct mofka_creation *creation, int code, struct dango_error *err);

/* The first name of each dependency that the type uses, as a reference; NULL on failure. The master database is not one of
 * them: its address is another one after a restart. dependencies.c */
struct json_object *mofka_creation_dependencies(const struct mofka_creation *creation, struct bedrock_service *server,
                                                struct dango_error *err);

/* The name of a server; NULL when it has none (its partitions do not come back by themselves). */
const char *mofka_creation_server_name(const struct mofka_creation *creation, size_t server);

#endif
