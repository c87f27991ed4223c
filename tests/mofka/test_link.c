/*
 * Links: a sink keeps order and stores everything once, whatever becomes of its sessions and connections meanwhile; a
 * source that is closed while it finds its partition again ends.
 */
#include "tests/margo/peer.h"
#include "tests/support/test.h"

#include "diaspora/record.h"
#include "mofka/client/driver.h"
#include "mofka/client/link.h"
#include "mofka/client/source.h"
#include "mofka/server/provider.h"

#include <semaphore.h>

#define PROVIDER_ID 7
#define BATCHES     400
#define WINDOW      8

static struct peer server;
static struct mofka_provider *provider; /* in the server's process */
static struct mofka_driver driver = {.group_file = (char *)(uintptr_t) "/nonexistent", .reconnect_timeout_ms = 20000};
static struct mofka_topic_partition partition = {.uuid = {9}};
static struct mofka_topic topic = {
    .driver = &driver, .name = (char *)(uintptr_t) "t", .partition_count = 1, .partitions = &partition};
static struct dango_error err;

static void destroy_provider(void *arg)
{
    (void)arg;
    mofka_provider_destroy(provider);
}

static void serve(margo_instance_id mid)
{
    struct mofka_provider_settings settings = {.mid = mid, .provider_id = PROVIDER_ID, .uuid = {9}};
    margo_get_handler_pool(mid, &settings.pool);
    if (mofka_provider_create(&settings, &provider, NULL) != 0)
        abort();
    margo_push_prefinalize_callback(mid, destroy_provider, NULL);
}

static int start(void **state)
{
    (void)state;
    peer_start(&server, NULL, serve);
    pthread_mutex_init(&driver.losses_lock, NULL);
    assert_int_equal(mofka_engine_get("na+sm", NULL, &driver.engine, &err), 0);
    assert_int_equal(mofka_leases_init(&driver.leases, driver.engine, &err), 0);
    assert_int_equal(mofka_search_init(&driver, &err), 0);
    assert_int_equal(mofka_target_init(&partition.target, driver.engine, server.address, PROVIDER_ID, &err), 0);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    peer_stop(&server, mofka_engine_instance(driver.engine));
    mofka_target_fini(&partition.target);
    mofka_search_fini(&driver);
    mofka_leases_fini(&driver.leases);
    mofka_engine_put(driver.engine);
    return 0;
}

/* ---- batches ---- */

struct sent {
    struct diaspora_batch batch;
    uint64_t first_id;
    int done, code;
};

static struct sent all[BATCHES];
static int finished; /* batches, in order */
static sem_t room;

static void batch_done(struct diaspora_batch *batch, uint64_t first_id, const struct dango_error *failure)
{
    struct sent *sent = container_of(batch, struct sent, batch);
    sent->first_id = first_id;
    sent->code = failure ? failure->code : 0;
    sent->done++;
    assert_ptr_equal(sent, &all[__atomic_fetch_add(&finished, 1, __ATOMIC_RELEASE)]);
    sem_post(&room);
}

static void make_batch(struct sent *sent, uint64_t i)
{
    *sent = (struct sent){.batch = {.sequence = i, .count = 1, .done = batch_done}};
    assert_int_equal(mofka_buffer_allocate(&driver, 8192, &sent->batch.records, &err), 0);
    char metadata[6000] = "";
    size_t size = i % 3 == 0 ? sizeof metadata : 10; /* every third is pulled by the server */
    sent->batch.records_size = diaspora_record_put(sent->batch.records.base, metadata, size, 0);
}

/* The sink's session as it is now. */
static void close_session(struct mofka_link *link)
{
    struct mofka_request_head head;
    struct mofka_answer answer;
    pthread_mutex_lock(&link->lock);
    mofka_request_head_init(&head, link->token);
    pthread_mutex_unlock(&link->lock);
    diaspora_segment part = {&head, sizeof head};
    mofka_call(&partition.target, MOFKA_RPC_CLOSE, &part, 1, &answer, sizeof answer, NULL);
}

