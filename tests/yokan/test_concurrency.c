/*
 * Backends and their collections under several threads: exclusive creation, consistent listings, ids without gaps. Run with
 * ThreadSanitizer in the tsan build.
 */
#include "tests/yokan/support.h"

#include "yokan/collections.h"

#include <pthread.h>

#define THREADS 4
#define ROUNDS  400

struct worker {
    pthread_t thread;
    struct yokan_database *database;
    int number;
    unsigned won;
    yk_id_t ids[ROUNDS];
};

static void run_all(struct yokan_database *database, struct worker workers[THREADS], void *(*body)(void *))
{
    for (int i = 0; i < THREADS; i++) {
        workers[i] = (struct worker){.database = database, .number = i};
        assert_int_equal(pthread_create(&workers[i].thread, NULL, body, &workers[i]), 0);
    }
    for (int i = 0; i < THREADS; i++)
        pthread_join(workers[i].thread, NULL);
}

static void *create_exclusively(void *arg)
{
    struct worker *w = arg;
    char key[16];
    for (int i = 0; i < ROUNDS; i++) {
        snprintf(key, sizeof key, "k%d", i);
        struct yokan_pair p = pair(key, "v");
        w->won += w->database->backend->put(w->database->db, YOKAN_MODE_NEW_ONLY, 1, &p) == YOKAN_SUCCESS;
    }
    return NULL;
}

static void one_creator_wins(void **state)
{
    struct worker workers[THREADS];
    unsigned won = 0;
    run_all(*state, workers, create_exclusively);
    for (int i = 0; i < THREADS; i++)
        won += workers[i].won;
    assert_int_equal(won, ROUNDS);
}

static void *store_documents(void *arg)
{
    struct worker *w = arg;
    yokan_document document = slice("x");
    for (int i = 0; i < ROUNDS; i++) {
        if (yokan_doc_store(w->database, "c", 1, &document, &w->ids[i]) != YOKAN_SUCCESS)
            return NULL;
        w->won++;
    }
    return NULL;
}

static void ids_are_given_once(void **state)
{
    struct yokan_database *d = *state;
    static struct worker workers[THREADS];
    static bool given[THREADS * ROUNDS];
    uint64_t size;
    yokan_collection_create(d, "c");
    run_all(d, workers, store_documents);
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(workers[i].won, ROUNDS);
        for (int j = 0; j < ROUNDS; j++) {
            assert_in_range(workers[i].ids[j], 0, THREADS * ROUNDS - 1);
            assert_false(given[workers[i].ids[j]]);
            given[workers[i].ids[j]] = true;
        }
    }
    yokan_collection_info(d, "c", &size, NULL);
    assert_int_equal(size, THREADS * ROUNDS);
}

/* Two keys that are always written in one request have the same value in every listing. */
struct comparison {
    char first[8];
    size_t count;
    bool differs;
};

static yk_return_t compare(void *arg, size_t index, struct yokan_slice key, struct yokan_slice value)
{
    (void)key;
    struct comparison *c = arg;
    c->count++;
    if (index == 0)
        memcpy(c->first, value.data, value.size);
    else
        c->differs |= memcmp(c->first, value.data, value.size) != 0;
    return YOKAN_SUCCESS;
}

static void *write_or_list(void *arg)
{
    struct worker *w = arg;
    const struct yokan_backend *backend = w->database->backend;
    char value[8];
    for (int i = 0; i < ROUNDS; i++) {
        struct comparison c = {.count = 0};
        snprintf(value, sizeof value, "%d.%03d", w->number, i % 1000);
        struct yokan_pair pairs[] = {pair("a", value), pair("b", value)};
        if (w->number % 2)
            backend->put(w->database->db, 0, 2, pairs);
        else
            backend->scan(w->database->db, slice(""), false, compare, &c);
        w->won += c.differs || c.count == 1;
    }
    return NULL;
}

static void listings_see_one_moment(void **state)
{
    struct worker workers[THREADS];
    run_all(*state, workers, write_or_list);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(workers[i].won, 0);
}

static int set_up(void **state)
{
    *state = open_database(new_database_config());
    return 0;
}

static int tear_down(void **state)
{
    yokan_database_close(*state);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(one_creator_wins, set_up, tear_down),
        cmocka_unit_test_setup_teardown(ids_are_given_once, set_up, tear_down),
        cmocka_unit_test_setup_teardown(listings_see_one_moment, set_up, tear_down),
    };
    ABT_init(0, NULL);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    ABT_finalize();
    return failed;
}
