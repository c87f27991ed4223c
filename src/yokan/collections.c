/*
 * Collections over pairs: see collections.h. CONSUME is not supported for documents: their number would be wrong.
 */
#include "yokan/collections.h"

#include <assert.h>
#include <endian.h>
#include <stdlib.h>
#include <string.h>

#define ID_BYTES 9 /* separator and id behind the name */

struct entry {
    uint64_t size;    /* documents stored and not erased */
    uint64_t next_id; /* the id that the next document gets */
};

static void lock(struct yokan_database *database)
{
    if (database->lock_documents)
        ABT_mutex_lock(ABT_MUTEX_MEMORY_GET_HANDLE(&database->documents));
}

static void unlock(struct yokan_database *database)
{
    if (database->lock_documents)
        ABT_mutex_unlock(ABT_MUTEX_MEMORY_GET_HANDLE(&database->documents));
}

static struct yokan_slice name_key(const char *name)
{
    assert(name && *name);
    return (struct yokan_slice){name, strlen(name)};
}

static yk_return_t read_entry(void *arg, size_t index, struct yokan_slice key, struct yokan_slice value)
{
    (void)index;
    (void)key;
    uint64_t words[2];
    if (!value.data || value.size != sizeof words)
        return YOKAN_ERR_KEY_NOT_FOUND;
    memcpy(words, value.data, sizeof words);
    *(struct entry *)arg = (struct entry){le64toh(words[0]), le64toh(words[1])};
    return YOKAN_SUCCESS;
}

static yk_return_t get_entry(struct yokan_database *database, const char *name, struct entry *entry)
{
    struct yokan_slice key = name_key(name);
    return database->backend->get(database->db, 0, 1, &key, read_entry, entry);
}

/* The pair that stores an entry; `words` holds its value. */
static struct yokan_pair entry_pair(const char *name, const struct entry *entry, uint64_t words[2])
{
    words[0] = htole64(entry->size);
    words[1] = htole64(entry->next_id);
    return (struct yokan_pair){name_key(name), {words, 2 * sizeof words[0]}};
}

static size_t document_key_size(const char *name)
{
    return strlen(name) + ID_BYTES;
}

static void write_document_key(char *key, const char *name, yk_id_t id)
{
    assert(key && name);
    size_t length = strlen(name) + 1;
    uint64_t big = htobe64(id);
    memcpy(key, name, length);
    memcpy(key + length, &big, sizeof big);
}

/* Keys of documents: one block of bytes, and a slice for each. */
struct keys {
    char *bytes;
    struct yokan_slice *slices;
};

static void free_keys(struct keys *keys)
{
    free(keys->bytes);
    free(keys->slices);
}

/* Key i is that of ids[i], or with NULL ids of first + i. */
static yk_return_t make_keys(struct keys *keys, const char *name, size_t count, const yk_id_t *ids, yk_id_t first)
{
    assert(count > 0);
    size_t size = document_key_size(name);
    *keys = (struct keys){calloc(count, size), calloc(count, sizeof *keys->slices)};
    if (!keys->bytes || !keys->slices) {
        free_keys(keys);
        return YOKAN_ERR_ALLOCATION;
    }
    for (size_t i = 0; i < count; i++) {
        char *key = keys->bytes + i * size;
        write_document_key(key, name, ids ? ids[i] : first + i);
        keys->slices[i] = (struct yokan_slice){key, size};
    }
    return YOKAN_SUCCESS;
}

/* Writes documents and the collection's entry in one step. */
static yk_return_t put_documents(struct yokan_database *database, const char *name, size_t count,
                                 const struct yokan_slice *keys, const yokan_document *documents,
                                 const struct entry *entry)
{
    assert((keys && documents) || count == 0);
    uint64_t words[2];
    struct yokan_pair *pairs = calloc(count + 1, sizeof *pairs);
    if (!pairs)
        return YOKAN_ERR_ALLOCATION;
    for (size_t i = 0; i < count; i++)
        pairs[i] = (struct yokan_pair){keys[i], documents[i]};
    pairs[count] = entry_pair(name, entry, words);
    yk_return_t ret = database->backend->put(database->db, 0, count + 1, pairs);
    free(pairs);
    return ret;
}

yk_return_t yokan_collection_create(struct yokan_database *database, const char *name)
{
    assert(database && name);
    uint64_t words[2];
    struct entry entry = {0, 0};
    struct yokan_pair pair = entry_pair(name, &entry, words);
    return database->backend->put(database->db, YOKAN_MODE_NEW_ONLY, 1, &pair);
}

/* The entry goes last: a crash in between leaves a collection that can be dropped again, not documents that the next
 * collection of that name would find. */
