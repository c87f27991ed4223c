/*
 * Client functions for collections and documents, except fetch and iteration.
 */
#include "yokan/client/client.h"

#include <assert.h>

#define WORD sizeof(size_t)

/* ---- collections ---- */

/* Operations on a collection have no region; some have a number as answer. */
static yk_return_t run_collection(enum yokan_op op, const struct yokan_target *target, uint64_t *value)
{
    assert(op >= YOKAN_OP_coll_create && op <= YOKAN_OP_coll_last_id);
    struct yokan_call call;
    if (!target->collection)
        return YOKAN_ERR_INVALID_ARGS;
    yk_return_t ret = yokan_call_begin(&call, op, target);
    if (ret == YOKAN_SUCCESS)
        ret = yokan_call_run(&call);
    if (ret == YOKAN_SUCCESS && value)
        *value = call.response.value;
    yokan_call_end(&call);
    return ret;
}

yk_return_t yk_collection_create(yk_database_handle_t dbh, const char *name, int32_t mode, ...)
{
    YOKAN_TIMEOUT_OF(mode, mode);
    return run_collection(YOKAN_OP_coll_create, &(struct yokan_target){dbh, mode, timeout_ms, name}, NULL);
}

yk_return_t yk_collection_drop(yk_database_handle_t dbh, const char *collection, int32_t mode, ...)
{
    YOKAN_TIMEOUT_OF(mode, mode);
    return run_collection(YOKAN_OP_coll_drop, &(struct yokan_target){dbh, mode, timeout_ms, collection}, NULL);
}

yk_return_t yk_collection_exists(yk_database_handle_t dbh, const char *collection, int32_t mode, uint8_t *flag, ...)
{
    YOKAN_TIMEOUT_OF(mode, flag);
    uint64_t value = 0;
    if (!flag)
        return YOKAN_ERR_INVALID_ARGS;
    yk_return_t ret =
        run_collection(YOKAN_OP_coll_exists, &(struct yokan_target){dbh, mode, timeout_ms, collection}, &value);
    if (ret == YOKAN_SUCCESS)
        *flag = value != 0;
    return ret;
}

yk_return_t yk_collection_size(yk_database_handle_t dbh, const char *collection, int32_t mode, size_t *count, ...)
{
    YOKAN_TIMEOUT_OF(mode, count);
    if (!count)
        return YOKAN_ERR_INVALID_ARGS;
    return run_collection(YOKAN_OP_coll_size, &(struct yokan_target){dbh, mode, timeout_ms, collection}, count);
}

yk_return_t yk_collection_last_id(yk_database_handle_t dbh, const char *collection, int32_t mode, yk_id_t *id, ...)
{
    YOKAN_TIMEOUT_OF(mode, id);
    if (!id)
        return YOKAN_ERR_INVALID_ARGS;
    return run_collection(YOKAN_OP_coll_last_id, &(struct yokan_target){dbh, mode, timeout_ms, collection}, id);
}

/* ---- store and update ---- */

/* Documents of a call in either form: what keys are for pairs, but they may be empty. */
static yk_return_t check_documents(const struct yokan_keys *documents)
{
    uint64_t total;
    if (!documents->sizes)
        return YOKAN_ERR_INVALID_ARGS;
    if (!yokan_sum_sizes((const char *)documents->sizes, documents->count, true, YOKAN_LAST_VALID_SIZE, &total) ||
        (total && !documents->pointers && !documents->packed))
        return YOKAN_ERR_INVALID_ARGS;
    for (size_t i = 0; i < documents->count && documents->pointers; i++) {
        if (documents->sizes[i] && !documents->pointers[i])
            return YOKAN_ERR_INVALID_ARGS;
    }
    return YOKAN_SUCCESS;
}

/* `part` must live as long as the call. */
static void set_ids(struct yokan_call *call, const yk_id_t *ids, size_t count, struct yokan_slice *part)
{
    assert(ids && count > 0);
    *part = (struct yokan_slice){ids, count * WORD};
    call->request.ids = (struct yokan_blob){.size = part->size, .parts = part, .part_count = 1};
}

/* Ids of one call are consecutive: only the first is sent. */
static void number_ids(yk_id_t *ids, size_t count, yk_id_t first)
{
    for (size_t i = 0; i < count; i++)
        ids[i] = first + i;
}

