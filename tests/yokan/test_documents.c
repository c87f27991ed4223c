/*
 * Collections and documents through client and provider: every operation in every form.
 */
#include "tests/yokan/rpc_support.h"
#include "tests/support/protocol.h"

#define N            64
#define DOCUMENT_MAX 2048

static char documents[N][DOCUMENT_MAX];
static const void *pointers[N];
static size_t sizes[N];
static yk_id_t ids[N];

static void make_documents(size_t size, char first)
{
    for (int i = 0; i < N; i++) {
        memset(documents[i], first + i % 20, DOCUMENT_MAX);
        pointers[i] = documents[i];
        sizes[i] = i % 8 == 7 ? 0 : size - (size_t)i % 3;
    }
}

static size_t pack(char *buffer)
{
    size_t total = 0;
    for (int i = 0; i < N; i++) {
        memcpy(buffer + total, documents[i], sizes[i]);
        total += sizes[i];
    }
    return total;
}

static void life_of_a_collection(void **state)
{
    struct fixture *f = *state;
    uint8_t flag = 7;
    size_t size;
    yk_id_t id;
    assert_ok(yk_collection_exists(f->dbh, "life", 0, &flag));
    assert_int_equal(flag, 0);
    assert_ok(yk_collection_create(f->dbh, "life", 0));
    assert_ret(yk_collection_create(f->dbh, "life", 0), YOKAN_ERR_KEY_EXISTS);
    assert_ok(yk_collection_exists(f->dbh, "life", 0, &flag));
    assert_int_equal(flag, 1);
    assert_ok(yk_collection_size(f->dbh, "life", 0, &size));
    assert_int_equal(size, 0);
    assert_ok(yk_collection_last_id(f->dbh, "life", 0, &id));
    assert_true(id == (yk_id_t)-1);
    assert_ok(yk_collection_drop(f->dbh, "life", 0));
    assert_ret(yk_collection_drop(f->dbh, "life", 0), YOKAN_ERR_KEY_NOT_FOUND);
    assert_ret(yk_collection_size(f->dbh, "life", 0, &size), YOKAN_ERR_KEY_NOT_FOUND);
    assert_ret(yk_collection_last_id(f->dbh, "life", 0, &id), YOKAN_ERR_KEY_NOT_FOUND);
    assert_ret(yk_doc_store(f->dbh, "life", 0, "x", 1, &id), YOKAN_ERR_KEY_NOT_FOUND);
    assert_ret(yk_collection_create(f->dbh, "", 0), YOKAN_ERR_INVALID_ARGS);
    assert_ret(yk_collection_create(f->dbh, NULL, 0), YOKAN_ERR_INVALID_ARGS);
}

static void check_loaded(struct fixture *f, int32_t mode)
{
    static char out[N][DOCUMENT_MAX], packed[N * DOCUMENT_MAX];
    void *buffers[N];
    size_t found[N];
    for (int i = 0; i < N; i++) {
        buffers[i] = out[i];
        found[i] = DOCUMENT_MAX;
    }
    assert_ok(yk_doc_load_multi(f->dbh, "docs", mode, N, ids, buffers, found));
    for (int i = 0; i < N; i++) {
        assert_int_equal(found[i], sizes[i]);
        assert_memory_equal(out[i], documents[i], sizes[i]);
    }
    assert_ok(yk_doc_load_packed(f->dbh, "docs", mode, N, ids, sizeof packed, packed, found));
    assert_memory_equal(found, sizes, sizeof sizes);
    assert_ok(yk_doc_length_multi(f->dbh, "docs", mode, N, ids, found));
    assert_memory_equal(found, sizes, sizeof sizes);
}

