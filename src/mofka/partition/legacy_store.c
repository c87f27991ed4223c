/*
 * The client side of Yokan and Warabi for partitions of type `legacy`; see legacy_store.h.
 */
#include "mofka/partition/legacy_store.h"

#include "diaspora/record.h"
#include "util/clock.h"
#include "util/log.h"
#include "yokan/dango_yokan.h"

#include <uuid/uuid.h>
#include <warabi/client.h>
#include <yokan/client.h>
#include <yokan/collection.h>
#include <yokan/database.h>

#include <assert.h>
#include <endian.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* What is read at a time at most, unless one event is larger: as many events as the original hands on at a time. */
#define READ_EVENTS 32u
#define READ_BYTES  (UINT64_C(4) << 20)
/* Descriptors that are removed at a time. */
#define ERASE_BATCH 256

struct descriptor {
    uint64_t size, offset;
    warabi_region_t region;
};
_Static_assert(sizeof(struct descriptor) == 32, "part of the layout");

struct mofka_legacy_store {
    yk_client_t yokan;
    yk_database_handle_t database;
    warabi_client_t warabi;
    warabi_target_handle_t target;
    uint8_t uuid[16];
    char *metadata, *descriptors; /* names of the collections */
    bool leftovers;               /* there may be descriptors of events that there are not */
    bool broken;
    struct dango_error failure;
};

/* ---- errors ---- */

static int yokan_error(yk_return_t ret, const char *what, struct dango_error *err)
{
    return dango_error_set(err, ret == YOKAN_ERR_FROM_MERCURY ? DANGO_ERR_DISCONNECTED : DANGO_ERR_IO,
                           "dependency \"metadata\": %s: %s", what, dango_yokan_text(ret));
}

/* Takes the error. */
static int warabi_error(warabi_err_t error, const char *what, struct dango_error *err)
{
    dango_error_set(err, DANGO_ERR_IO, "dependency \"data\": %s: %s", what, warabi_err_message(error));
    warabi_err_free(error);
    return DANGO_ERR_IO;
}

/* ---- life ---- */

static int connect(struct mofka_legacy_store *store, const struct mofka_legacy_settings *settings,
                   struct dango_error *err)
{
    hg_addr_t addr;
    if (yk_client_init(settings->mid, &store->yokan) != YOKAN_SUCCESS)
        return dango_error_set(err, DANGO_ERR_NO_MEMORY, "out of memory");
    if (margo_addr_lookup(settings->mid, settings->metadata.address, &addr) != HG_SUCCESS)
        return dango_error_set(err, DANGO_ERR_DISCONNECTED, "dependency \"metadata\": there is no server %s",
                               settings->metadata.address);
    yk_return_t ret =
        yk_database_handle_create(store->yokan, addr, settings->metadata.provider_id, true, &store->database);
    margo_addr_free(settings->mid, addr);
    if (ret != YOKAN_SUCCESS)
        return yokan_error(ret, settings->metadata.address, err);
    warabi_err_t error = warabi_client_create(settings->mid, &store->warabi);
    if (error == WARABI_SUCCESS)
        error = warabi_client_make_target_handle(store->warabi, settings->data.address, settings->data.provider_id,
                                                 &store->target);
    return error == WARABI_SUCCESS ? 0 : warabi_error(error, settings->data.address, err);
}

/* Makes a collection with its document 0, unless it is there. */
static int make_collection(struct mofka_legacy_store *store, const char *name, struct dango_error *err)
{
    yk_id_t id = 0;
    size_t count = 0;
    yk_return_t ret = yk_collection_create(store->database, name, YOKAN_MODE_DEFAULT);
    if (ret == YOKAN_ERR_KEY_EXISTS)
        ret = YOKAN_SUCCESS;
    if (ret == YOKAN_SUCCESS)
        ret = yk_collection_size(store->database, name, YOKAN_MODE_DEFAULT, &count);
    if (ret == YOKAN_SUCCESS && count == 0)
        ret = yk_doc_update(store->database, name, YOKAN_MODE_UPDATE_NEW, id, "F", 1);
    return ret == YOKAN_SUCCESS ? 0 : yokan_error(ret, name, err);
}