/* Store (given_ids NULL; the ids go to new_ids) or update. */
static yk_return_t write_documents(enum yokan_op op, const struct yokan_target *target, const yk_id_t *given_ids,
                                   const struct yokan_keys *documents, yk_id_t *new_ids)
{
    assert(op == YOKAN_OP_doc_store || op == YOKAN_OP_doc_update);
    struct yokan_call call;
    struct yokan_slice part;
    if (documents->count == 0)
        return YOKAN_SUCCESS;
    yk_return_t ret =
        target->collection && (given_ids || new_ids) ? check_documents(documents) : YOKAN_ERR_INVALID_ARGS;
    if (ret != YOKAN_SUCCESS)
        return ret;
    ret = yokan_call_begin(&call, op, target);
    if (ret == YOKAN_SUCCESS) {
        call.request.count = documents->count;
        if (given_ids)
            set_ids(&call, given_ids, documents->count, &part);
        yokan_part_in(&call, documents->sizes, documents->count * WORD);
        yokan_part_keys(&call, documents);
        ret = yokan_call_run(&call);
    }
    if (ret == YOKAN_SUCCESS && new_ids)
        number_ids(new_ids, documents->count, call.response.value);
    yokan_call_end(&call);
    return ret;
}

/* The same with the documents in a bulk handle; also load. */
static yk_return_t run_bulk(enum yokan_op op, const struct yokan_target *target, const yk_id_t *given_ids,
                            struct yokan_request region, yk_id_t *new_ids)
{
    struct yokan_call call;
    struct yokan_slice part;
    if (region.count == 0)
        return YOKAN_SUCCESS;
    if (!target->collection || !(given_ids || new_ids) || region.size == 0)
        return YOKAN_ERR_INVALID_ARGS;
    yk_return_t ret = yokan_call_begin(&call, op, target);
    call.request.count = region.count;
    call.request.packed = region.packed;
    if (given_ids)
        set_ids(&call, given_ids, region.count, &part);
    if (ret == YOKAN_SUCCESS)
        ret = yokan_call_run_bulk(&call, region.origin, region.bulk, region.offset, region.size);
    if (ret == YOKAN_SUCCESS && new_ids)
        number_ids(new_ids, region.count, call.response.value);
    yokan_call_end(&call);
    return ret;
}

yk_return_t yk_doc_store(yk_database_handle_t dbh, const char *collection, int32_t mode, const void *document,
                         size_t size, yk_id_t *id, ...)
{
    YOKAN_TIMEOUT_OF(mode, id);
    return write_documents(YOKAN_OP_doc_store, &(struct yokan_target){dbh, mode, timeout_ms, collection}, NULL,
                           &(struct yokan_keys){1, &size, NULL, document}, id);
}

yk_return_t yk_doc_store_multi(yk_database_handle_t dbh, const char *collection, int32_t mode, size_t count,
                               const void *const *documents, const size_t *rsizes, yk_id_t *ids, ...)
{
    YOKAN_TIMEOUT_OF(mode, ids);
    if (count && !documents)
        return YOKAN_ERR_INVALID_ARGS;
    return write_documents(YOKAN_OP_doc_store, &(struct yokan_target){dbh, mode, timeout_ms, collection}, NULL,
                           &(struct yokan_keys){count, rsizes, documents, NULL}, ids);
}

yk_return_t yk_doc_store_packed(yk_database_handle_t dbh, const char *collection, int32_t mode, size_t count,
                                const void *documents, const size_t *rsizes, yk_id_t *ids, ...)
{
    YOKAN_TIMEOUT_OF(mode, ids);
    return write_documents(YOKAN_OP_doc_store, &(struct yokan_target){dbh, mode, timeout_ms, collection}, NULL,
                           &(struct yokan_keys){count, rsizes, NULL, documents}, ids);
}

yk_return_t yk_doc_store_bulk(yk_database_handle_t dbh, const char *collection, int32_t mode, size_t count,
                              const char *origin, hg_bulk_t data, size_t offset, size_t size, yk_id_t *ids, ...)
{
    YOKAN_TIMEOUT_OF(mode, ids);
    struct yokan_request region = {.count = count, .origin = origin, .bulk = data, .offset = offset, .size = size};
    return run_bulk(YOKAN_OP_doc_store, &(struct yokan_target){dbh, mode, timeout_ms, collection}, NULL, region, ids);
}