static void store_and_load_in_every_form(void **state)
{
    struct fixture *f = *state;
    static char packed[N * DOCUMENT_MAX];
    static const int32_t modes[] = {0, 0, YOKAN_MODE_NO_RDMA};
    static const size_t bytes[] = {32, DOCUMENT_MAX, DOCUMENT_MAX};
    for (int way = 0; way < 3; way++) {
        make_documents(bytes[way], 'a');
        assert_ok(yk_collection_create(f->dbh, "docs", modes[way]));
        assert_ok(yk_doc_store_multi(f->dbh, "docs", modes[way], N, pointers, sizes, ids));
        for (yk_id_t i = 0; i < N; i++)
            assert_int_equal(ids[i], i);
        check_loaded(f, modes[way]);
        pack(packed);
        assert_ok(yk_doc_store_packed(f->dbh, "docs", modes[way], N, packed, sizes, ids));
        assert_int_equal(ids[0], N);
        check_loaded(f, modes[way]);
        make_documents(bytes[way], 'A');
        assert_ok(yk_doc_update_multi(f->dbh, "docs", modes[way], N, ids, pointers, sizes));
        check_loaded(f, modes[way]);
        make_documents(bytes[way], 'B');
        pack(packed);
        assert_ok(yk_doc_update_packed(f->dbh, "docs", modes[way], N, ids, packed, sizes));
        check_loaded(f, modes[way]);
        assert_ok(yk_collection_drop(f->dbh, "docs", modes[way]));
    }
}

static void one_document(void **state)
{
    struct fixture *f = *state;
    char out[8];
    size_t size = 3;
    yk_id_t id;
    assert_ok(yk_collection_create(f->dbh, "one", 0));
    assert_ok(yk_doc_store(f->dbh, "one", 0, "hello", 5, &id));
    assert_ret(yk_doc_load(f->dbh, "one", 0, id, out, &size), YOKAN_ERR_BUFFER_SIZE);
    size = sizeof out;
    assert_ok(yk_doc_load(f->dbh, "one", 0, id, out, &size));
    assert_memory_equal(out, "hello", 5);
    assert_ok(yk_doc_length(f->dbh, "one", 0, id, &size));
    assert_int_equal(size, 5);
    size = sizeof out;
    assert_ret(yk_doc_load(f->dbh, "one", 0, 9, out, &size), YOKAN_ERR_KEY_NOT_FOUND);
    assert_ret(yk_doc_length(f->dbh, "one", 0, 9, &size), YOKAN_ERR_KEY_NOT_FOUND);
    assert_ret(yk_doc_update(f->dbh, "one", 0, 9, "x", 1), YOKAN_ERR_INVALID_ID);
    assert_ok(yk_doc_update(f->dbh, "one", YOKAN_MODE_UPDATE_NEW, 10, "ten", 3));
    assert_ok(yk_collection_last_id(f->dbh, "one", 0, &id));
    assert_int_equal(id, 10);
    assert_ok(yk_collection_size(f->dbh, "one", 0, &size));
    assert_int_equal(size, 2);
    assert_ok(yk_doc_erase(f->dbh, "one", 0, 10));
    assert_ok(yk_doc_erase(f->dbh, "one", 0, 10));
    assert_ok(yk_collection_size(f->dbh, "one", 0, &size));
    assert_int_equal(size, 1);
    assert_ok(yk_collection_last_id(f->dbh, "one", 0, &id));
    assert_int_equal(id, 10);
    assert_ok(yk_doc_store(f->dbh, "one", 0, NULL, 0, &id));
    assert_int_equal(id, 11);
}