yk_return_t yokan_collection_drop(struct yokan_database *database, const char *name)
{
    assert(database && name);
    struct entry entry;
    struct yokan_slice key = name_key(name);
    struct yokan_slice prefix = {name, key.size + 1}; /* with the separator, so that "ab" does not lose "abc" */
    lock(database);
    yk_return_t ret = get_entry(database, name, &entry);
    if (ret == YOKAN_SUCCESS)
        ret = database->backend->erase_range(database->db, prefix);
    if (ret == YOKAN_SUCCESS)
        ret = database->backend->erase(database->db, 1, &key);
    unlock(database);
    return ret;
}

yk_return_t yokan_collection_info(struct yokan_database *database, const char *name, uint64_t *size, yk_id_t *next_id)
{
    assert(database && name);
    struct entry entry;
    yk_return_t ret = get_entry(database, name, &entry);
    if (ret == YOKAN_SUCCESS && size)
        *size = entry.size;
    if (ret == YOKAN_SUCCESS && next_id)
        *next_id = entry.next_id;
    return ret;
}

/* With the lock: nobody else takes the same ids between reading the entry and writing it. */
static yk_return_t store_locked(struct yokan_database *database, const char *name, size_t count,
                                const yokan_document *documents, yk_id_t *first)
{
    struct entry entry;
    struct keys keys;
    yk_return_t ret = get_entry(database, name, &entry);
    if (ret != YOKAN_SUCCESS)
        return ret;
    /* The largest id is reserved: it means "none" in last_id. An entry that a client wrote as a plain pair may say
     * anything. */
    if (entry.next_id >= UINT64_MAX - 1 || count > UINT64_MAX - 1 - entry.next_id)
        return YOKAN_ERR_INVALID_ID;
    ret = make_keys(&keys, name, count, NULL, entry.next_id);
    if (ret != YOKAN_SUCCESS)
        return ret;
    *first = entry.next_id;
    entry.size += count;
    entry.next_id += count;
    ret = put_documents(database, name, count, keys.slices, documents, &entry);
    free_keys(&keys);
    return ret;
}

yk_return_t yokan_doc_store(struct yokan_database *database, const char *name, size_t count,
                            const yokan_document *documents, yk_id_t *first)
{
    assert(count > 0 && documents && first);
    lock(database);
    yk_return_t ret = store_locked(database, name, count, documents, first);
    unlock(database);
    return ret;
}

static int compare_ids(const void *a, const void *b)
{
    yk_id_t x = *(const yk_id_t *)a, y = *(const yk_id_t *)b;
    return (x > y) - (x < y);
}

static yk_return_t count_absent(void *arg, size_t index, struct yokan_slice key, struct yokan_slice value)
{
    (void)index;
    (void)key;
    *(uint64_t *)arg += value.data == NULL;
    return YOKAN_SUCCESS;
}

/* How many different ids of `ids` there are, and how many of these have no document. */
static yk_return_t count_ids(struct yokan_database *database, const char *name, size_t count, const yk_id_t *ids,
                             uint64_t *distinct, uint64_t *absent)
{
    assert(count > 0 && distinct && absent);
    struct keys keys;
    yk_id_t *sorted = malloc(count * sizeof *sorted);
    if (!sorted)
        return YOKAN_ERR_ALLOCATION;
    memcpy(sorted, ids, count * sizeof *sorted);
    qsort(sorted, count, sizeof *sorted, compare_ids);
    size_t n = 1;
    for (size_t i = 1; i < count; i++) {
        if (sorted[i] != sorted[n - 1])
            sorted[n++] = sorted[i];
    }
    *distinct = n;
    *absent = 0;
    yk_return_t ret = make_keys(&keys, name, n, sorted, 0);
    if (ret == YOKAN_SUCCESS) {
        ret = database->backend->get(database->db, 0, n, keys.slices, count_absent, absent);
        free_keys(&keys);
    }
    free(sorted);
    return ret;
}

/* The entry after an update: new documents count, ids go on after the largest. */
static yk_return_t entry_after_update(struct yokan_database *database, const char *name, int32_t mode, size_t count,
                                      const yk_id_t *ids, struct entry *entry)
{
    uint64_t distinct, absent, next_id = entry->next_id;
    for (size_t i = 0; i < count; i++) {
        bool known = ids[i] < entry->next_id;
        if (ids[i] >= UINT64_MAX - 1 || (!known && !(mode & YOKAN_MODE_UPDATE_NEW)))
            return YOKAN_ERR_INVALID_ID;
        if (ids[i] >= next_id)
            next_id = ids[i] + 1;
    }
    yk_return_t ret = count_ids(database, name, count, ids, &distinct, &absent);
    entry->size += absent;
    entry->next_id = next_id;
    return ret;
}

