/*
 * Operations on collections and documents: the requests' side of collections.h. Layouts are in yokan/collection.h.
 */
#include "yokan/collections.h"
#include "yokan/provider/collect.h"

#include <assert.h>

#define WORD sizeof(uint64_t)

yk_return_t yokan_run_coll_create(struct yokan_job *job)
{
    return yokan_collection_create(job->database, job->request->name);
}

yk_return_t yokan_run_coll_drop(struct yokan_job *job)
{
    return yokan_collection_drop(job->database, job->request->name);
}

/* Absence is an answer here, not an error. */
yk_return_t yokan_run_coll_exists(struct yokan_job *job)
{
    yk_return_t ret = yokan_collection_info(job->database, job->request->name, NULL, NULL);
    job->value = ret == YOKAN_SUCCESS;
    return ret == YOKAN_ERR_KEY_NOT_FOUND ? YOKAN_SUCCESS : ret;
}

yk_return_t yokan_run_coll_size(struct yokan_job *job)
{
    return yokan_collection_info(job->database, job->request->name, &job->value, NULL);
}

yk_return_t yokan_run_coll_last_id(struct yokan_job *job)
{
    yk_return_t ret = yokan_collection_info(job->database, job->request->name, NULL, &job->value);
    job->value--; /* the next id minus one: "none" wraps to the largest number */
    return ret;
}

/* The documents of a request: sizes and bytes are the whole region. */
static yk_return_t read_documents(struct yokan_job *job, yokan_document **documents)
{
    assert(job->request->count > 0 && job->request->count <= YOKAN_COUNT_MAX);
    size_t n = job->request->count;
    uint64_t total = yokan_region_size(job), sum;
    const char *region;
    if (total < n * WORD)
        return YOKAN_ERR_INVALID_ARGS;
    yk_return_t ret = yokan_read(job, 0, total, &region);
    if (ret != YOKAN_SUCCESS)
        return ret;
    if (!yokan_sum_sizes(region, n, true, total - n * WORD, &sum))
        return YOKAN_ERR_INVALID_ARGS;
    *documents = yokan_job_alloc(job, n, sizeof **documents);
    if (!*documents)
        return YOKAN_ERR_ALLOCATION;
    yokan_cut(region, n, region + n * WORD, *documents);
    return YOKAN_SUCCESS;
}

/* The ids of a request, aligned. */
static yk_return_t read_ids(struct yokan_job *job, yk_id_t **ids)
{
    assert(job->request->count > 0 && job->request->count <= YOKAN_COUNT_MAX);
    const struct yokan_request *r = job->request;
    if (r->ids.size != r->count * WORD)
        return YOKAN_ERR_INVALID_ARGS;
    *ids = yokan_job_alloc(job, r->count, sizeof **ids);
    if (!*ids)
        return YOKAN_ERR_ALLOCATION;
    memcpy(*ids, r->ids.data, r->ids.size);
    return YOKAN_SUCCESS;
}

yk_return_t yokan_run_doc_store(struct yokan_job *job)
{
    yokan_document *documents;
    yk_return_t ret = read_documents(job, &documents);
    if (ret != YOKAN_SUCCESS)
        return ret;
    return yokan_doc_store(job->database, job->request->name, job->request->count, documents, &job->value);
}

yk_return_t yokan_run_doc_update(struct yokan_job *job)
{
    const struct yokan_request *r = job->request;
    yokan_document *documents;
    yk_id_t *ids;
    yk_return_t ret = read_ids(job, &ids);
    if (ret == YOKAN_SUCCESS)
        ret = read_documents(job, &documents);
    return ret == YOKAN_SUCCESS ? yokan_doc_update(job->database, r->name, r->mode, r->count, ids, documents) : ret;
}

yk_return_t yokan_run_doc_erase(struct yokan_job *job)
{
    yk_id_t *ids;
    yk_return_t ret = read_ids(job, &ids);
    return ret == YOKAN_SUCCESS ? yokan_doc_erase(job->database, job->request->name, job->request->count, ids) : ret;
}

/* Absent documents keep the size that all begin with. */
static yk_return_t collect_document(void *arg, size_t i, yk_id_t id, struct yokan_slice document)
{
    (void)id;
    return document.data ? yokan_collector_add(arg, i, document) : YOKAN_SUCCESS;
}