static int open_collections(struct mofka_legacy_store *store, const struct mofka_legacy_settings *settings,
                            uint64_t *count, bool *complete, struct dango_error *err)
{
    char uuid[UUID_STR_LEN];
    yk_id_t last, last_described;
    char mark;
    uuid_unparse_lower(settings->uuid, uuid);
    if (asprintf(&store->metadata, "%s--%s--md", settings->topic, uuid) < 0)
        store->metadata = NULL;
    if (asprintf(&store->descriptors, "%s--%s--dd", settings->topic, uuid) < 0)
        store->descriptors = NULL;
    if (!store->metadata || !store->descriptors)
        return dango_error_set(err, DANGO_ERR_NO_MEMORY, "out of memory");
    int code = make_collection(store, store->metadata, err);
    if (code == 0)
        code = make_collection(store, store->descriptors, err);
    if (code != 0)
        return code;
    yk_return_t ret = yk_collection_last_id(store->database, store->metadata, YOKAN_MODE_DEFAULT, &last);
    if (ret != YOKAN_SUCCESS)
        return yokan_error(ret, store->metadata, err);
    *count = last;
    ret = yk_collection_last_id(store->database, store->descriptors, YOKAN_MODE_DEFAULT, &last_described);
    if (ret != YOKAN_SUCCESS)
        return yokan_error(ret, store->descriptors, err);
    store->leftovers = last_described > last;
    size_t size = sizeof mark;
    ret = yk_doc_load(store->database, store->metadata, YOKAN_MODE_DEFAULT, 0, &mark, &size);
    if (ret != YOKAN_SUCCESS)
        return yokan_error(ret, store->metadata, err);
    *complete = mark == 'T';
    return 0;
}

int dango_mofka_legacy_open(const struct mofka_legacy_settings *settings, struct mofka_legacy_store **store,
                            uint64_t *count, bool *complete, struct dango_error *err)
{
    struct mofka_legacy_store *new = calloc(1, sizeof *new);
    if (!new)
        return dango_error_set(err, DANGO_ERR_NO_MEMORY, "out of memory");
    memcpy(new->uuid, settings->uuid, sizeof new->uuid);
    int code = connect(new, settings, err);
    if (code == 0)
        code = open_collections(new, settings, count, complete, err);
    if (code != 0) {
        dango_mofka_legacy_close(new);
        return code;
    }
    *store = new;
    return 0;
}

void dango_mofka_legacy_close(struct mofka_legacy_store *store)
{
    if (store->target)
        warabi_err_free(warabi_target_handle_free(store->target));
    if (store->warabi)
        warabi_err_free(warabi_client_free(store->warabi));
    if (store->database)
        yk_database_handle_release(store->database);
    if (store->yokan)
        yk_client_finalize(store->yokan);
    free(store->metadata);
    free(store->descriptors);
    free(store);
}

/* ---- writing ---- */

/* A batch as documents. */
struct documents {
    size_t count, described; /* events; those with data */
    yk_id_t *ids, *described_ids;
    const void **metadata, **pointers;
    size_t *sizes, *described_sizes;
    struct descriptor *descriptors;
};

static void documents_free(struct documents *documents)
{
    free(documents->ids);
    free(documents->described_ids);
    free(documents->metadata);
    free(documents->pointers);
    free(documents->sizes);
    free(documents->described_sizes);
    free(documents->descriptors);
}

static int documents_alloc(struct documents *documents, size_t count, struct dango_error *err)
{
    *documents = (struct documents){
        .ids = calloc(count, sizeof *documents->ids),
        .described_ids = calloc(count, sizeof *documents->described_ids),
        .metadata = calloc(count, sizeof *documents->metadata),
        .pointers = calloc(count, sizeof *documents->pointers),
        .sizes = calloc(count, sizeof *documents->sizes),
        .described_sizes = calloc(count, sizeof *documents->described_sizes),
        .descriptors = calloc(count, sizeof *documents->descriptors),
    };
    if (documents->ids && documents->described_ids && documents->metadata && documents->pointers && documents->sizes &&
        documents->described_sizes && documents->descriptors)
        return 0;
    documents_free(documents);
    return dango_error_set(err, DANGO_ERR_NO_MEMORY, "out of memory");
}