static void wrong_arguments(void **state)
{
    struct fixture *f = *state;
    yk_id_t id = 0;
    size_t size = 3;
    char out[8];
    const void *document = "x";
    assert_ret(yk_doc_store(f->dbh, "one", 0, NULL, 3, &id), YOKAN_ERR_INVALID_ARGS);
    assert_ret(yk_doc_store(f->dbh, "one", 0, "x", 1, NULL), YOKAN_ERR_INVALID_ARGS);
    assert_ret(yk_doc_store(f->dbh, NULL, 0, "x", 1, &id), YOKAN_ERR_INVALID_ARGS);
    assert_ret(yk_doc_store_multi(f->dbh, "one", 0, 1, &document, NULL, &id), YOKAN_ERR_INVALID_ARGS);
    assert_ret(yk_doc_load(f->dbh, "one", 0, 0, out, NULL), YOKAN_ERR_INVALID_ARGS);
    assert_ret(yk_doc_load(f->dbh, "one", 0, 0, NULL, &size), YOKAN_ERR_INVALID_ARGS);
    assert_ret(yk_doc_list_packed(f->dbh, "one", 0, 0, NULL, 0, 1, NULL, 8, out, &size), YOKAN_ERR_INVALID_ARGS);
    assert_ret(yk_doc_list_packed(f->dbh, "one", 0, 0, NULL, 0, 1, &id, 8, NULL, &size), YOKAN_ERR_INVALID_ARGS);
    assert_ret(yk_doc_load(f->dbh, "missing", 0, 0, out, &size), YOKAN_ERR_KEY_NOT_FOUND);
    size = 3;
    assert_ret(yk_doc_load_multi(f->dbh, "missing", 0, 1, &id, (void *[]){out}, &size), YOKAN_ERR_KEY_NOT_FOUND);
    assert_ok(yk_doc_length_multi(f->dbh, "missing", 0, 1, &id, &size));
    assert_true(size == YOKAN_KEY_NOT_FOUND);
    assert_ok(yk_doc_store_multi(f->dbh, "missing", 0, 0, NULL, NULL, NULL));
}

static void lists(void **state)
{
    struct fixture *f = *state;
    static char packed[(N + 4) * DOCUMENT_MAX];
    char small[4][8];
    void *buffers[] = {small[0], small[1], small[2], small[3]};
    size_t found[N + 4];
    yk_id_t listed[N + 4];
    make_documents(DOCUMENT_MAX, 'a');
    assert_ok(yk_collection_create(f->dbh, "list", 0));
    assert_ok(yk_doc_store_multi(f->dbh, "list", 0, N, pointers, sizes, ids));
    assert_ok(yk_doc_erase_multi(f->dbh, "list", 0, 2, (yk_id_t[]){1, 2}));
    for (int way = 0; way < 2; way++) {
        int32_t mode = way ? YOKAN_MODE_NO_RDMA : 0;
        assert_ok(yk_doc_list_packed(f->dbh, "list", mode, 0, NULL, 0, N + 4, listed, sizeof packed, packed, found));
        assert_int_equal(listed[0], 0);
        assert_int_equal(listed[1], 3);
        assert_int_equal(listed[N - 3], N - 1);
        assert_true(listed[N - 2] == YOKAN_NO_MORE_DOCS && found[N + 3] == YOKAN_NO_MORE_DOCS);
        assert_int_equal(found[1], sizes[3]);
        assert_memory_equal(packed + found[0], documents[3], found[1]);
        assert_ok(yk_doc_list_packed(f->dbh, "list", mode, 3, NULL, 0, 4, listed, 5000, packed, found));
        assert_true(found[1] == sizes[4] && found[2] == YOKAN_SIZE_TOO_SMALL && found[3] == YOKAN_SIZE_TOO_SMALL);
        assert_int_equal(listed[3], 6);
    }
    assert_ok(yk_doc_list_packed(f->dbh, "list", YOKAN_MODE_IGNORE_DOCS, 3, NULL, 0, 4, listed, 0, NULL, found));
    assert_true(listed[3] == 6 && found[0] == 0 && found[3] == 0);
    for (int i = 0; i < 4; i++)
        found[i] = 8;
    assert_ok(yk_doc_list(f->dbh, "list", 0, N - 2, NULL, 0, 4, listed, buffers, found));
    assert_true(found[0] == YOKAN_SIZE_TOO_SMALL && listed[0] == N - 2 && found[1] == 0 && listed[1] == N - 1 &&
                listed[2] == YOKAN_NO_MORE_DOCS);
    assert_ret(yk_doc_list_packed(f->dbh, "missing", 0, 0, NULL, 0, 4, listed, 0, NULL, found),
               YOKAN_ERR_KEY_NOT_FOUND);
}