/* Sends all batches; `disturb` is called now and then. */
static void send_all(void (*disturb)(struct mofka_link *link))
{
    const struct diaspora_sink_settings settings = {.producer_name = "p", .window = WINDOW};
    void *sink;
    assert_int_equal(mofka_sink_open(&topic, 0, &settings, &sink, &err), 0);
    finished = 0;
    sem_init(&room, 0, 2 * WINDOW);
    for (uint64_t i = 0; i < BATCHES; i++) {
        make_batch(&all[i], i);
        while (sem_wait(&room) != 0)
            ;
        mofka_sink_submit(sink, &all[i].batch);
        if (i % 40 == 20)
            disturb(sink); /* a sink begins with its link */
    }
    for (int i = 0; i < 2 * WINDOW; i++) /* as a flush does: closing cancels what waits for a server that is away */
        while (sem_wait(&room) != 0)
            ;
    mofka_sink_close(sink);
    sem_destroy(&room);
    assert_int_equal(finished, BATCHES);
    for (uint64_t i = 0; i < BATCHES; i++) {
        assert_int_equal(all[i].done, 1);
        assert_int_equal(all[i].code, 0);
        assert_int_equal(all[i].first_id, all[0].first_id + i);
        mofka_buffer_free(&driver, &all[i].batch.records);
    }
}

static void sessions_that_are_forgotten_are_opened_again(void **state)
{
    (void)state;
    send_all(close_session);
}

static void break_connection(struct mofka_link *link)
{
    (void)link;
    margo_addr_set_remove(mofka_engine_instance(driver.engine), partition.target.addr);
}

static void connections_that_break_are_made_again(void **state)
{
    (void)state;
    send_all(break_connection);
}

static void break_both(struct mofka_link *link)
{
    close_session(link);
    break_connection(link);
}

static void both_at_once(void **state)
{
    (void)state;
    send_all(break_both);
}

/* ---- closing ---- */

static const struct mofka_link_ops *real_ops;
static sem_t opening;
static int fetch_outcome;

/* Finds the partition just after the link has begun to close. */
static int open_too_late(struct mofka_link *link, struct dango_error *failure)
{
    bool closing = false;
    sem_post(&opening);
    while (!closing) {
        margo_thread_sleep(mofka_engine_instance(driver.engine), 1);
        pthread_mutex_lock(&link->lock);
        closing = link->closing;
        pthread_mutex_unlock(&link->lock);
    }
    return real_ops->open(link, failure);
}

static void fetch_done(struct diaspora_fetch *fetch, const struct dango_error *failure)
{
    (void)fetch;
    fetch_outcome = failure ? failure->code : 1;
}

static void closing_ends_a_source_that_comes_back_at_that_moment(void **state)
{
    (void)state;
    const struct mofka_link_ops late_ops = {.open = open_too_late};
    const struct diaspora_source_settings settings = {.consumer_name = "c", .start = DIASPORA_START_LAST};
    struct diaspora_run run;
    struct diaspora_fetch fetch = {.max_events = 1, .runs = &run, .runs_capacity = 1, .done = fetch_done};
    void *source;
    sem_init(&opening, 0, 0);
    assert_int_equal(mofka_buffer_allocate(&driver, 8192, &fetch.buffer, &err), 0);
    assert_int_equal(mofka_source_open(&topic, 0, &settings, &source, &err), 0);
    struct mofka_link *link = source; /* a source begins with its link */
    real_ops = link->ops;
    link->ops = &late_ops;
    mofka_source_fetch(source, &fetch);
    close_session(link);
    while (sem_wait(&opening) != 0)
        ;
    mofka_source_close(source);
    assert_int_equal(fetch_outcome, DANGO_ERR_CANCELED);
    mofka_buffer_free(&driver, &fetch.buffer);
    sem_destroy(&opening);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sessions_that_are_forgotten_are_opened_again),
        cmocka_unit_test(connections_that_break_are_made_again),
        cmocka_unit_test(both_at_once),
        cmocka_unit_test(closing_ends_a_source_that_comes_back_at_that_moment),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