yk_return_t yk_doc_update(yk_database_handle_t dbh, const char *collection, int32_t mode, yk_id_t id,
                          const void *document, size_t size, ...)
{
    YOKAN_TIMEOUT_OF(mode, size);
    return write_documents(YOKAN_OP_doc_update, &(struct yokan_target){dbh, mode, timeout_ms, collection}, &id,
                           &(struct yokan_keys){1, &size, NULL, document}, NULL);
}

yk_return_t yk_doc_update_multi(yk_database_handle_t dbh, const char *collection, int32_t mode, size_t count,
                                const yk_id_t *ids, const void *const *documents, const size_t *rsizes, ...)
{
    YOKAN_TIMEOUT_OF(mode, rsizes);
    if (count && !documents)
        return YOKAN_ERR_INVALID_ARGS;
    return write_documents(YOKAN_OP_doc_update, &(struct yokan_target){dbh, mode, timeout_ms, collection}, ids,
                           &(struct yokan_keys){count, rsizes, documents, NULL}, NULL);
}

yk_return_t yk_doc_update_packed(yk_database_handle_t dbh, const char *collection, int32_t mode, size_t count,
                                 const yk_id_t *ids, const void *documents, const size_t *rsizes, ...)
{
    YOKAN_TIMEOUT_OF(mode, rsizes);
    return write_documents(YOKAN_OP_doc_update, &(struct yokan_target){dbh, mode, timeout_ms, collection}, ids,
                           &(struct yokan_keys){count, rsizes, NULL, documents}, NULL);
}

yk_return_t yk_doc_update_bulk(yk_database_handle_t dbh, const char *name, int32_t mode, size_t count,
                               const yk_id_t *ids, const char *origin, hg_bulk_t data, size_t offset, size_t size, ...)
{
    YOKAN_TIMEOUT_OF(mode, size);
    struct yokan_request region = {.count = count, .origin = origin, .bulk = data, .offset = offset, .size = size};
    return run_bulk(YOKAN_OP_doc_update, &(struct yokan_target){dbh, mode, timeout_ms, name}, ids, region, NULL);
}

/* ---- load ---- */

yk_return_t yokan_load(const struct yokan_target *target, const yk_id_t *ids, struct yokan_column *documents)
{
    assert(target && documents);
    struct yokan_call call;
    struct yokan_slice part;
    if (documents->count == 0)
        return YOKAN_SUCCESS;
    if (!target->collection || !ids || !documents->sizes)
        return YOKAN_ERR_INVALID_ARGS;
    yk_return_t ret = yokan_call_begin(&call, YOKAN_OP_doc_load, target);
    if (ret == YOKAN_SUCCESS) {
        call.request.count = documents->count;
        call.request.packed = documents->pointers == NULL;
        call.request.value_space = documents->space;
        set_ids(&call, ids, documents->count, &part);
        yokan_column_sizes(&call, documents);
        yokan_column_bytes(&call, documents);
        ret = yokan_call_run(&call);
    }
    if (ret == YOKAN_SUCCESS)
        ret = yokan_column_fetch_sizes(&call, documents);
    if (ret == YOKAN_SUCCESS)
        ret = yokan_column_fetch_bytes(&call, documents);
    yokan_call_end(&call);
    yokan_column_fini(documents);
    return ret;
}

yk_return_t yk_doc_load(yk_database_handle_t dbh, const char *collection, int32_t mode, yk_id_t id, void *data,
                        size_t *size, ...)
{
    YOKAN_TIMEOUT_OF(mode, size);
    if (!size || (!data && *size))
        return YOKAN_ERR_INVALID_ARGS;
    struct yokan_column column = {.count = 1, .sizes = size, .pointers = &data};
    yk_return_t ret = yokan_load(&(struct yokan_target){dbh, mode, timeout_ms, collection}, &id, &column);
    if (ret != YOKAN_SUCCESS)
        return ret;
    return *size == YOKAN_KEY_NOT_FOUND    ? YOKAN_ERR_KEY_NOT_FOUND
           : *size == YOKAN_SIZE_TOO_SMALL ? YOKAN_ERR_BUFFER_SIZE
                                           : YOKAN_SUCCESS;
}

yk_return_t yk_doc_load_multi(yk_database_handle_t dbh, const char *collection, int32_t mode, size_t count,
                              const yk_id_t *ids, void *const *documents, size_t *rsizes, ...)
{
    YOKAN_TIMEOUT_OF(mode, rsizes);
    if (count && !documents)
        return YOKAN_ERR_INVALID_ARGS;
    struct yokan_column column = {.count = count, .sizes = rsizes, .pointers = documents};
    return yokan_load(&(struct yokan_target){dbh, mode, timeout_ms, collection}, ids, &column);
}

