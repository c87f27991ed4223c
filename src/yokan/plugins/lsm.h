/*
 * Backend functions over LevelDB's C API, for LevelDB and for RocksDB, whose API has the same functions under another
 * prefix. The including file defines LSM(name) as that prefix and the name, LSM_TITLE, and lsm_read_options below; it
 * gets static functions for its table. They are compiled once per library, against its own types.
 *
 * Writes: all pairs of a request are one write batch, so that readers and a restart see all or nothing of it. Requests
 * that do not depend on what is stored hold the lock shared: the library orders them and groups their log writes. Those
 * that read first (NEW_ONLY, EXIST_ONLY, APPEND, CONSUME, erase_range) hold it exclusively. Reading takes no lock: it
 * sees a snapshot. The lock is one of pthreads, because nothing inside yields to another ULT.
 *
 * A failed write is told to the client by its code; the text of the library goes to the log of the server, once for
 * each kind of failure.
 */
#ifndef YOKAN_PLUGINS_LSM_H
#define YOKAN_PLUGINS_LSM_H

#ifndef LSM
#error "define LSM(name) first"
#endif

#include "yokan/plugins/directory.h"

#include "util/log.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define HASH_NONFATAL_OOM 1
#include <uthash.h>

typedef LSM(t) lsm_store;
typedef LSM(options_t) lsm_options;
typedef LSM(readoptions_t) lsm_reading;
typedef LSM(writeoptions_t) lsm_writing;
typedef LSM(writebatch_t) lsm_batch;
typedef LSM(iterator_t) lsm_iterator;
typedef LSM(snapshot_t) lsm_snapshot;

struct lsm {
    lsm_store *store;
    lsm_reading *read;
    lsm_writing *write;
    const void *settings;
    int directory;        /* its lock */
    yk_return_t reported; /* the last failure that was logged; atomic */
    pthread_rwlock_t lock;
};

/* New options for reading according to the settings; the including file's. */
static lsm_reading *lsm_read_options(const void *settings);

/* Takes over a status of the library. */
static yk_return_t lsm_result(struct lsm *lsm, char *status)
{
    if (!status)
        return YOKAN_SUCCESS;
    yk_return_t ret = yokan_status_code(status);
    if (__atomic_exchange_n(&lsm->reported, ret, __ATOMIC_RELAXED) != ret)
        log_error("yokan", LSM_TITLE ": %s", status);
    LSM(free)(status);
    return ret;
}

static yk_return_t lsm_write(struct lsm *lsm, lsm_batch *batch)
{
    char *status = NULL;
    LSM(write)(lsm->store, lsm->write, batch, &status);
    return lsm_result(lsm, status);
}

/* ---- open and close ---- */