static void add_event(struct documents *documents, uint64_t event, const struct diaspora_record *record,
                      uint64_t data_offset, warabi_region_t region)
{
    size_t i = documents->count++;
    documents->ids[i] = event + 1;
    documents->metadata[i] = record->metadata;
    documents->sizes[i] = (size_t)record->metadata_size;
    if (record->data_size == 0)
        return;
    i = documents->described++;
    documents->descriptors[i] = (struct descriptor){htole64(record->data_size), htole64(data_offset), region};
    documents->described_ids[i] = event + 1;
    documents->pointers[i] = &documents->descriptors[i];
    documents->described_sizes[i] = sizeof *documents->descriptors;
}

/* The records of a frame were checked when they came in. */
static void add_events(struct documents *documents, const struct mofka_frame *frame, warabi_region_t region)
{
    const unsigned char *records = (const unsigned char *)(frame + 1);
    size_t done = 0;
    uint64_t data_done = 0;
    for (uint32_t i = 0; i < frame->count; i++) {
        struct diaspora_record record;
        size_t size = diaspora_record_get(records + done, (size_t)frame->records_size - done, &record);
        assert(size > 0);
        add_event(documents, frame->first_id + i, &record, data_done, region);
        done += size;
        data_done += record.data_size;
    }
}

/* What was stored of a batch that failed is taken back; if that fails too, nobody knows what a restart will find. */
static void break_store(struct mofka_legacy_store *store, const struct dango_error *err)
{
    store->broken = true;
    store->failure = *err;
    log_critical("mofka", "%s: %s; it is read-only until the server is restarted", store->metadata, err->text);
}

struct leftovers {
    size_t count;
    yk_id_t ids[ERASE_BATCH];
};

static yk_return_t take_leftover(void *arg, size_t index, yk_id_t id, const void *document, size_t size)
{
    struct leftovers *leftovers = arg;
    (void)index;
    (void)document;
    if (size <= YOKAN_LAST_VALID_SIZE && leftovers->count < ERASE_BATCH)
        leftovers->ids[leftovers->count++] = id;
    return YOKAN_SUCCESS;
}

/* Descriptors are stored before metadata, so that a batch that failed, or was interrupted, leaves some: they must not pass
 * for those of the events that get its ids, which may have no data and write no descriptors. */
static int erase_leftovers(struct mofka_legacy_store *store, uint64_t first_id, struct dango_error *err)
{
    struct leftovers leftovers;
    yk_return_t ret;
    if (!store->leftovers)
        return 0;
    do {
        leftovers.count = 0;
        ret = yk_doc_iter(store->database, store->descriptors, YOKAN_MODE_INCLUSIVE, first_id + 1, NULL, 0, ERASE_BATCH,
                          take_leftover, &leftovers, NULL);
        if (ret == YOKAN_SUCCESS && leftovers.count > 0)
            ret = yk_doc_erase_multi(store->database, store->descriptors, YOKAN_MODE_DEFAULT, leftovers.count,
                                     leftovers.ids);
    } while (ret == YOKAN_SUCCESS && leftovers.count > 0);
    store->leftovers = ret != YOKAN_SUCCESS;
    return ret == YOKAN_SUCCESS ? 0 : yokan_error(ret, store->descriptors, err);
}

static int put_documents(struct mofka_legacy_store *store, const struct documents *documents, struct dango_error *err)
{
    yk_return_t ret = YOKAN_SUCCESS;
    if (documents->described > 0)
        ret = yk_doc_update_multi(store->database, store->descriptors, YOKAN_MODE_UPDATE_NEW, documents->described,
                                  documents->described_ids, documents->pointers, documents->described_sizes);
    if (ret != YOKAN_SUCCESS)
        return yokan_error(ret, store->descriptors, err);
    ret = yk_doc_update_multi(store->database, store->metadata, YOKAN_MODE_UPDATE_NEW, documents->count, documents->ids,
                              documents->metadata, documents->sizes);
    if (ret == YOKAN_SUCCESS)
        return 0;
    int code = yokan_error(ret, store->metadata, err);
    if (ret == YOKAN_ERR_TIMEOUT || ret == YOKAN_ERR_FROM_MERCURY || ret == YOKAN_ERR_IO)
        break_store(store, err);
    return code;
}

