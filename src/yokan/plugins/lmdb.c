/*
 * Backend "lmdb": the unnamed database of an LMDB environment. Every request is one transaction: it sees one moment, and
 * happens as a whole or not at all.
 *
 * Transactions belong to no thread (MDB_NOTLS) and end inside the function that began them; nothing in between yields
 * to another ULT, so that LMDB's locks of threads are safe. With "no_lock" LMDB takes no locks, and ours replaces them.
 *
 * Durability: a request is in the page cache before it is acknowledged, so that the end of the process, however it comes,
 * loses nothing; with "sync", the default of LMDB, it is on the disk. Without it, the end of the machine can damage the
 * database. The file is not mapped for writing: it grows with its content, and stray writes cannot reach it.
 *
 * Limits of LMDB: 511 bytes of key, so 502 of a collection's name; "map_size" bytes of database.
 */
#include "yokan/plugins/directory.h"

#include "util/log.h"

#include <assert.h>
#include <errno.h>
#include <lmdb.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct settings {
    struct yokan_common_settings common;
    char *path;
    bool create_if_missing, no_lock, sync;
    int64_t map_size, max_readers;
};

static const struct dango_option table[] = {
    DANGO_OPTION_STRING_REQUIRED("path", struct settings, path, "directory of the database"),
    DANGO_OPTION_BOOL("create_if_missing", struct settings, create_if_missing, true,
                      "create the database, and its directory, if there is none"),
    DANGO_OPTION_BOOL("no_lock", struct settings, no_lock, false,
                      "do not use LMDB's lock file (for file systems that cannot map it); readers wait for writers"),
    DANGO_OPTION_BOOL("sync", struct settings, sync, true,
                      "acknowledge a write when it is on the disk: safe against power loss"),
    DANGO_OPTION_INT("map_size", struct settings, map_size, INT64_C(1) << 40, 1 << 20, INT64_C(1) << 46,
                     "largest size of the database in bytes: address space, neither memory nor disk"),
    DANGO_OPTION_INT("max_readers", struct settings, max_readers, 1024, 1, 65536, "requests that read at a time"),
    YOKAN_COMMON_OPTIONS,
    DANGO_OPTION_END,
};

struct lmdb {
    MDB_env *env;
    MDB_dbi dbi;
    int directory;         /* its lock */
    int reported;          /* the last failure that was logged; atomic */
    bool locked;           /* with no_lock: */
    pthread_rwlock_t lock; /* readers against writers */
};

static yk_return_t code_of(int status)
{
    switch (status) {
    case MDB_SUCCESS:
        return YOKAN_SUCCESS;
    case MDB_NOTFOUND:
        return YOKAN_ERR_KEY_NOT_FOUND;
    case MDB_KEYEXIST:
        return YOKAN_ERR_KEY_EXISTS;
    case MDB_BAD_VALSIZE:
    case EINVAL:
        return YOKAN_ERR_INVALID_ARGS;
    case MDB_CORRUPTED:
    case MDB_PAGE_NOTFOUND:
    case MDB_INVALID:
    case MDB_VERSION_MISMATCH:
        return YOKAN_ERR_CORRUPTION;
    case MDB_READERS_FULL:
        return YOKAN_ERR_BUSY;
    case ENOMEM:
        return YOKAN_ERR_ALLOCATION;
    case EACCES:
    case EPERM:
    case EROFS:
        return YOKAN_ERR_PERMISSION;
    case MDB_MAP_FULL:
    case ENOSPC:
    case EIO:
        return YOKAN_ERR_IO;
    default:
        return YOKAN_ERR_OTHER;
    }
}

/* Failures of the store, not of a request, are logged, once for each kind. */
static yk_return_t result(struct lmdb *lmdb, int status)
{
    yk_return_t ret = code_of(status);
    bool ordinary =
        status == MDB_SUCCESS || status == MDB_NOTFOUND || status == MDB_KEYEXIST || status == MDB_BAD_VALSIZE;
    if (!ordinary && __atomic_exchange_n(&lmdb->reported, status, __ATOMIC_RELAXED) != status)
        log_error("yokan", "LMDB: %s%s", mdb_strerror(status),
                  status == MDB_MAP_FULL       ? " (make \"map_size\" larger)"
                  : status == MDB_READERS_FULL ? " (make \"max_readers\" larger)"
                                               : "");
    return ret;
}

/* ---- open and close ---- */

