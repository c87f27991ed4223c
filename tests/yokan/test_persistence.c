/*
 * What persistent backends promise beyond test_backend.c: a database is there again after an orderly end and after
 * kill -9; every wrong directory is refused with a text that says why. Runs once for each of them (backends.h).
 */
#include "tests/support/child.h"
#include "tests/yokan/support.h"

#include "yokan/collections.h"

#include <sys/stat.h>

#define DOCUMENTS 100

/* A database's directory that does not exist yet, and a configuration for it with more options. */
struct place {
    char path[128], config[1024];
};

static void describe(struct place *place, const char *more)
{
    snprintf(place->config, sizeof place->config, "{\"type\":\"%s\",\"config\":{\"path\":\"%s\"%s}}", test_backend(),
             place->path, more);
}

static struct place new_place(void)
{
    static int number;
    struct place place;
    int length = snprintf(place.path, sizeof place.path, "%s/p%d", test_root(), number++);
    assert_in_range(length, 1, sizeof place.path - 1);
    describe(&place, "");
    return place;
}

static void make_file(const char *directory, const char *name, const char *content)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s", directory, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(content, file);
    fclose(file);
}

static void check_refused(const char *config, yk_return_t code, const char *expected)
{
    struct dango_error err = {0};
    struct yokan_database *database = NULL;
    struct json_object *json = dango_json_parse(config, strlen(config), &err);
    assert_non_null(json);
    yk_return_t ret = yokan_database_open(json, "database", &database, &err);
    if (ret != code)
        fail_msg("code %d instead of %d: %s", ret, code, err.text);
    assert_contains(err.text, expected);
    assert_int_not_equal(err.code, 0);
    json_object_put(json);
}

static void fill(struct yokan_database *d)
{
    struct yokan_pair pairs[] = {pair("key", "value"), pair("empty", "")};
    assert_int_equal(d->backend->put(d->db, 0, 2, pairs), YOKAN_SUCCESS);
    assert_int_equal(yokan_collection_create(d, "c"), YOKAN_SUCCESS);
    for (int i = 0; i < DOCUMENTS; i++) {
        yokan_document document = slice("document");
        yk_id_t id;
        assert_int_equal(yokan_doc_store(d, "c", 1, &document, &id), YOKAN_SUCCESS);
    }
}

static yk_return_t count_documents(void *arg, size_t index, yk_id_t id, struct yokan_slice document)
{
    assert_int_equal(id, index);
    assert_int_equal(document.size, strlen("document"));
    ++*(int *)arg;
    return YOKAN_SUCCESS;
}

static void check_filled(struct yokan_database *d)
{
    struct seen seen = {0};
    struct yokan_slice keys[] = {slice("key"), slice("empty"), slice("none")};
    uint64_t size, next_id;
    int documents = 0;
    assert_int_equal(d->backend->get(d->db, 0, 3, keys, see, &seen), YOKAN_SUCCESS);
    assert_string_equal(seen.text, "key=value empty= none! ");
    assert_int_equal(yokan_collection_info(d, "c", &size, &next_id), YOKAN_SUCCESS);
    assert_int_equal(size, DOCUMENTS);
    assert_int_equal(next_id, DOCUMENTS);
    assert_int_equal(yokan_doc_scan(d, "c", 0, count_documents, &documents), YOKAN_SUCCESS);
    assert_int_equal(documents, DOCUMENTS);
}

static void everything_is_there_after_a_close(void **state)
{
    (void)state;
    struct place place = new_place();
    struct yokan_database *d = open_database(place.config);
    fill(d);
    yokan_database_close(d);
    describe(&place, ",\"create_if_missing\":false");
    d = open_database(place.config);
    check_filled(d);
    yokan_database_close(d);
}

/* The child: fills a database, says so, and waits to be killed. */
static void hold(const char *config)
{
    fill(open_database(config));
    puts("filled");
    fflush(stdout);
    pause();
}

static void kill_9_loses_nothing_and_frees_the_lock(void **state)
{
    (void)state;
    struct place place = new_place();
    char line[64], expected[64];
    char *const argv[] = {"child", "hold", place.config, NULL};
    struct child child = child_start(argv);
    child_read_line(&child, line, sizeof line);
    assert_string_equal(line, "filled");
    snprintf(expected, sizeof expected, "is in use by another process (id %d)", (int)child.pid);
    check_refused(place.config, YOKAN_ERR_BUSY, expected);
    child_kill(&child);
    struct yokan_database *d = open_database(place.config);
    check_filled(d);
    yokan_database_close(d);
}

static void one_provider_at_a_time(void **state)
{
    (void)state;
    struct place place = new_place();
    struct yokan_database *d = open_database(place.config);
    check_refused(place.config, YOKAN_ERR_BUSY, "is in use by another provider of this process");
    yokan_database_close(d);
    yokan_database_close(open_database(place.config));
}