/* The mark in document 0. Written twice it is the same. */
static int put_end(struct mofka_legacy_store *store, struct dango_error *err)
{
    yk_return_t ret = yk_doc_update(store->database, store->metadata, YOKAN_MODE_DEFAULT, 0, "T", 1);
    return ret == YOKAN_SUCCESS ? 0 : yokan_error(ret, store->metadata, err);
}

int dango_mofka_legacy_append(struct mofka_legacy_store *store, const struct mofka_frame *frame,
                              struct dango_error *err)
{
    struct dango_error local;
    struct documents documents;
    warabi_region_t region = {{0}};
    err = err ? err : &local;
    if (store->broken)
        return dango_error_set(err, DANGO_ERR_IO,
                               "partition %s takes no more events: an earlier write failed (%s); restart the server "
                               "when its database is in order",
                               store->metadata, store->failure.text);
    if (frame->flags & MOFKA_FRAME_END_OF_STREAM)
        return put_end(store, err);
    assert(frame->count > 0);
    if (erase_leftovers(store, frame->first_id, err) != 0)
        return err->code;
    if (frame->data_size > 0) {
        const char *data = (const char *)(frame + 1) + frame->records_size;
        warabi_err_t error = warabi_create_write(store->target, data, (size_t)frame->data_size, true, &region, NULL);
        if (error != WARABI_SUCCESS)
            return warabi_error(error, "cannot store the data of a batch", err);
    }
    int code = documents_alloc(&documents, frame->count, err);
    if (code == 0) {
        add_events(&documents, frame, region);
        code = put_documents(store, &documents, err);
        store->leftovers = code != 0 && documents.described > 0;
        documents_free(&documents);
    }
    if (code != 0 && frame->data_size > 0 && !store->broken)
        warabi_err_free(warabi_erase(store->target, region, NULL));
    return code;
}

/* ---- reading ---- */

/* What is known about the events that are being read. */
struct reading {
    uint32_t count;
    struct {
        void *metadata;
        size_t metadata_size;
        struct descriptor descriptor; /* in the order of the machine */
    } events[READ_EVENTS];
};

static yk_return_t take_metadata(void *arg, size_t index, yk_id_t id, const void *document, size_t size)
{
    struct reading *reading = arg;
    (void)id;
    if (size > YOKAN_LAST_VALID_SIZE)
        return YOKAN_ERR_CORRUPTION;
    void *copy = malloc(size + 1);
    if (!copy)
        return YOKAN_ERR_ALLOCATION;
    memcpy(copy, document, size);
    reading->events[index].metadata = copy;
    reading->events[index].metadata_size = size;
    return YOKAN_SUCCESS;
}

static yk_return_t take_descriptor(void *arg, size_t index, yk_id_t id, const void *document, size_t size)
{
    struct reading *reading = arg;
    struct descriptor *descriptor = &reading->events[index].descriptor;
    (void)id;
    if (size == YOKAN_KEY_NOT_FOUND)
        return YOKAN_SUCCESS; /* no data */
    if (size != sizeof *descriptor)
        return YOKAN_ERR_CORRUPTION;
    memcpy(descriptor, document, size);
    descriptor->size = le64toh(descriptor->size);
    descriptor->offset = le64toh(descriptor->offset);
    return descriptor->size <= MOFKA_CONTENT_MAX ? YOKAN_SUCCESS : YOKAN_ERR_CORRUPTION;
}

static int read_documents(struct mofka_legacy_store *store, uint64_t first_id, struct reading *reading,
                          struct dango_error *err)
{
    yk_id_t ids[READ_EVENTS];
    for (uint32_t i = 0; i < reading->count; i++)
        ids[i] = first_id + i + 1;
    yk_return_t ret = yk_doc_fetch_multi(store->database, store->metadata, YOKAN_MODE_DEFAULT, reading->count, ids,
                                         take_metadata, reading, NULL);
    if (ret != YOKAN_SUCCESS)
        return yokan_error(ret, store->metadata, err);
    ret = yk_doc_fetch_multi(store->database, store->descriptors, YOKAN_MODE_DEFAULT, reading->count, ids,
                             take_descriptor, reading, NULL);
    return ret == YOKAN_SUCCESS ? 0 : yokan_error(ret, store->descriptors, err);
}

