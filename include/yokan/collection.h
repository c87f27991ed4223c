/*
 * Yokan client: collections of documents. A collection is a named sequence in a database; a document is a byte string
 * with a 64-bit id, given in increasing order from 0 and never reused. Blocking, deadlines, forms and threads are as in
 * yokan/database.h. Every operation on a missing collection gives YOKAN_ERR_KEY_NOT_FOUND.
 *
 * Layouts of bulk handles (8-byte sizes and ids, n = count):
 *
 *     doc_store, doc_update  sizes[n] documents
 *     doc_load               sizes[n] (out; in: capacities, if not packed) documents (out)
 *     doc_list               filter sizes[n] (out; in: capacities, if not packed) ids[n] (out) documents (out)
 */
#ifndef YOKAN_COLLECTION_H
#define YOKAN_COLLECTION_H

#include <yokan/database.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Create: YOKAN_ERR_KEY_EXISTS if there is one. Drop removes the documents too. */
yk_return_t yk_collection_create(yk_database_handle_t dbh, const char *name, int32_t mode, ...);
yk_return_t yk_collection_drop(yk_database_handle_t dbh, const char *collection, int32_t mode, ...);
yk_return_t yk_collection_exists(yk_database_handle_t dbh, const char *collection, int32_t mode, uint8_t *flag, ...);
/* Documents stored and not erased. */
yk_return_t yk_collection_size(yk_database_handle_t dbh, const char *collection, int32_t mode, size_t *count, ...);
/* The next id minus one: (yk_id_t)-1 in a new collection; erasing does not change it. */
yk_return_t yk_collection_last_id(yk_database_handle_t dbh, const char *collection, int32_t mode, yk_id_t *id, ...);

/* Store: appends; the ids of one call are consecutive, in order. All documents of a call or none. */
yk_return_t yk_doc_store(yk_database_handle_t dbh, const char *collection, int32_t mode, const void *document,
                         size_t size, yk_id_t *id, ...);
yk_return_t yk_doc_store_multi(yk_database_handle_t dbh, const char *collection, int32_t mode, size_t count,
                               const void *const *documents, const size_t *rsizes, yk_id_t *ids, ...);
yk_return_t yk_doc_store_packed(yk_database_handle_t dbh, const char *collection, int32_t mode, size_t count,
                                const void *documents, const size_t *rsizes, yk_id_t *ids, ...);
yk_return_t yk_doc_store_bulk(yk_database_handle_t dbh, const char *collection, int32_t mode, size_t count,
                              const char *origin, hg_bulk_t data, size_t offset, size_t size, yk_id_t *ids, ...);

/* Load: as get. */
yk_return_t yk_doc_load(yk_database_handle_t dbh, const char *collection, int32_t mode, yk_id_t id, void *data,
                        size_t *size, ...);
yk_return_t yk_doc_load_multi(yk_database_handle_t dbh, const char *collection, int32_t mode, size_t count,
                              const yk_id_t *ids, void *const *documents, size_t *rsizes, ...);
yk_return_t yk_doc_load_packed(yk_database_handle_t dbh, const char *collection, int32_t mode, size_t count,
                               const yk_id_t *ids, size_t rbufsize, void *documents, size_t *rsizes, ...);
yk_return_t yk_doc_load_bulk(yk_database_handle_t dbh, const char *collection, int32_t mode, size_t count,
                             const yk_id_t *ids, const char *origin, hg_bulk_t data, size_t offset, size_t size,
                             bool packed, ...);

/* Callback of fetch and iteration: rules as for yk_keyvalue_callback_t. */
typedef yk_return_t (*yk_document_callback_t)(void *uargs, size_t index, yk_id_t id, const void *doc, size_t size);
/*
 * The same for a whole batch, given as a bulk handle at `origin` (valid during the callback) that the callee may pull
 * or hand to another process. Layout: fetch: sizes[count] documents; iteration: ids[count] sizes[count] documents.
 */
typedef yk_return_t (*yk_document_bulk_callback_t)(void *uargs, size_t start_index, size_t count, hg_bulk_t data,
                                                   hg_addr_t origin, size_t size);

typedef struct yk_doc_fetch_options {
    ABT_pool pool;       /* where callbacks run; ABT_POOL_NULL: in the caller */
    unsigned batch_size; /* documents per message; 0: all in one */
} yk_doc_fetch_options_t;