yk_return_t yk_doc_load_packed(yk_database_handle_t dbh, const char *collection, int32_t mode, size_t count,
                               const yk_id_t *ids, size_t rbufsize, void *documents, size_t *rsizes, ...)
{
    YOKAN_TIMEOUT_OF(mode, rsizes);
    if (count && rbufsize && !documents)
        return YOKAN_ERR_INVALID_ARGS;
    struct yokan_column column = {.count = count, .sizes = rsizes, .buffer = documents, .space = rbufsize};
    return yokan_load(&(struct yokan_target){dbh, mode, timeout_ms, collection}, ids, &column);
}

/* ---- length and erase ---- */

/* Region: `size` bytes of answer (none for erase); the ids travel beside it. */
static yk_return_t run_ids(enum yokan_op op, const struct yokan_target *target, size_t count, const yk_id_t *ids,
                           void *answer, size_t size)
{
    struct yokan_call call;
    struct yokan_slice part;
    if (count == 0)
        return YOKAN_SUCCESS;
    if (!target->collection || !ids)
        return YOKAN_ERR_INVALID_ARGS;
    yk_return_t ret = yokan_call_begin(&call, op, target);
    if (ret == YOKAN_SUCCESS) {
        call.request.count = count;
        set_ids(&call, ids, count, &part);
        yokan_part_out(&call, answer, size);
        ret = yokan_call_run(&call);
    }
    if (ret == YOKAN_SUCCESS)
        ret = yokan_fetch_out(&call, answer, size);
    yokan_call_end(&call);
    return ret;
}

yk_return_t yk_doc_length(yk_database_handle_t dbh, const char *collection, int32_t mode, yk_id_t id, size_t *size, ...)
{
    YOKAN_TIMEOUT_OF(mode, size);
    if (!size)
        return YOKAN_ERR_INVALID_ARGS;
    yk_return_t ret = run_ids(YOKAN_OP_doc_length, &(struct yokan_target){dbh, mode, timeout_ms, collection}, 1, &id,
                              size, sizeof *size);
    return ret == YOKAN_SUCCESS && *size == YOKAN_KEY_NOT_FOUND ? YOKAN_ERR_KEY_NOT_FOUND : ret;
}

yk_return_t yk_doc_length_multi(yk_database_handle_t dbh, const char *collection, int32_t mode, size_t count,
                                const yk_id_t *ids, size_t *rsizes, ...)
{
    YOKAN_TIMEOUT_OF(mode, rsizes);
    if (count && !rsizes)
        return YOKAN_ERR_INVALID_ARGS;
    yk_return_t ret = run_ids(YOKAN_OP_doc_length, &(struct yokan_target){dbh, mode, timeout_ms, collection}, count,
                              ids, rsizes, count * sizeof *rsizes);
    if (ret != YOKAN_ERR_KEY_NOT_FOUND)
        return ret;
    for (size_t i = 0; i < count; i++)
        rsizes[i] = YOKAN_KEY_NOT_FOUND;
    return YOKAN_SUCCESS;
}

yk_return_t yk_doc_erase(yk_database_handle_t dbh, const char *collection, int32_t mode, yk_id_t id, ...)
{
    YOKAN_TIMEOUT_OF(mode, id);
    return run_ids(YOKAN_OP_doc_erase, &(struct yokan_target){dbh, mode, timeout_ms, collection}, 1, &id, NULL, 0);
}

yk_return_t yk_doc_erase_multi(yk_database_handle_t dbh, const char *collection, int32_t mode, size_t count,
                               const yk_id_t *ids, ...)
{
    YOKAN_TIMEOUT_OF(mode, ids);
    return run_ids(YOKAN_OP_doc_erase, &(struct yokan_target){dbh, mode, timeout_ms, collection}, count, ids, NULL, 0);
}

/* ---- list ---- */