static int open_environment(struct lmdb *lmdb, const struct settings *s)
{
    unsigned flags = MDB_NOTLS | (s->sync ? 0 : MDB_NOSYNC) | (s->no_lock ? MDB_NOLOCK : 0);
    MDB_txn *txn = NULL;
    int status = mdb_env_create(&lmdb->env);
    if (status != MDB_SUCCESS) {
        lmdb->env = NULL;
        return status;
    }
    status = mdb_env_set_mapsize(lmdb->env, (size_t)s->map_size);
    if (status == MDB_SUCCESS)
        status = mdb_env_set_maxreaders(lmdb->env, (unsigned)s->max_readers);
    if (status == MDB_SUCCESS)
        status = mdb_env_open(lmdb->env, s->path, flags, 0644);
    if (status == MDB_SUCCESS)
        status = mdb_txn_begin(lmdb->env, NULL, 0, &txn);
    if (status != MDB_SUCCESS)
        return status;
    status = mdb_dbi_open(txn, NULL, 0, &lmdb->dbi);
    if (status == MDB_SUCCESS)
        return mdb_txn_commit(txn);
    mdb_txn_abort(txn);
    return status;
}

static yk_return_t open_database(const void *settings, void **db, struct dango_error *err)
{
    assert(settings && db);
    const struct settings *s = settings;
    struct yokan_directory_request request = {s->path, "lmdb", s->create_if_missing, false};
    struct lmdb *lmdb = calloc(1, sizeof *lmdb);
    if (!lmdb || pthread_rwlock_init(&lmdb->lock, NULL) != 0) {
        free(lmdb);
        dango_error_set(err, DANGO_ERR_NO_MEMORY, "out of memory");
        return YOKAN_ERR_ALLOCATION;
    }
    lmdb->locked = s->no_lock;
    yk_return_t ret = yokan_directory_open(&request, &lmdb->directory, err);
    if (ret != YOKAN_SUCCESS)
        goto free_memory;
    int status = open_environment(lmdb, s);
    if (status == MDB_SUCCESS) {
        *db = lmdb;
        return YOKAN_SUCCESS;
    }
    ret = code_of(status);
    dango_error_set(err, yokan_error_code(ret), "cannot open the database in \"%s\": LMDB says: %s%s", s->path,
                    mdb_strerror(status), status == ENOMEM ? " (make \"map_size\" smaller)" : "");
    if (lmdb->env)
        mdb_env_close(lmdb->env);
    yokan_directory_close(lmdb->directory);
free_memory:
    pthread_rwlock_destroy(&lmdb->lock);
    free(lmdb);
    return ret;
}

static void close_database(void *db)
{
    struct lmdb *lmdb = db;
    result(lmdb, mdb_env_sync(lmdb->env, 1));
    mdb_env_close(lmdb->env);
    yokan_directory_close(lmdb->directory);
    pthread_rwlock_destroy(&lmdb->lock);
    free(lmdb);
}

/* ---- transactions ---- */

static yk_return_t begin(struct lmdb *lmdb, bool write, MDB_txn **txn)
{
    if (lmdb->locked)
        write ? pthread_rwlock_wrlock(&lmdb->lock) : pthread_rwlock_rdlock(&lmdb->lock);
    int status = mdb_txn_begin(lmdb->env, NULL, write ? 0 : MDB_RDONLY, txn);
    if (status != MDB_SUCCESS && lmdb->locked)
        pthread_rwlock_unlock(&lmdb->lock);
    return result(lmdb, status);
}

/* Ends a transaction: with success it happens, else it did not. Committing one that only read ends it. */
static yk_return_t end(struct lmdb *lmdb, MDB_txn *txn, yk_return_t ret)
{
    if (ret == YOKAN_STOP_ITERATION)
        ret = YOKAN_SUCCESS;
    if (ret == YOKAN_SUCCESS)
        ret = result(lmdb, mdb_txn_commit(txn));
    else
        mdb_txn_abort(txn);
    if (lmdb->locked)
        pthread_rwlock_unlock(&lmdb->lock);
    return ret;
}

static MDB_val val_of(struct yokan_slice slice)
{
    return (MDB_val){slice.size, (void *)(uintptr_t)slice.data};
}

/* Empty values have an address, too: NULL means absent. */
static struct yokan_slice slice_of(MDB_val val)
{
    return (struct yokan_slice){val.mv_size ? val.mv_data : "", val.mv_size};
}