/* Documents described by bulk handles, as partitions of type legacy use them. */
static void bulk_forms(void **state)
{
    struct fixture *f = *state;
    static uint64_t region[4 + N * 2 + N * DOCUMENT_MAX / 8];
    char *bytes = (char *)region;
    void *pointer = region;
    hg_size_t size = sizeof region;
    hg_bulk_t bulk;
    assert_int_equal(margo_bulk_create(f->mid, 1, &pointer, &size, HG_BULK_READWRITE, &bulk), HG_SUCCESS);
    make_documents(DOCUMENT_MAX, 'a');
    assert_ok(yk_collection_create(f->dbh, "docs", 0));
    memcpy(bytes + 32, sizes, sizeof sizes);
    size_t total = pack(bytes + 32 + sizeof sizes);
    size_t used = sizeof sizes + total;
    assert_ok(yk_doc_store_bulk(f->dbh, "docs", 0, N, f->address, bulk, 32, used, ids));
    check_loaded(f, 0);
    assert_ret(yk_doc_store_bulk(f->dbh, "docs", 0, N, NULL, bulk, 32, used - 1, ids), YOKAN_ERR_INVALID_ARGS);
    assert_ok(yk_doc_update_bulk(f->dbh, "docs", 0, N, ids, NULL, bulk, 32, used));
    memset(region, 0, sizeof region);
    assert_ok(yk_doc_load_bulk(f->dbh, "docs", 0, N, ids, NULL, bulk, 32, used, true));
    assert_memory_equal(bytes + 32, sizes, sizeof sizes);
    assert_memory_equal(bytes + 32 + sizeof sizes + sizes[0], documents[1], sizes[1]);
    assert_ok(yk_doc_load_bulk(f->dbh, "docs", 0, N, ids, NULL, bulk, 32, used, false));
    assert_memory_equal(bytes + 32, sizes, sizeof sizes);
    /* list: sizes, ids, documents */
    assert_ok(yk_doc_list_bulk(f->dbh, "docs", 0, 0, 0, NULL, bulk, 0, total, true, N));
    assert_memory_equal(bytes, sizes, sizeof sizes);
    assert_memory_equal(bytes + sizeof sizes, ids, sizeof ids);
    assert_memory_equal(bytes + 2 * sizeof sizes + sizes[0], documents[1], sizes[1]);
    assert_ok(yk_collection_drop(f->dbh, "docs", 0));
    margo_bulk_free(bulk);
}

/* ---- callbacks ---- */

struct visits {
    struct fixture *f;
    size_t count, absent, stop_at;
};

static yk_return_t visit(void *uargs, size_t index, yk_id_t id, const void *document, size_t size)
{
    struct visits *v = uargs;
    if (index != v->count++ || id != index)
        return YOKAN_ERR_OTHER;
    if (size == YOKAN_KEY_NOT_FOUND)
        v->absent++;
    else if (size != sizes[id] || memcmp(document, documents[id], size) != 0)
        return YOKAN_ERR_OTHER;
    return v->count == v->stop_at ? YOKAN_STOP_ITERATION : YOKAN_SUCCESS;
}