yk_return_t yokan_run_doc_load(struct yokan_job *job)
{
    const struct yokan_request *r = job->request;
    uint64_t header = r->count * WORD;
    struct yokan_collector documents = {0};
    const char *capacities = NULL;
    yk_id_t *ids;
    if (r->bulk && r->size < header)
        return YOKAN_ERR_INVALID_ARGS;
    uint64_t space = r->bulk ? r->size - header : r->value_space;
    yk_return_t ret = read_ids(job, &ids);
    if (ret == YOKAN_SUCCESS && !r->packed)
        ret = yokan_read(job, 0, header, &capacities);
    if (ret == YOKAN_SUCCESS)
        ret = yokan_collector_init(&documents, job, r->count, capacities, space, YOKAN_KEY_NOT_FOUND);
    if (ret == YOKAN_SUCCESS && r->bulk && capacities && documents.space > space)
        ret = YOKAN_ERR_INVALID_ARGS; /* capacities beyond the region */
    if (ret == YOKAN_SUCCESS)
        ret = yokan_doc_load(job->database, r->name, r->count, ids, collect_document, &documents);
    if (ret == YOKAN_SUCCESS)
        ret = yokan_collector_write_sizes(&documents, 0);
    if (ret == YOKAN_SUCCESS)
        ret = yokan_collector_write_bytes(&documents, header);
    yokan_collector_fini(&documents);
    return ret;
}

static yk_return_t note_size(void *arg, size_t i, yk_id_t id, struct yokan_slice document)
{
    (void)id;
    ((uint64_t *)arg)[i] = document.size;
    return YOKAN_SUCCESS;
}

yk_return_t yokan_run_doc_length(struct yokan_job *job)
{
    const struct yokan_request *r = job->request;
    yk_id_t *ids;
    yk_return_t ret = read_ids(job, &ids);
    if (ret != YOKAN_SUCCESS)
        return ret;
    uint64_t *sizes = yokan_job_alloc(job, r->count, sizeof *sizes);
    if (!sizes)
        return YOKAN_ERR_ALLOCATION;
    ret = yokan_doc_load(job->database, r->name, r->count, ids, note_size, sizes);
    return ret == YOKAN_SUCCESS ? yokan_write(job, 0, sizes, r->count * WORD) : ret;
}

struct document_listing {
    size_t limit, found;
    bool ignore_documents;
    uint64_t *ids;
    struct yokan_collector *documents;
};

/* The id is given also for a document that does not fit. */
static yk_return_t list_document(void *arg, size_t index, yk_id_t id, struct yokan_slice document)
{
    assert(((struct document_listing *)arg)->found < ((struct document_listing *)arg)->limit);
    (void)index;
    struct document_listing *listing = arg;
    listing->ids[listing->found] = id;
    if (listing->ignore_documents)
        document.size = 0;
    yk_return_t ret = yokan_collector_add(listing->documents, listing->found++, document);
    if (ret != YOKAN_SUCCESS && ret != YOKAN_ERR_BUFFER_SIZE)
        return ret;
    return listing->found == listing->limit ? YOKAN_STOP_ITERATION : YOKAN_SUCCESS;
}

/* Filters of documents are Lua or libraries, which are not supported; without those modes the filter has no meaning. */
yk_return_t yokan_run_doc_list(struct yokan_job *job)
{
    const struct yokan_request *r = job->request;
    uint64_t array = r->count * WORD;
    const char *bytes;
    if (r->filter_size > YOKAN_REGION_MAX)
        return YOKAN_ERR_INVALID_ARGS;
    yk_return_t ret = yokan_read(job, 0, r->filter_size + (r->packed ? 0 : array), &bytes);
    struct yokan_collector documents = {0};
    struct document_listing listing = {
        .limit = r->count, .ignore_documents = (r->mode & YOKAN_MODE_IGNORE_DOCS) != 0, .documents = &documents};
    if (ret == YOKAN_SUCCESS)
        ret = yokan_collector_init(&documents, job, r->count, r->packed ? NULL : bytes + r->filter_size, r->value_space,
                                   YOKAN_NO_MORE_DOCS);
    listing.ids = ret == YOKAN_SUCCESS ? yokan_job_alloc(job, r->count, sizeof *listing.ids) : NULL;
    if (ret == YOKAN_SUCCESS && !listing.ids)
        ret = YOKAN_ERR_ALLOCATION;
    for (size_t i = 0; i < r->count && ret == YOKAN_SUCCESS; i++)
        listing.ids[i] = YOKAN_NO_MORE_DOCS;
    if (ret == YOKAN_SUCCESS)
        ret = yokan_doc_scan(job->database, r->name, r->id, list_document, &listing);
    if (ret == YOKAN_SUCCESS)
        ret = yokan_collector_write_sizes(&documents, r->filter_size);
    if (ret == YOKAN_SUCCESS)
        ret = yokan_write(job, r->filter_size + array, listing.ids, array);
    if (ret == YOKAN_SUCCESS)
        ret = yokan_collector_write_bytes(&documents, r->filter_size + 2 * array);
    yokan_collector_fini(&documents);
    return ret;
}