static yk_return_t count_pairs(void *db, uint64_t *count)
{
    assert(count);
    struct lmdb *lmdb = db;
    MDB_txn *txn;
    MDB_stat stat;
    yk_return_t ret = begin(lmdb, false, &txn);
    if (ret != YOKAN_SUCCESS)
        return ret;
    ret = result(lmdb, mdb_stat(txn, lmdb->dbi, &stat));
    if (ret == YOKAN_SUCCESS)
        *count = stat.ms_entries;
    return end(lmdb, txn, ret);
}

/* Old value and new one behind it. */
static int append(struct lmdb *lmdb, MDB_txn *txn, MDB_val *key, MDB_val old, struct yokan_slice value)
{
    size_t size;
    if (__builtin_add_overflow(old.mv_size, value.size, &size) || size == SIZE_MAX)
        return MDB_BAD_VALSIZE;
    char *bytes = malloc(size + 1);
    if (!bytes)
        return ENOMEM;
    memcpy(bytes, old.mv_data, old.mv_size);
    if (value.size)
        memcpy(bytes + old.mv_size, value.data, value.size);
    MDB_val joined = {size, bytes};
    int status = mdb_put(txn, lmdb->dbi, key, &joined, 0);
    free(bytes);
    return status;
}

static int put_one(struct lmdb *lmdb, MDB_txn *txn, int32_t mode, const struct yokan_pair *pair)
{
    MDB_val key = val_of(pair->key), value = val_of(pair->value), old;
    if (mode & YOKAN_MODE_NEW_ONLY)
        return mdb_put(txn, lmdb->dbi, &key, &value, MDB_NOOVERWRITE);
    if (mode & (YOKAN_MODE_EXIST_ONLY | YOKAN_MODE_APPEND)) {
        int status = mdb_get(txn, lmdb->dbi, &key, &old);
        if (status == MDB_SUCCESS && (mode & YOKAN_MODE_APPEND))
            return append(lmdb, txn, &key, old, pair->value);
        if (status != MDB_SUCCESS && (status != MDB_NOTFOUND || (mode & YOKAN_MODE_EXIST_ONLY)))
            return status;
    }
    return mdb_put(txn, lmdb->dbi, &key, &value, 0);
}

static yk_return_t put_pairs(void *db, int32_t mode, size_t count, const struct yokan_pair *pairs)
{
    assert(pairs || count == 0);
    struct lmdb *lmdb = db;
    MDB_txn *txn;
    yk_return_t ret = begin(lmdb, true, &txn);
    if (ret != YOKAN_SUCCESS)
        return ret;
    for (size_t i = 0; i < count && ret == YOKAN_SUCCESS; i++) {
        ret = result(lmdb, put_one(lmdb, txn, mode, &pairs[i]));
        bool refused = ret == YOKAN_ERR_KEY_EXISTS || ret == YOKAN_ERR_KEY_NOT_FOUND;
        if (refused && count > 1)
            ret = YOKAN_SUCCESS;
    }
    return end(lmdb, txn, ret);
}

static yk_return_t visit_one(struct lmdb *lmdb, MDB_txn *txn, size_t i, struct yokan_slice slice, yokan_visit_fn visit,
                             void *arg, bool consume)
{
    MDB_val key = val_of(slice), value;
    int status = mdb_get(txn, lmdb->dbi, &key, &value);
    if (status != MDB_SUCCESS && status != MDB_NOTFOUND)
        return result(lmdb, status);
    bool found = status == MDB_SUCCESS;
    yk_return_t ret = visit(arg, i, slice, found ? slice_of(value) : (struct yokan_slice){NULL, YOKAN_KEY_NOT_FOUND});
    if (ret == YOKAN_SUCCESS && consume && found)
        return result(lmdb, mdb_del(txn, lmdb->dbi, &key, NULL));
    return ret == YOKAN_ERR_BUFFER_SIZE ? YOKAN_SUCCESS : ret;
}

static yk_return_t get_pairs(void *db, int32_t mode, size_t count, const struct yokan_slice *keys, yokan_visit_fn visit,
                             void *arg)
{
    assert((keys || count == 0) && visit);
    struct lmdb *lmdb = db;
    MDB_txn *txn;
    bool consume = (mode & YOKAN_MODE_CONSUME) != 0;
    yk_return_t ret = begin(lmdb, consume, &txn);
    if (ret != YOKAN_SUCCESS)
        return ret;
    for (size_t i = 0; i < count && ret == YOKAN_SUCCESS; i++)
        ret = visit_one(lmdb, txn, i, keys[i], visit, arg, consume);
    return end(lmdb, txn, ret);
}

