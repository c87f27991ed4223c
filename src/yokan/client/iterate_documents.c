/*
 * Fetch and iteration of documents, in batches: see deliver.h. The `_bulk` callbacks get one bulk handle per batch, over
 * memory of this process.
 */
#include "yokan/client/deliver.h"

#include <stdlib.h>

#include <assert.h>

struct document_delivery {
    yk_document_callback_t callback; /* one of the two */
    yk_document_bulk_callback_t bulk_callback;
    void *uargs;
    size_t first_index;
    const yk_id_t *ids;  /* of the batch */
    const size_t *sizes; /* of the batch */
    struct yokan_slice *documents;
    bool with_ids; /* bulk layout of iteration */
};

static yk_return_t deliver_document(void *arg, size_t i)
{
    struct document_delivery *d = arg;
    return d->callback(d->uargs, d->first_index + i, d->ids[i], d->documents[i].data, d->documents[i].size);
}

/* Documents before the first that did not fit or is past the end, and their bytes. */
static size_t cut_documents(const struct yokan_batches *batches, size_t count, struct yokan_slice *documents,
                            size_t *total)
{
    size_t n = 0;
    *total = 0;
    for (; n < count; n++) {
        size_t size = batches->sizes[n];
        if (size == YOKAN_SIZE_TOO_SMALL || size == YOKAN_NO_MORE_DOCS)
            break;
        documents[n] = (struct yokan_slice){batches->bytes + *total, size};
        *total += size == YOKAN_KEY_NOT_FOUND ? 0 : size;
    }
    return n;
}

/* Exposes a batch as [ids] sizes documents, and calls the user. */
static yk_return_t deliver_bulk(const struct yokan_batches *batches, struct document_delivery *d, size_t count,
                                size_t total)
{
    assert(count > 0 && d->bulk_callback);
    margo_instance_id mid = batches->target.dbh->client->mid;
    void *pointers[3];
    hg_size_t sizes[3];
    hg_uint32_t parts = 0;
    hg_bulk_t bulk = HG_BULK_NULL;
    hg_addr_t self = HG_ADDR_NULL;
    if (d->with_ids) {
        pointers[parts] = (void *)(uintptr_t)d->ids;
        sizes[parts++] = count * sizeof *d->ids;
    }
    pointers[parts] = (void *)(uintptr_t)d->sizes;
    sizes[parts++] = count * sizeof *d->sizes;
    pointers[parts] = batches->bytes;
    sizes[parts++] = total;
    hg_size_t size = count * sizeof *d->sizes * (d->with_ids ? 2 : 1) + total;
    hg_return_t hret = margo_bulk_create(mid, parts, pointers, sizes, HG_BULK_READ_ONLY, &bulk);
    if (hret == HG_SUCCESS)
        hret = margo_addr_self(mid, &self);
    yk_return_t ret = YOKAN_ERR_FROM_MERCURY;
    if (hret == HG_SUCCESS)
        ret = d->bulk_callback(d->uargs, d->first_index, count, bulk, self, size);
    margo_addr_free(mid, self);
    margo_bulk_free(bulk);
    return ret;
}

/* Hands over what a request brought; *done says how much. The first document did not fit: larger buffers. */
static yk_return_t deliver_batch(struct yokan_batches *batches, struct document_delivery *d, size_t count, size_t *done)
{
    assert(count > 0 && count <= batches->batch_size);
    size_t total;
    *done = cut_documents(batches, count, d->documents, &total);
    if (*done == 0)
        return batches->sizes[0] == YOKAN_NO_MORE_DOCS ? YOKAN_SUCCESS : yokan_batches_grow(batches);
    return d->bulk_callback ? deliver_bulk(batches, d, *done, total)
                            : yokan_deliver(batches, *done, deliver_document, d);
}

/* Bulk callbacks and a mode that forbids bulk transfer exclude each other. */
static yk_return_t check(const struct yokan_target *target, const struct document_delivery *d)
{
    if (!d->callback && !d->bulk_callback)
        return YOKAN_ERR_INVALID_ARGS;
    return d->bulk_callback && (target->mode & YOKAN_MODE_NO_RDMA) ? YOKAN_ERR_MODE : YOKAN_SUCCESS;
}

static yk_return_t fetch(const struct yokan_target *target, size_t count, const yk_id_t *ids,
                         struct document_delivery d, const yk_doc_fetch_options_t *options)
{
    struct yokan_batches batches;
    yk_return_t ret = check(target, &d);
    if (ret != YOKAN_SUCCESS || count == 0)
        return ret;
    if (!ids)
        return YOKAN_ERR_INVALID_ARGS;
    ret = yokan_batches_init(&batches, target, options && options->batch_size ? options->batch_size : count, count,
                             options ? options->pool : ABT_POOL_NULL);
    d.documents = calloc(batches.batch_size, sizeof *d.documents);
    d.sizes = batches.sizes;
    if (!d.documents)
        ret = YOKAN_ERR_ALLOCATION;
    for (size_t i = 0, done; i < count && ret == YOKAN_SUCCESS; i += done) {
        size_t n = count - i < batches.batch_size ? count - i : batches.batch_size;
        struct yokan_column column = {
            .count = n, .sizes = batches.sizes, .buffer = batches.bytes, .space = batches.space};
        done = 0;
        d.ids = ids + i;
        d.first_index = i;
        ret = yokan_batches_next(&batches);
        if (ret == YOKAN_SUCCESS)
            ret = yokan_load(&batches.target, d.ids, &column);
        if (ret == YOKAN_SUCCESS)
            ret = deliver_batch(&batches, &d, n, &done);
    }
    free(d.documents);
    yokan_batches_fini(&batches);
    return ret == YOKAN_STOP_ITERATION ? YOKAN_SUCCESS : ret;
}