/* Pulls what the bulk handle describes; fetch has sizes in front, iteration ids and sizes. */
static yk_return_t visit_bulk(void *uargs, size_t start, size_t count, hg_bulk_t data, hg_addr_t origin, size_t size)
{
    struct visits *v = uargs;
    char *copy = malloc(size);
    void *pointer = copy;
    hg_size_t copy_size = size;
    hg_bulk_t local;
    uint64_t first;
    if (start != v->count || margo_bulk_create(v->f->mid, 1, &pointer, &copy_size, HG_BULK_WRITE_ONLY, &local) != 0)
        return YOKAN_ERR_OTHER;
    hg_return_t hret = margo_bulk_transfer(v->f->mid, HG_BULK_PULL, origin, data, 0, local, 0, size);
    margo_bulk_free(local);
    memcpy(&first, copy, sizeof first);
    free(copy);
    v->count += count;
    return hret == HG_SUCCESS && first == (v->stop_at ? sizes[start] : start) ? YOKAN_SUCCESS : YOKAN_ERR_OTHER;
}

static void fetch_and_iterate(void **state)
{
    struct fixture *f = *state;
    yk_doc_fetch_options_t fetch_options = {.batch_size = 5};
    yk_doc_iter_options_t iter_options = {.batch_size = 7};
    struct visits v = {.f = f};
    make_documents(DOCUMENT_MAX, 'a');
    assert_ok(yk_collection_create(f->dbh, "docs", 0));
    assert_ok(yk_doc_store_multi(f->dbh, "docs", 0, N - 1, pointers, sizes, ids));
    ids[N - 1] = N - 1; /* absent */
    assert_ok(yk_doc_fetch_multi(f->dbh, "docs", 0, N, ids, visit, &v, &fetch_options));
    assert_true(v.count == N && v.absent == 1);
    v = (struct visits){.stop_at = 11};
    assert_ok(yk_doc_fetch_multi(f->dbh, "docs", YOKAN_MODE_NO_RDMA, N, ids, visit, &v, NULL));
    assert_int_equal(v.count, 11);
    v = (struct visits){.f = f};
    assert_ok(yk_doc_fetch(f->dbh, "docs", 0, 0, visit, &v));
    v = (struct visits){.f = f};
    assert_ok(yk_doc_iter(f->dbh, "docs", 0, 0, NULL, 0, 0, visit, &v, &iter_options));
    assert_int_equal(v.count, N - 1);
    v = (struct visits){.f = f};
    assert_ok(yk_doc_iter(f->dbh, "docs", 0, 0, NULL, 0, 9, visit, &v, &iter_options));
    assert_int_equal(v.count, 9);
    v = (struct visits){.f = f};
    assert_ok(yk_doc_iter_bulk(f->dbh, "docs", 0, 0, NULL, 0, 0, visit_bulk, &v, &iter_options));
    assert_int_equal(v.count, N - 1);
    v = (struct visits){.f = f, .stop_at = 1};
    assert_ok(yk_doc_fetch_bulk(f->dbh, "docs", 0, N - 1, ids, visit_bulk, &v, &fetch_options));
    assert_int_equal(v.count, N - 1);
    assert_ret(yk_doc_iter_bulk(f->dbh, "docs", YOKAN_MODE_NO_RDMA, 0, NULL, 0, 0, visit_bulk, &v, NULL),
               YOKAN_ERR_MODE);
    assert_ret(yk_doc_iter(f->dbh, "docs", 0, 0, NULL, 0, 0, NULL, &v, NULL), YOKAN_ERR_INVALID_ARGS);
    assert_ret(yk_doc_iter(f->dbh, "missing", 0, 0, NULL, 0, 0, visit, &v, NULL), YOKAN_ERR_KEY_NOT_FOUND);
    assert_ok(yk_collection_drop(f->dbh, "docs", 0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(life_of_a_collection),
        cmocka_unit_test(store_and_load_in_every_form),
        cmocka_unit_test(one_document),
        cmocka_unit_test(wrong_arguments),
        cmocka_unit_test(lists),
        cmocka_unit_test(bulk_forms),
        cmocka_unit_test(fetch_and_iterate),
    };
    return cmocka_run_group_tests(tests, set_up_both, tear_down_both);
}