static yk_return_t erase(void *db, size_t count, const struct yokan_slice *keys)
{
    assert(keys || count == 0);
    struct lmdb *lmdb = db;
    MDB_txn *txn;
    yk_return_t ret = begin(lmdb, true, &txn);
    if (ret != YOKAN_SUCCESS)
        return ret;
    for (size_t i = 0; i < count && ret == YOKAN_SUCCESS; i++) {
        MDB_val key = val_of(keys[i]);
        int status = mdb_del(txn, lmdb->dbi, &key, NULL);
        ret = status == MDB_NOTFOUND ? YOKAN_SUCCESS : result(lmdb, status);
    }
    return end(lmdb, txn, ret);
}

/* What is done at each pair of a walk; an answer other than success ends it. */
typedef yk_return_t (*walk_fn)(void *arg, MDB_cursor *cursor, size_t index, struct yokan_slice key,
                               struct yokan_slice value);

static yk_return_t walk(struct lmdb *lmdb, bool write, struct yokan_slice from, bool inclusive, walk_fn visit,
                        void *arg)
{
    MDB_txn *txn;
    MDB_cursor *cursor;
    MDB_val key = val_of(from), value;
    yk_return_t ret = begin(lmdb, write, &txn);
    if (ret != YOKAN_SUCCESS)
        return ret;
    ret = result(lmdb, mdb_cursor_open(txn, lmdb->dbi, &cursor));
    if (ret != YOKAN_SUCCESS)
        return end(lmdb, txn, ret);
    int status = mdb_cursor_get(cursor, &key, &value, from.size ? MDB_SET_RANGE : MDB_FIRST);
    if (status == MDB_SUCCESS && !inclusive && from.size == key.mv_size &&
        memcmp(from.data, key.mv_data, from.size) == 0)
        status = mdb_cursor_get(cursor, &key, &value, MDB_NEXT);
    for (size_t i = 0; status == MDB_SUCCESS && ret == YOKAN_SUCCESS; i++) {
        ret = visit(arg, cursor, i, slice_of(key), slice_of(value));
        if (ret == YOKAN_SUCCESS)
            status = mdb_cursor_get(cursor, &key, &value, MDB_NEXT);
    }
    if (ret == YOKAN_SUCCESS && status != MDB_NOTFOUND)
        ret = result(lmdb, status);
    mdb_cursor_close(cursor);
    return end(lmdb, txn, ret);
}

struct range {
    struct lmdb *lmdb;
    struct yokan_slice prefix;
};

/* Keys with a common prefix are neighbours. */
static yk_return_t erase_visited(void *arg, MDB_cursor *cursor, size_t index, struct yokan_slice key,
                                 struct yokan_slice value)
{
    (void)index;
    (void)value;
    struct range *range = arg;
    if (!yokan_slice_begins_with(key, range->prefix))
        return YOKAN_STOP_ITERATION;
    return result(range->lmdb, mdb_cursor_del(cursor, 0));
}

static yk_return_t erase_range(void *db, struct yokan_slice prefix)
{
    struct range range = {db, prefix};
    return walk(db, true, prefix, true, erase_visited, &range);
}

struct listing {
    yokan_visit_fn visit;
    void *arg;
};

static yk_return_t list_visited(void *arg, MDB_cursor *cursor, size_t index, struct yokan_slice key,
                                struct yokan_slice value)
{
    (void)cursor;
    struct listing *listing = arg;
    return listing->visit(listing->arg, index, key, value);
}

static yk_return_t scan(void *db, struct yokan_slice from, bool inclusive, yokan_visit_fn visit, void *arg)
{
    assert(visit);
    struct listing listing = {visit, arg};
    return walk(db, false, from, inclusive, list_visited, &listing);
}

const struct yokan_backend dango_yokan_backend = {
    .abi = YOKAN_BACKEND_ABI,
    .type = "lmdb",
    .modes = YOKAN_MODES_COMMON | YOKAN_MODE_APPEND | YOKAN_MODE_NEW_ONLY | YOKAN_MODE_EXIST_ONLY,
    .options = table,
    .settings_size = sizeof(struct settings),
    .open = open_database,
    .close = close_database,
    .count = count_pairs,
    .put = put_pairs,
    .get = get_pairs,
    .erase = erase,
    .erase_range = erase_range,
    .scan = scan,
};