yk_return_t yokan_list_documents(const struct yokan_target *target, yk_id_t start, struct yokan_slice filter,
                                 yk_id_t *ids, struct yokan_column *documents)
{
    assert(target && documents);
    struct yokan_call call;
    if (documents->count == 0)
        return YOKAN_SUCCESS;
    if (!target->collection || !ids || !documents->sizes || (!filter.data && filter.size))
        return YOKAN_ERR_INVALID_ARGS;
    yk_return_t ret = yokan_call_begin(&call, YOKAN_OP_doc_list, target);
    if (ret == YOKAN_SUCCESS) {
        call.request.count = documents->count;
        call.request.packed = documents->pointers == NULL;
        call.request.filter_size = filter.size;
        call.request.value_space = documents->space;
        call.request.id = start;
        yokan_part_in(&call, filter.data, filter.size);
        yokan_column_sizes(&call, documents);
        yokan_part_out(&call, ids, documents->count * WORD);
        yokan_column_bytes(&call, documents);
        ret = yokan_call_run(&call);
    }
    if (ret == YOKAN_SUCCESS)
        ret = yokan_column_fetch_sizes(&call, documents);
    if (ret == YOKAN_SUCCESS)
        ret = yokan_fetch_out(&call, ids, documents->count * WORD);
    if (ret == YOKAN_SUCCESS)
        ret = yokan_column_fetch_bytes(&call, documents);
    yokan_call_end(&call);
    yokan_column_fini(documents);
    return ret;
}

yk_return_t yk_doc_list(yk_database_handle_t dbh, const char *collection, int32_t mode, yk_id_t start_id,
                        const void *filter, size_t filter_size, size_t max, yk_id_t *ids, void *const *docs,
                        size_t *doc_sizes, ...)
{
    YOKAN_TIMEOUT_OF(mode, doc_sizes);
    if (max && !docs)
        return YOKAN_ERR_INVALID_ARGS;
    struct yokan_column column = {.count = max, .sizes = doc_sizes, .pointers = docs};
    return yokan_list_documents(&(struct yokan_target){dbh, mode, timeout_ms, collection}, start_id,
                                (struct yokan_slice){filter, filter_size}, ids, &column);
}

yk_return_t yk_doc_list_packed(yk_database_handle_t dbh, const char *collection, int32_t mode, yk_id_t start_id,
                               const void *filter, size_t filter_size, size_t max, yk_id_t *ids, size_t bufsize,
                               void *docs, size_t *doc_sizes, ...)
{
    YOKAN_TIMEOUT_OF(mode, doc_sizes);
    if (max && !docs && bufsize)
        return YOKAN_ERR_INVALID_ARGS;
    struct yokan_column column = {.count = max, .sizes = doc_sizes, .buffer = docs, .space = bufsize};
    return yokan_list_documents(&(struct yokan_target){dbh, mode, timeout_ms, collection}, start_id,
                                (struct yokan_slice){filter, filter_size}, ids, &column);
}

yk_return_t yk_doc_list_bulk(yk_database_handle_t dbh, const char *collection, int32_t mode, yk_id_t from_id,
                             size_t filter_size, const char *origin, hg_bulk_t data, size_t offset,
                             size_t docs_buf_size, bool packed, size_t count, ...)
{
    YOKAN_TIMEOUT_OF(mode, count);
    struct yokan_call call;
    uint64_t size;
    if (count == 0)
        return YOKAN_SUCCESS;
    if (!collection || count > YOKAN_COUNT_MAX || __builtin_add_overflow(filter_size, 2 * count * WORD, &size) ||
        __builtin_add_overflow(size, docs_buf_size, &size))
        return YOKAN_ERR_INVALID_ARGS;
    yk_return_t ret =
        yokan_call_begin(&call, YOKAN_OP_doc_list, &(struct yokan_target){dbh, mode, timeout_ms, collection});
    call.request.count = count;
    call.request.packed = packed;
    call.request.filter_size = filter_size;
    call.request.value_space = docs_buf_size;
    call.request.id = from_id;
    if (ret == YOKAN_SUCCESS)
        ret = yokan_call_run_bulk(&call, origin, data, offset, size);
    yokan_call_end(&call);
    return ret;
}

/* The last named argument is a bool, for which the standard promises nothing here; all our compilers pass it like an
 * int. */
#pragma GCC diagnostic ignored "-Wvarargs"

yk_return_t yk_doc_load_bulk(yk_database_handle_t dbh, const char *collection, int32_t mode, size_t count,
                             const yk_id_t *ids, const char *origin, hg_bulk_t data, size_t offset, size_t size,
                             bool packed, ...)
{
    YOKAN_TIMEOUT_OF(mode, packed);
    struct yokan_request region = {
        .count = count, .packed = packed, .origin = origin, .bulk = data, .offset = offset, .size = size};
    return run_bulk(YOKAN_OP_doc_load, &(struct yokan_target){dbh, mode, timeout_ms, collection}, ids, region, NULL);
}