static void wrong_paths(void **state)
{
    (void)state;
    struct place place = new_place();
    char config[128];
    describe(&place, ",\"create_if_missing\":false");
    check_refused(place.config, YOKAN_ERR_IO, "cannot open the directory");
    check_refused(place.config, YOKAN_ERR_IO, "(\"create_if_missing\" is false): No such file");
    assert_int_equal(mkdir(place.path, 0755), 0);
    check_refused(place.config, YOKAN_ERR_INVALID_CONFIG, "there is no database in");
    snprintf(config, sizeof config, "{\"type\":\"%s\",\"config\":{\"path\":\"\"}}", test_backend());
    check_refused(config, YOKAN_ERR_INVALID_CONFIG, "path: is empty");
    snprintf(config, sizeof config, "{\"type\":\"%s\"}", test_backend());
    check_refused(config, YOKAN_ERR_INVALID_CONFIG, "database.config.path: this field is required");
    snprintf(config, sizeof config, "{\"type\":\"%s\",\"config\":{\"path\":\"/proc/self/exe\"}}", test_backend());
    check_refused(config, YOKAN_ERR_INVALID_CONFIG, "is a file");
    /* Nobody may make files here, not even root; which error the kernel gives differs. */
    snprintf(config, sizeof config, "{\"type\":\"%s\",\"config\":{\"path\":\"/sys/kernel\"}}", test_backend());
    check_refused(config, YOKAN_ERR_PERMISSION, "the directory \"/sys/kernel\" is not writable");
}

static void other_kinds_of_databases(void **state)
{
    (void)state;
    struct place place = new_place();
    assert_int_equal(mkdir(place.path, 0755), 0);
    make_file(place.path, test_backend_is("lmdb") ? "CURRENT" : "data.mdb", "");
    check_refused(place.config, YOKAN_ERR_INVALID_CONFIG,
                  test_backend_is("lmdb") ? "holds a database of type \"leveldb\", not \"lmdb\""
                                          : "holds a database of type \"lmdb\", not");
}

static void a_damaged_database(void **state)
{
    (void)state;
    struct place place = new_place();
    yokan_database_close(open_database(place.config));
    make_file(place.path, test_backend_is("lmdb") ? "data.mdb" : "CURRENT", "this is nonsense, not a database");
    check_refused(place.config, YOKAN_ERR_CORRUPTION, "cannot open the database in");
}

static void the_configuration_can_be_given_back(void **state)
{
    (void)state;
    struct place place = new_place();
    struct yokan_database *d = open_database(place.config);
    struct json_object *json = yokan_database_config(d);
    const char *text = json_object_to_json_string_ext(json, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE);
    assert_contains(text, "\"create_if_missing\":true");
    assert_contains(text, place.path);
    yokan_database_close(d);
    d = open_database(text);
    struct json_object *again = yokan_database_config(d);
    assert_true(json_object_equal(json, again));
    yokan_database_close(d);
    json_object_put(json);
    json_object_put(again);
}

static void options_of_one_backend(void **state)
{
    (void)state;
    struct place place = new_place();
    if (test_backend_is("lmdb")) {
        describe(&place, ",\"no_lock\":true,\"sync\":false,\"map_size\":1048576,\"max_readers\":3");
        struct yokan_database *d = open_database(place.config);
        fill(d);
        check_filled(d);
        char *large = calloc(1, 2 << 20), key[512] = "k";
        struct yokan_pair full = {slice("large"), {large, 2 << 20}}, long_key = {{key, sizeof key}, {"", 0}};
        assert_int_equal(d->backend->put(d->db, 0, 1, &full), YOKAN_ERR_IO);
        assert_int_equal(d->backend->put(d->db, 0, 1, &long_key), YOKAN_ERR_INVALID_ARGS);
        check_filled(d);
        free(large);
        yokan_database_close(d);
        return;
    }
    describe(&place, ",\"write_options\":{\"sync\":true},\"read_options\":{\"verify_checksums\":true}");
    struct yokan_database *d = open_database(place.config);
    fill(d);
    yokan_database_close(d);
    describe(&place, ",\"error_if_exists\":true");
    check_refused(place.config, YOKAN_ERR_INVALID_CONFIG, "holds a database already");
    describe(&place, test_backend_is("rocksdb") ? ",\"read_options\":{\"tailing\":true}" : ",\"reuse_logs\":true");
    check_refused(place.config, YOKAN_ERR_INVALID_CONFIG, "only the default is possible here");
}

static void rocksdb_data_paths(void **state)
{
    (void)state;
    struct place place = new_place();
    char more[512];
    if (!test_backend_is("rocksdb"))
        skip();
    snprintf(more, sizeof more, ",\"wal_dir\":\"%s/wal\",\"db_paths\":[{\"path\":\"%s/data\",\"target_size\":1000000}]",
             place.path, place.path);
    describe(&place, more);
    struct yokan_database *d = open_database(place.config);
    fill(d);
    yokan_database_close(d);
    d = open_database(place.config);
    check_filled(d);
    yokan_database_close(d);
    describe(&place, ",\"db_paths\":[{\"pth\":\"x\"}]");
    check_refused(place.config, YOKAN_ERR_INVALID_CONFIG, "db_paths[0]");
    describe(&place, ",\"allow_mmap_writes\":true,\"use_direct_reads\":true,\"allow_mmap_reads\":true");
    check_refused(place.config, YOKAN_ERR_OP_UNSUPPORTED, "RocksDB says:");
}

int main(int argc, char **argv)
{
    if (argc > 2)
        return hold(argv[2]), 0;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(everything_is_there_after_a_close),
        cmocka_unit_test(kill_9_loses_nothing_and_frees_the_lock),
        cmocka_unit_test(one_provider_at_a_time),
        cmocka_unit_test(wrong_paths),
        cmocka_unit_test(other_kinds_of_databases),
        cmocka_unit_test(a_damaged_database),
        cmocka_unit_test(the_configuration_can_be_given_back),
        cmocka_unit_test(options_of_one_backend),
        cmocka_unit_test(rocksdb_data_paths),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
