/*
 * An open database: a backend with its settings, and the documents on top of it. What a provider holds; needs no
 * network. Used by several ULTs at a time; functions may wait for locks.
 */
#ifndef YOKAN_STORE_H
#define YOKAN_STORE_H

#include "yokan/backend.h"

struct json_object;

struct yokan_database {
    const struct yokan_backend *backend;
    void *settings; /* of the backend's table */
    void *db;       /* the backend's object */
    bool lock_documents;
    ABT_mutex_memory documents; /* one read-modify-write of collections at a time */
};

/* Opens the database that {"type": …, "config": …} describes; `path` is the place of that object in its document. */
yk_return_t yokan_database_open(struct json_object *config, const char *path, struct yokan_database **database,
                                struct dango_error *err);
void yokan_database_close(struct yokan_database *database);

/* The effective configuration, same form; one new reference. */
struct json_object *yokan_database_config(const struct yokan_database *database);

/* Checks a configuration without opening anything. */
int yokan_database_check(struct json_object *config, const char *path, struct dango_error *err);

#endif