yk_return_t yk_doc_fetch(yk_database_handle_t dbh, const char *collection, int32_t mode, yk_id_t id,
                         yk_document_callback_t cb, void *uargs, ...)
{
    YOKAN_TIMEOUT_OF(mode, uargs);
    return fetch(&(struct yokan_target){dbh, mode, timeout_ms, collection}, 1, &id,
                 (struct document_delivery){.callback = cb, .uargs = uargs}, NULL);
}

yk_return_t yk_doc_fetch_multi(yk_database_handle_t dbh, const char *collection, int32_t mode, size_t count,
                               const yk_id_t *ids, yk_document_callback_t cb, void *uargs,
                               const yk_doc_fetch_options_t *options, ...)
{
    YOKAN_TIMEOUT_OF(mode, options);
    return fetch(&(struct yokan_target){dbh, mode, timeout_ms, collection}, count, ids,
                 (struct document_delivery){.callback = cb, .uargs = uargs}, options);
}

yk_return_t yk_doc_fetch_bulk(yk_database_handle_t dbh, const char *collection, int32_t mode, size_t count,
                              const yk_id_t *ids, yk_document_bulk_callback_t cb, void *uargs,
                              const yk_doc_fetch_options_t *options, ...)
{
    YOKAN_TIMEOUT_OF(mode, options);
    return fetch(&(struct yokan_target){dbh, mode, timeout_ms, collection}, count, ids,
                 (struct document_delivery){.bulk_callback = cb, .uargs = uargs}, options);
}

static yk_return_t iterate(const struct yokan_target *target, yk_id_t start, struct yokan_slice filter, size_t max,
                           struct document_delivery d, const yk_doc_iter_options_t *options)
{
    struct yokan_batches batches;
    yk_return_t ret = check(target, &d);
    if (ret != YOKAN_SUCCESS)
        return ret;
    ret = yokan_batches_init(&batches, target, options ? options->batch_size : 0, max,
                             options ? options->pool : ABT_POOL_NULL);
    d.documents = calloc(batches.batch_size, sizeof *d.documents);
    d.sizes = batches.sizes;
    d.ids = batches.ids;
    d.with_ids = true;
    if (!d.documents)
        ret = YOKAN_ERR_ALLOCATION;
    size_t left = max ? max : SIZE_MAX;
    for (bool ended = false; ret == YOKAN_SUCCESS && left > 0 && !ended;) {
        size_t n = left < batches.batch_size ? left : batches.batch_size, done = 0;
        struct yokan_column column = {
            .count = n, .sizes = batches.sizes, .buffer = batches.bytes, .space = batches.space};
        ret = yokan_batches_next(&batches);
        if (ret == YOKAN_SUCCESS)
            ret = yokan_list_documents(&batches.target, start, filter, batches.ids, &column);
        if (ret == YOKAN_SUCCESS) {
            ret = deliver_batch(&batches, &d, n, &done);
            ended = done < n && batches.sizes[done] == YOKAN_NO_MORE_DOCS;
        }
        start = done ? batches.ids[done - 1] + 1 : start;
        d.first_index += done;
        left -= done;
    }
    free(d.documents);
    yokan_batches_fini(&batches);
    return ret == YOKAN_STOP_ITERATION ? YOKAN_SUCCESS : ret;
}

yk_return_t yk_doc_iter(yk_database_handle_t dbh, const char *collection, int32_t mode, yk_id_t start_id,
                        const void *filter, size_t filter_size, size_t max, yk_document_callback_t cb, void *uargs,
                        const yk_doc_iter_options_t *options, ...)
{
    YOKAN_TIMEOUT_OF(mode, options);
    return iterate(&(struct yokan_target){dbh, mode, timeout_ms, collection}, start_id,
                   (struct yokan_slice){filter, filter_size}, max,
                   (struct document_delivery){.callback = cb, .uargs = uargs}, options);
}

yk_return_t yk_doc_iter_bulk(yk_database_handle_t dbh, const char *collection, int32_t mode, yk_id_t start_id,
                             const void *filter, size_t filter_size, size_t max, yk_document_bulk_callback_t cb,
                             void *uargs, const yk_doc_iter_options_t *options, ...)
{
    YOKAN_TIMEOUT_OF(mode, options);
    return iterate(&(struct yokan_target){dbh, mode, timeout_ms, collection}, start_id,
                   (struct yokan_slice){filter, filter_size}, max,
                   (struct document_delivery){.bulk_callback = cb, .uargs = uargs}, options);
}