yk_return_t yk_doc_fetch(yk_database_handle_t dbh, const char *collection, int32_t mode, yk_id_t id,
                         yk_document_callback_t cb, void *uargs, ...);
yk_return_t yk_doc_fetch_multi(yk_database_handle_t dbh, const char *collection, int32_t mode, size_t count,
                               const yk_id_t *ids, yk_document_callback_t cb, void *uargs,
                               const yk_doc_fetch_options_t *options, ...);
yk_return_t yk_doc_fetch_bulk(yk_database_handle_t dbh, const char *collection, int32_t mode, size_t count,
                              const yk_id_t *ids, yk_document_bulk_callback_t cb, void *uargs,
                              const yk_doc_fetch_options_t *options, ...);

yk_return_t yk_doc_length(yk_database_handle_t dbh, const char *collection, int32_t mode, yk_id_t id, size_t *size,
                          ...);
/* Exception: a missing collection makes every size YOKAN_KEY_NOT_FOUND, with success. */
yk_return_t yk_doc_length_multi(yk_database_handle_t dbh, const char *collection, int32_t mode, size_t count,
                                const yk_id_t *ids, size_t *rsizes, ...);

/*
 * Update: replaces documents. An id never given: YOKAN_ERR_INVALID_ID and nothing changed; with UPDATE_NEW it is
 * created, and ids go on after the largest.
 */
yk_return_t yk_doc_update(yk_database_handle_t dbh, const char *collection, int32_t mode, yk_id_t id,
                          const void *document, size_t size, ...);
yk_return_t yk_doc_update_multi(yk_database_handle_t dbh, const char *collection, int32_t mode, size_t count,
                                const yk_id_t *ids, const void *const *documents, const size_t *rsizes, ...);
yk_return_t yk_doc_update_packed(yk_database_handle_t dbh, const char *collection, int32_t mode, size_t count,
                                 const yk_id_t *ids, const void *documents, const size_t *rsizes, ...);
yk_return_t yk_doc_update_bulk(yk_database_handle_t dbh, const char *name, int32_t mode, size_t count,
                               const yk_id_t *ids, const char *origin, hg_bulk_t data, size_t offset, size_t size, ...);

yk_return_t yk_doc_erase(yk_database_handle_t dbh, const char *collection, int32_t mode, yk_id_t id, ...);
yk_return_t yk_doc_erase_multi(yk_database_handle_t dbh, const char *collection, int32_t mode, size_t count,
                               const yk_id_t *ids, ...);

/*
 * List: up to `max` documents with id >= start_id, in order of ids. Past the end, id and size are YOKAN_NO_MORE_DOCS; a
 * document that does not fit has size YOKAN_SIZE_TOO_SMALL (packed: and all later ones), its id is given.
 */
yk_return_t yk_doc_list(yk_database_handle_t dbh, const char *collection, int32_t mode, yk_id_t start_id,
                        const void *filter, size_t filter_size, size_t max, yk_id_t *ids, void *const *docs,
                        size_t *doc_sizes, ...);
yk_return_t yk_doc_list_packed(yk_database_handle_t dbh, const char *collection, int32_t mode, yk_id_t start_id,
                               const void *filter, size_t filter_size, size_t max, yk_id_t *ids, size_t bufsize,
                               void *docs, size_t *doc_sizes, ...);
yk_return_t yk_doc_list_bulk(yk_database_handle_t dbh, const char *collection, int32_t mode, yk_id_t from_id,
                             size_t filter_size, const char *origin, hg_bulk_t data, size_t offset,
                             size_t docs_buf_size, bool packed, size_t count, ...);

typedef struct yk_doc_iter_options {
    unsigned batch_size; /* documents per message; 0: a default */
    ABT_pool pool;       /* where callbacks run; ABT_POOL_NULL: in the caller */
} yk_doc_iter_options_t;

/* Iteration: the callback for up to `max` documents (0: all). */
yk_return_t yk_doc_iter(yk_database_handle_t dbh, const char *collection, int32_t mode, yk_id_t start_id,
                        const void *filter, size_t filter_size, size_t max, yk_document_callback_t cb, void *uargs,
                        const yk_doc_iter_options_t *options, ...);
yk_return_t yk_doc_iter_bulk(yk_database_handle_t dbh, const char *collection, int32_t mode, yk_id_t start_id,
                             const void *filter, size_t filter_size, size_t max, yk_document_bulk_callback_t cb,
                             void *uargs, const yk_doc_iter_options_t *options, ...);

#ifdef __cplusplus
}
#endif

#endif