/* Writers go first: a stream of plain puts must not keep out a put that needs the lock for itself. */
static int lsm_init_lock(pthread_rwlock_t *lock)
{
    pthread_rwlockattr_t attributes;
    pthread_rwlockattr_init(&attributes);
    pthread_rwlockattr_setkind_np(&attributes, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
    int status = pthread_rwlock_init(lock, &attributes);
    pthread_rwlockattr_destroy(&attributes);
    return status;
}

/* Takes over `write`. */
static yk_return_t lsm_open(const struct yokan_directory_request *request, const void *settings,
                            const lsm_options *options, lsm_writing *write, void **db, struct dango_error *err)
{
    assert(settings && options && write && db);
    char *status = NULL;
    struct lsm *lsm = calloc(1, sizeof *lsm);
    yk_return_t ret = YOKAN_ERR_ALLOCATION;
    if (!lsm || lsm_init_lock(&lsm->lock) != 0) {
        dango_error_set(err, DANGO_ERR_NO_MEMORY, "out of memory");
        goto free_memory;
    }
    ret = yokan_directory_open(request, &lsm->directory, err);
    if (ret != YOKAN_SUCCESS)
        goto destroy_lock;
    lsm->store = LSM(open)(options, request->path, &status);
    if (lsm->store) {
        lsm->settings = settings;
        lsm->read = lsm_read_options(settings);
        lsm->write = write;
        *db = lsm;
        return YOKAN_SUCCESS;
    }
    ret = yokan_status_code(status);
    dango_error_set(err, yokan_error_code(ret), "cannot open the database in \"%s\": " LSM_TITLE " says: %s",
                    request->path, status);
    LSM(free)(status);
    yokan_directory_close(lsm->directory);
destroy_lock:
    pthread_rwlock_destroy(&lsm->lock);
free_memory:
    LSM(writeoptions_destroy)(write);
    free(lsm);
    return ret;
}

/* An empty batch with sync takes everything before it to the disk. */
static void lsm_close(void *db)
{
    struct lsm *lsm = db;
    char *status = NULL;
    lsm_batch *nothing = LSM(writebatch_create)();
    lsm_writing *sync = LSM(writeoptions_create)();
    LSM(writeoptions_set_sync)(sync, 1);
    LSM(write)(lsm->store, sync, nothing, &status);
    lsm_result(lsm, status);
    LSM(writeoptions_destroy)(sync);
    LSM(writebatch_destroy)(nothing);
    LSM(close)(lsm->store);
    LSM(readoptions_destroy)(lsm->read);
    LSM(writeoptions_destroy)(lsm->write);
    yokan_directory_close(lsm->directory);
    pthread_rwlock_destroy(&lsm->lock);
    free(lsm);
}

/* ---- requests that read and write ---- */

/* What such a request has found and done so far, by key: its later items must see its earlier ones. */
struct lsm_pending {
    UT_hash_handle hh;
    char *value; /* NULL: absent */
    size_t size;
};

static void lsm_forget_all(struct lsm_pending **all)
{
    struct lsm_pending *entry, *next;
    HASH_ITER (hh, *all, entry, next) {
        HASH_DEL(*all, entry);
        free(entry->value);
        free(entry);
    }
}

/* The state of a key, read from the database the first time. */
static yk_return_t lsm_look_up(struct lsm *lsm, struct lsm_pending **all, struct yokan_slice key,
                               struct lsm_pending **found)
{
    assert(key.size > 0 && key.size <= UINT32_MAX);
    struct lsm_pending *entry;
    HASH_FIND(hh, *all, key.data, (unsigned)key.size, entry);
    *found = entry;
    if (entry)
        return YOKAN_SUCCESS;
    entry = calloc(1, sizeof *entry);
    if (!entry)
        return YOKAN_ERR_ALLOCATION;
    char *status = NULL;
    entry->value = LSM(get)(lsm->store, lsm->read, key.data, key.size, &entry->size, &status);
    yk_return_t ret = lsm_result(lsm, status);
    if (ret == YOKAN_SUCCESS) {
        HASH_ADD_KEYPTR(hh, *all, key.data, (unsigned)key.size, entry);
        ret = entry->hh.tbl ? YOKAN_SUCCESS : YOKAN_ERR_ALLOCATION;
    }
    *found = entry;
    if (ret != YOKAN_SUCCESS) {
        free(entry->value);
        free(entry);
    }
    return ret;
}

/* The value of an entry, replaced or made longer. */
static yk_return_t lsm_set(struct lsm_pending *entry, struct yokan_slice value, bool append)
{
    size_t kept = append && entry->value ? entry->size : 0, size;
    if (__builtin_add_overflow(kept, value.size, &size) || size == SIZE_MAX)
        return YOKAN_ERR_ALLOCATION;
    char *bytes = realloc(entry->value, size + 1);
    if (!bytes)
        return YOKAN_ERR_ALLOCATION;
    if (value.size)
        memcpy(bytes + kept, value.data, value.size);
    entry->value = bytes;
    entry->size = size;
    return YOKAN_SUCCESS;
}

static yk_return_t lsm_put_one(struct lsm *lsm, struct lsm_pending **all, int32_t mode, const struct yokan_pair *pair,
                               lsm_batch *batch)
{
    struct lsm_pending *entry;
    yk_return_t ret = lsm_look_up(lsm, all, pair->key, &entry);
    if (ret == YOKAN_SUCCESS && entry->value && (mode & YOKAN_MODE_NEW_ONLY))
        return YOKAN_ERR_KEY_EXISTS;
    if (ret == YOKAN_SUCCESS && !entry->value && (mode & YOKAN_MODE_EXIST_ONLY))
        return YOKAN_ERR_KEY_NOT_FOUND;
    if (ret == YOKAN_SUCCESS)
        ret = lsm_set(entry, pair->value, (mode & YOKAN_MODE_APPEND) != 0);
    if (ret == YOKAN_SUCCESS)
        LSM(writebatch_put)(batch, pair->key.data, pair->key.size, entry->value, entry->size);
    return ret;
}

static yk_return_t lsm_put_depending(struct lsm *lsm, int32_t mode, size_t count, const struct yokan_pair *pairs,
                                     lsm_batch *batch)
{
    struct lsm_pending *all = NULL;
    yk_return_t ret = YOKAN_SUCCESS;
    pthread_rwlock_wrlock(&lsm->lock);
    for (size_t i = 0; i < count && ret == YOKAN_SUCCESS; i++) {
        ret = lsm_put_one(lsm, &all, mode, &pairs[i], batch);
        bool refused = ret == YOKAN_ERR_KEY_EXISTS || ret == YOKAN_ERR_KEY_NOT_FOUND;
        if (refused && count > 1)
            ret = YOKAN_SUCCESS;
    }
    if (ret == YOKAN_SUCCESS)
        ret = lsm_write(lsm, batch);
    pthread_rwlock_unlock(&lsm->lock);
    lsm_forget_all(&all);
    return ret;
}

static yk_return_t lsm_write_shared(struct lsm *lsm, lsm_batch *batch)
{
    pthread_rwlock_rdlock(&lsm->lock);
    yk_return_t ret = lsm_write(lsm, batch);
    pthread_rwlock_unlock(&lsm->lock);
    return ret;
}

static yk_return_t lsm_put(void *db, int32_t mode, size_t count, const struct yokan_pair *pairs)
{
    assert(pairs || count == 0);
    yk_return_t ret;
    lsm_batch *batch = LSM(writebatch_create)();
    if (mode & (YOKAN_MODE_NEW_ONLY | YOKAN_MODE_EXIST_ONLY | YOKAN_MODE_APPEND)) {
        ret = lsm_put_depending(db, mode, count, pairs, batch);
    } else {
        for (size_t i = 0; i < count; i++)
            LSM(writebatch_put)(batch, pairs[i].key.data, pairs[i].key.size, pairs[i].value.data, pairs[i].value.size);
        ret = lsm_write_shared(db, batch);
    }
    LSM(writebatch_destroy)(batch);
    return ret;
}

/* Visits a value; `data` NULL: absent. An answer that is not a failure of the whole call becomes success. */
static yk_return_t lsm_visit(yokan_visit_fn visit, void *arg, size_t i, struct yokan_slice key, const char *data,
                             size_t size)
{
    return visit(arg, i, key,
                 data ? (struct yokan_slice){data, size} : (struct yokan_slice){NULL, YOKAN_KEY_NOT_FOUND});
}

static yk_return_t lsm_consume(struct lsm *lsm, size_t count, const struct yokan_slice *keys, yokan_visit_fn visit,
                               void *arg)
{
    lsm_batch *batch = LSM(writebatch_create)();
    struct lsm_pending *all = NULL, *entry;
    yk_return_t ret = YOKAN_SUCCESS;
    pthread_rwlock_wrlock(&lsm->lock);
    for (size_t i = 0; i < count && ret == YOKAN_SUCCESS; i++) {
        ret = lsm_look_up(lsm, &all, keys[i], &entry);
        if (ret == YOKAN_SUCCESS)
            ret = lsm_visit(visit, arg, i, keys[i], entry->value, entry->size);
        if (ret == YOKAN_SUCCESS && entry->value) {
            LSM(writebatch_delete)(batch, keys[i].data, keys[i].size);
            free(entry->value);
            entry->value = NULL;
        }
        if (ret == YOKAN_ERR_BUFFER_SIZE)
            ret = YOKAN_SUCCESS;
    }
    if (ret == YOKAN_STOP_ITERATION)
        ret = YOKAN_SUCCESS;
    if (ret == YOKAN_SUCCESS)
        ret = lsm_write(lsm, batch);
    pthread_rwlock_unlock(&lsm->lock);
    lsm_forget_all(&all);
    LSM(writebatch_destroy)(batch);
    return ret;
}

/* ---- requests that only read, or only write ---- */

static yk_return_t lsm_read(struct lsm *lsm, const lsm_reading *options, size_t count, const struct yokan_slice *keys,
                            yokan_visit_fn visit, void *arg)
{
    yk_return_t ret = YOKAN_SUCCESS;
    for (size_t i = 0; i < count && ret == YOKAN_SUCCESS; i++) {
        char *status = NULL;
        size_t size = 0;
        char *value = LSM(get)(lsm->store, options, keys[i].data, keys[i].size, &size, &status);
        ret = lsm_result(lsm, status);
        if (ret == YOKAN_SUCCESS)
            ret = lsm_visit(visit, arg, i, keys[i], value, size);
        if (ret == YOKAN_ERR_BUFFER_SIZE)
            ret = YOKAN_SUCCESS;
        LSM(free)(value);
    }
    return ret == YOKAN_STOP_ITERATION ? YOKAN_SUCCESS : ret;
}

/* One key needs no snapshot. */
static yk_return_t lsm_get(void *db, int32_t mode, size_t count, const struct yokan_slice *keys, yokan_visit_fn visit,
                           void *arg)
{
    assert((keys || count == 0) && visit);
    struct lsm *lsm = db;
    if (mode & YOKAN_MODE_CONSUME)
        return lsm_consume(lsm, count, keys, visit, arg);
    if (count <= 1)
        return lsm_read(lsm, lsm->read, count, keys, visit, arg);
    const lsm_snapshot *snapshot = LSM(create_snapshot)(lsm->store);
    lsm_reading *options = lsm_read_options(lsm->settings);
    LSM(readoptions_set_snapshot)(options, snapshot);
    yk_return_t ret = lsm_read(lsm, options, count, keys, visit, arg);
    LSM(readoptions_destroy)(options);
    LSM(release_snapshot)(lsm->store, snapshot);
    return ret;
}

static yk_return_t lsm_erase(void *db, size_t count, const struct yokan_slice *keys)
{
    assert(keys || count == 0);
    lsm_batch *batch = LSM(writebatch_create)();
    for (size_t i = 0; i < count; i++)
        LSM(writebatch_delete)(batch, keys[i].data, keys[i].size);
    yk_return_t ret = lsm_write_shared(db, batch);
    LSM(writebatch_destroy)(batch);
    return ret;
}

static yk_return_t lsm_scan(void *db, struct yokan_slice from, bool inclusive, yokan_visit_fn visit, void *arg)
{
    assert(visit);
    struct lsm *lsm = db;
    yk_return_t ret = YOKAN_SUCCESS;
    lsm_iterator *it = LSM(create_iterator)(lsm->store, lsm->read);
    from.size ? LSM(iter_seek)(it, from.data, from.size) : LSM(iter_seek_to_first)(it);
    for (size_t i = 0; LSM(iter_valid)(it) && ret == YOKAN_SUCCESS; LSM(iter_next)(it)) {
        struct yokan_slice key, value;
        key.data = LSM(iter_key)(it, &key.size);
        value.data = LSM(iter_value)(it, &value.size);
        if (value.size == 0)
            value.data = "";
        bool first = i == 0 && key.size == from.size && from.size > 0 && memcmp(key.data, from.data, from.size) == 0;
        if (inclusive || !first)
            ret = visit(arg, i++, key, value);
    }
    if (ret == YOKAN_SUCCESS) {
        char *status = NULL;
        LSM(iter_get_error)(it, &status);
        ret = lsm_result(lsm, status);
    }
    LSM(iter_destroy)(it);
    return ret == YOKAN_STOP_ITERATION ? YOKAN_SUCCESS : ret;
}

struct lsm_range {
    lsm_batch *batch;
    struct yokan_slice prefix;
};

/* Keys with a common prefix are neighbours. */
static yk_return_t lsm_erase_visited(void *arg, size_t index, struct yokan_slice key, struct yokan_slice value)
{
    (void)index;
    (void)value;
    struct lsm_range *range = arg;
    if (!yokan_slice_begins_with(key, range->prefix))
        return YOKAN_STOP_ITERATION;
    LSM(writebatch_delete)(range->batch, key.data, key.size);
    return YOKAN_SUCCESS;
}

static yk_return_t lsm_erase_range(void *db, struct yokan_slice prefix)
{
    struct lsm *lsm = db;
    struct lsm_range range = {LSM(writebatch_create)(), prefix};
    pthread_rwlock_wrlock(&lsm->lock);
    yk_return_t ret = lsm_scan(db, prefix, true, lsm_erase_visited, &range);
    if (ret == YOKAN_SUCCESS)
        ret = lsm_write(lsm, range.batch);
    pthread_rwlock_unlock(&lsm->lock);
    LSM(writebatch_destroy)(range.batch);
    return ret;
}

static yk_return_t lsm_count_visited(void *arg, size_t index, struct yokan_slice key, struct yokan_slice value)
{
    (void)key;
    (void)value;
    *(uint64_t *)arg = index + 1;
    return YOKAN_SUCCESS;
}

/* These libraries do not know the number; it takes a walk over all pairs. */
static yk_return_t lsm_count(void *db, uint64_t *count)
{
    assert(count);
    *count = 0;
    return lsm_scan(db, (struct yokan_slice){NULL, 0}, true, lsm_count_visited, count);
}

/* The functions and modes of the backend's table. */
#define LSM_BACKEND                                                                                                    \
    .abi = YOKAN_BACKEND_ABI,                                                                                          \
    .modes = YOKAN_MODES_COMMON | YOKAN_MODE_APPEND | YOKAN_MODE_NEW_ONLY | YOKAN_MODE_EXIST_ONLY, .close = lsm_close, \
    .count = lsm_count, .put = lsm_put, .get = lsm_get, .erase = lsm_erase, .erase_range = lsm_erase_range,            \
    .scan = lsm_scan

#endif
