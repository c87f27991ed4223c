/*
 * Collections and documents over the pairs of a database, the same for every backend:
 *
 *     collection  key: its name                                   value: number of documents, next id (u64, little end.)
 *     document    key: name, one 0 byte, id as 8 bytes big-endian   value: the document
 *
 * Ids are given once. Operations that change a collection are serialised per database. Storing and updating write the
 * documents and the collection's entry in one step of the backend, so that no id is ever given twice; erasing takes two,
 * between which the size is too large. A name is a C string that is not empty; a pair of that name with a value that is
 * not 16 bytes long is not a collection.
 * Names and memory are checked by the caller. Every function gives YOKAN_ERR_KEY_NOT_FOUND for a missing collection.
 */
#ifndef YOKAN_COLLECTIONS_H
#define YOKAN_COLLECTIONS_H

#include "yokan/store.h"

/* A document for store and update. */
typedef struct yokan_slice yokan_document;

/* As yokan_visit_fn; an absent document has data NULL and size YOKAN_KEY_NOT_FOUND. */
typedef yk_return_t (*yokan_visit_document_fn)(void *arg, size_t index, yk_id_t id, struct yokan_slice document);

yk_return_t yokan_collection_create(struct yokan_database *database, const char *name);
yk_return_t yokan_collection_drop(struct yokan_database *database, const char *name);
/* Each output may be NULL. */
yk_return_t yokan_collection_info(struct yokan_database *database, const char *name, uint64_t *size, yk_id_t *next_id);

/* The ids given are *first, *first + 1, … */
yk_return_t yokan_doc_store(struct yokan_database *database, const char *name, size_t count,
                            const yokan_document *documents, yk_id_t *first);
/* Without UPDATE_NEW in `mode`, an id never given is YOKAN_ERR_INVALID_ID and nothing changes. */
yk_return_t yokan_doc_update(struct yokan_database *database, const char *name, int32_t mode, size_t count,
                             const yk_id_t *ids, const yokan_document *documents);
yk_return_t yokan_doc_erase(struct yokan_database *database, const char *name, size_t count, const yk_id_t *ids);
yk_return_t yokan_doc_load(struct yokan_database *database, const char *name, size_t count, const yk_id_t *ids,
                           yokan_visit_document_fn visit, void *arg);
/* All documents from `start` on, in order of ids. */
yk_return_t yokan_doc_scan(struct yokan_database *database, const char *name, yk_id_t start,
                           yokan_visit_document_fn visit, void *arg);

#endif