/* Keeps so many of the events that they are not too much at a time; the bytes that their records and data take. */
static void measure(struct reading *reading, uint64_t *records_size, uint64_t *data_size)
{
    uint32_t kept = 0;
    *records_size = *data_size = 0;
    for (; kept < reading->count; kept++) {
        uint64_t records = *records_size + diaspora_record_bound(reading->events[kept].metadata_size);
        uint64_t size = reading->events[kept].descriptor.size;
        if (kept > 0 && (size > READ_BYTES || records + *data_size + size > READ_BYTES))
            break;
        *records_size = records;
        *data_size += size;
    }
    for (uint32_t i = kept; i < reading->count; i++)
        free(reading->events[i].metadata);
    reading->count = kept;
}

/* Data that lie one behind the other in a region are read together. */
static int read_data(struct mofka_legacy_store *store, const struct reading *reading, char *to, struct dango_error *err)
{
    for (uint32_t i = 0, next; i < reading->count; i = next) {
        const struct descriptor *first = &reading->events[i].descriptor;
        uint64_t size = first->size;
        for (next = i + 1; next < reading->count; next++) {
            const struct descriptor *more = &reading->events[next].descriptor;
            if (more->size > 0 && (memcmp(&more->region, &first->region, sizeof more->region) != 0 ||
                                   more->offset != first->offset + size))
                break;
            size += more->size;
        }
        warabi_err_t error = WARABI_SUCCESS;
        if (size > 0)
            error = warabi_read(store->target, first->region, (size_t)first->offset, to, (size_t)size, NULL);
        if (error != WARABI_SUCCESS)
            return warabi_error(error, "cannot read the data of events", err);
        to += size;
    }
    return 0;
}

static int build_frame(struct mofka_legacy_store *store, uint64_t first_id, struct reading *reading,
                       struct mofka_frame **result, struct dango_error *err)
{
    uint64_t records_size, data_size;
    measure(reading, &records_size, &data_size);
    uint64_t extent = mofka_frame_extent(records_size, data_size);
    struct mofka_frame *frame = extent > 0 ? aligned_alloc(MOFKA_FRAME_ALIGN, (size_t)extent) : NULL;
    if (!frame)
        return dango_error_set(err, DANGO_ERR_NO_MEMORY, "no memory for events of %" PRIu64 " bytes", data_size);
    unsigned char *content = (unsigned char *)(frame + 1);
    size_t done = 0;
    for (uint32_t i = 0; i < reading->count; i++)
        done += diaspora_record_put(content + done, reading->events[i].metadata, reading->events[i].metadata_size,
                                    reading->events[i].descriptor.size);
    *frame = (struct mofka_frame){
        .first_id = first_id,
        .timestamp_ns = dango_clock_wall_ns(), /* when they were stored is not */
        .records_size = done,
        .data_size = data_size,
        .count = reading->count,
    };
    memcpy(frame->partition, store->uuid, sizeof frame->partition);
    dango_mofka_frame_seal(frame);
    memset(content + done + data_size, 0, (size_t)(mofka_frame_align(done + data_size) - done - data_size));
    int code = read_data(store, reading, (char *)content + done, err);
    if (code == 0)
        *result = frame;
    else
        free(frame);
    return code;
}

int dango_mofka_legacy_read(struct mofka_legacy_store *store, uint64_t first_id, uint64_t end,
                            struct mofka_frame **frame, struct dango_error *err)
{
    assert(first_id < end);
    struct reading reading = {.count = end - first_id < READ_EVENTS ? (uint32_t)(end - first_id) : READ_EVENTS};
    int code = read_documents(store, first_id, &reading, err);
    if (code == 0)
        code = build_frame(store, first_id, &reading, frame, err);
    for (uint32_t i = 0; i < reading.count; i++)
        free(reading.events[i].metadata);
    return code == 0 ? 0 : dango_error_prefix(err, "events from %" PRIu64 " on", first_id);
}