static yk_return_t update_locked(struct yokan_database *database, const char *name, int32_t mode, size_t count,
                                 const yk_id_t *ids, const yokan_document *documents)
{
    struct entry entry;
    struct keys keys;
    yk_return_t ret = get_entry(database, name, &entry);
    if (ret == YOKAN_SUCCESS)
        ret = entry_after_update(database, name, mode, count, ids, &entry);
    if (ret == YOKAN_SUCCESS)
        ret = make_keys(&keys, name, count, ids, 0);
    if (ret != YOKAN_SUCCESS)
        return ret;
    ret = put_documents(database, name, count, keys.slices, documents, &entry);
    free_keys(&keys);
    return ret;
}

yk_return_t yokan_doc_update(struct yokan_database *database, const char *name, int32_t mode, size_t count,
                             const yk_id_t *ids, const yokan_document *documents)
{
    assert(count > 0 && ids && documents);
    lock(database);
    yk_return_t ret = update_locked(database, name, mode, count, ids, documents);
    unlock(database);
    return ret;
}

/* The entry follows the documents: a crash in between leaves a size that is too large, never an id given twice. */
static yk_return_t erase_locked(struct yokan_database *database, const char *name, size_t count, const yk_id_t *ids)
{
    struct entry entry;
    struct keys keys;
    uint64_t distinct = 0, absent = 0;
    yk_return_t ret = get_entry(database, name, &entry);
    if (ret == YOKAN_SUCCESS)
        ret = count_ids(database, name, count, ids, &distinct, &absent);
    if (ret == YOKAN_SUCCESS)
        ret = make_keys(&keys, name, count, ids, 0);
    if (ret != YOKAN_SUCCESS)
        return ret;
    uint64_t erased = distinct - absent;
    entry.size -= erased < entry.size ? erased : entry.size;
    ret = database->backend->erase(database->db, count, keys.slices);
    if (ret == YOKAN_SUCCESS)
        ret = put_documents(database, name, 0, NULL, NULL, &entry);
    free_keys(&keys);
    return ret;
}

yk_return_t yokan_doc_erase(struct yokan_database *database, const char *name, size_t count, const yk_id_t *ids)
{
    assert(count > 0 && ids);
    lock(database);
    yk_return_t ret = erase_locked(database, name, count, ids);
    unlock(database);
    return ret;
}

struct visitor {
    yokan_visit_document_fn visit;
    void *arg;
    const yk_id_t *ids;        /* load: the ids asked for */
    struct yokan_slice prefix; /* scan: name and separator */
    size_t index;              /* scan: documents visited */
};

static yk_return_t visit_loaded(void *arg, size_t index, struct yokan_slice key, struct yokan_slice value)
{
    (void)key;
    struct visitor *v = arg;
    return v->visit(v->arg, index, v->ids[index], value);
}

yk_return_t yokan_doc_load(struct yokan_database *database, const char *name, size_t count, const yk_id_t *ids,
                           yokan_visit_document_fn visit, void *arg)
{
    assert(count > 0 && ids && visit);
    struct entry entry;
    struct keys keys;
    struct visitor visitor = {.visit = visit, .arg = arg, .ids = ids};
    yk_return_t ret = get_entry(database, name, &entry);
    if (ret == YOKAN_SUCCESS)
        ret = make_keys(&keys, name, count, ids, 0);
    if (ret != YOKAN_SUCCESS)
        return ret;
    ret = database->backend->get(database->db, 0, count, keys.slices, visit_loaded, &visitor);
    free_keys(&keys);
    return ret;
}

/* Ends at the first key behind the collection: with the separator in the prefix, all its documents are neighbours. */
static yk_return_t visit_scanned(void *arg, size_t index, struct yokan_slice key, struct yokan_slice value)
{
    (void)index;
    struct visitor *v = arg;
    uint64_t id;
    if (!yokan_slice_begins_with(key, v->prefix))
        return YOKAN_STOP_ITERATION;
    if (key.size != v->prefix.size + sizeof id)
        return YOKAN_SUCCESS; /* a pair of the user that looks like one of ours */
    memcpy(&id, (const char *)key.data + v->prefix.size, sizeof id);
    return v->visit(v->arg, v->index++, be64toh(id), value);
}

yk_return_t yokan_doc_scan(struct yokan_database *database, const char *name, yk_id_t start,
                           yokan_visit_document_fn visit, void *arg)
{
    assert(visit);
    struct entry entry;
    struct visitor visitor = {.visit = visit, .arg = arg, .prefix = {name, strlen(name) + 1}};
    yk_return_t ret = get_entry(database, name, &entry);
    if (ret != YOKAN_SUCCESS)
        return ret;
    char *from = malloc(document_key_size(name));
    if (!from)
        return YOKAN_ERR_ALLOCATION;
    write_document_key(from, name, start);
    struct yokan_slice key = {from, document_key_size(name)};
    ret = database->backend->scan(database->db, key, true, visit_scanned, &visitor);
    free(from);
    return ret;
}
