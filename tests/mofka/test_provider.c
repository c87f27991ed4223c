/*
 * A partition provider in a process of its own, and clients that do not behave: garbage, lies about sizes, wrong order,
 * silence. The server answers with an error and goes on; whoever behaves is not disturbed.
 */
#include "tests/mofka/events.h"
#include "tests/support/protocol.h"
#include "tests/margo/peer.h"
#include "tests/mofka/random.h"

#include "diaspora/driver.h"
#include "mofka/client/engine.h"
#include "mofka/client/frames.h"
#include "mofka/server/provider.h"
#include "mofka/wire/wire.h"

#include <semaphore.h>
#include <unistd.h>

#define PROVIDER_ID 7
#define LEASE_MS    300
#define ROOM        65536

static struct peer server;
static struct mofka_engine *engine;
static struct mofka_target target;
static struct mofka_provider *provider; /* in the server's process */
static struct dango_error err;

static void destroy_provider(void *arg)
{
    (void)arg;
    mofka_provider_destroy(provider);
}

static void serve(margo_instance_id mid)
{
    struct mofka_provider_settings settings = {
        .mid = mid, .provider_id = PROVIDER_ID, .uuid = {9}, .lease_ms = LEASE_MS};
    margo_get_handler_pool(mid, &settings.pool);
    if (mofka_provider_create(&settings, &provider, NULL) != 0)
        abort();
    margo_push_prefinalize_callback(mid, destroy_provider, NULL);
    /* As between the steps of creating or destroying a provider. */
    margo_provider_register_name(mid, "mofka_renew", hg_proc_mofka_message, hg_proc_mofka_message,
                                 mofka_request_arrived, PROVIDER_ID + 1, settings.pool);
}

static int start(void **state)
{
    (void)state;
    peer_start(&server, NULL, serve);
    assert_int_equal(mofka_engine_get(test_protocol(), NULL, &engine, &err), 0);
    assert_int_equal(mofka_target_init(&target, engine, server.address, PROVIDER_ID, &err), 0);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    peer_stop(&server, mofka_engine_instance(engine));
    mofka_target_fini(&target);
    mofka_engine_put(engine);
    return 0;
}

/* ---- well-behaved requests ---- */

static uint64_t producers; /* the number of the one that came last */

/* The last producer comes back with a batch of which it does not know what became of it. */
static uint64_t resume(uint64_t sequence)
{
    struct mofka_attach_request request = {
        .partition = {9}, .producer = producers, .first = sequence, .unsettled = 1, .window = 4, .attempt = 1};
    struct mofka_attach_answer answer;
    mofka_request_head_init(&request.head, 0);
    diaspora_segment part = {&request, sizeof request};
    assert_int_equal(mofka_call(&target, MOFKA_RPC_ATTACH, &part, 1, &answer, sizeof answer, &err), 0);
    return answer.token;
}

static uint64_t attach(void)
{
    producers++;
    return resume(0);
}

static struct mofka_subscribe_answer subscribe(enum diaspora_start start)
{
    struct mofka_subscribe_request request = {.partition = {9}};
    struct mofka_subscribe_answer answer;
    mofka_request_head_init(&request.head, 0);
    request.head.flags = (uint16_t)start;
    diaspora_segment part = {&request, sizeof request};
    assert_int_equal(mofka_call(&target, MOFKA_RPC_SUBSCRIBE, &part, 1, &answer, sizeof answer, &err), 0);
    return answer;
}

static int plain(enum mofka_rpc rpc, uint64_t token)
{
    struct mofka_request_head head;
    struct mofka_answer answer;
    mofka_request_head_init(&head, token);
    diaspora_segment part = {&head, sizeof head};
    return mofka_call(&target, rpc, &part, 1, &answer, sizeof answer, &err);
}

/* A batch of one event without data; `id` may be NULL. */
static int produce(uint64_t token, uint32_t attempt, uint64_t sequence, const char *metadata, uint64_t *id)
{
    unsigned char records[256];
    struct mofka_produce_request request = {.attempt = attempt, .sequence = sequence};
    struct mofka_produce_answer answer;
    mofka_request_head_init(&request.head, token);
    request.head.extra = 1;
    request.head.flags = MOFKA_RECORDS_INSIDE | MOFKA_DATA_INSIDE;
    request.records_size = diaspora_record_put(records, metadata, strlen(metadata), 0);
    diaspora_segment parts[] = {{&request, sizeof request}, {records, (size_t)request.records_size}};
    int code = mofka_call(&target, MOFKA_RPC_PRODUCE, parts, 2, &answer, sizeof answer, &err);
    if (code == 0 && id)
        *id = answer.first_id;
    return code;
}

/* A fetch whose room is described by the given bytes. */
static int fetch(uint64_t token, uint64_t room, const void *flat, size_t flat_size, struct mofka_fetch_answer *answer)
{
    struct mofka_fetch_request request = {.room = room, .frames_max = 100, .flat = (uint32_t)flat_size};
    mofka_request_head_init(&request.head, token);
    request.head.extra = 1000;
    diaspora_segment parts[] = {{&request, sizeof request}, {(void *)(uintptr_t)flat, flat_size}};
    return mofka_call(&target, MOFKA_RPC_FETCH, parts, 2, answer, sizeof *answer, &err);
}

/* ---- tests ---- */

static void tokens_open_only_what_they_are_for(void **state)
{
    (void)state;
    uint64_t token = attach(), consumer = subscribe(DIASPORA_START_LAST).token;
    struct mofka_fetch_answer answer;
    assert_int_equal(produce(token + 1, 1, 0, "x", NULL), DANGO_ERR_DISCONNECTED);
    assert_contains(err.text, "does not know this client");
    assert_int_equal(produce(consumer, 1, 0, "x", NULL), DANGO_ERR_PROTOCOL);
    assert_contains(err.text, "a consumer asked what only a producer may");
    assert_int_equal(fetch(token, ROOM, "", 0, &answer), DANGO_ERR_PROTOCOL);
    assert_int_equal(plain(MOFKA_RPC_RENEW, token), 0);
    assert_int_equal(plain(MOFKA_RPC_CLOSE, token), 0);
    assert_int_equal(plain(MOFKA_RPC_CLOSE, token), DANGO_ERR_DISCONNECTED);
    assert_int_equal(plain(MOFKA_RPC_CLOSE, consumer), 0);
}

static void requests_to_a_provider_that_comes_or_goes_are_refused(void **state)
{
    (void)state;
    uint64_t token = attach();
    struct mofka_target half;
    assert_int_equal(mofka_target_init(&half, engine, server.address, PROVIDER_ID + 1, &err), 0);
    struct mofka_request_head head;
    struct mofka_answer answer;
    mofka_request_head_init(&head, token);
    diaspora_segment part = {&head, sizeof head};
    assert_int_equal(mofka_call(&half, MOFKA_RPC_RENEW, &part, 1, &answer, sizeof answer, &err),
                     DANGO_ERR_DISCONNECTED);
    assert_contains(err.text, "not served at this moment");
    mofka_target_fini(&half);
    assert_int_equal(plain(MOFKA_RPC_RENEW, token), 0);
    assert_int_equal(plain(MOFKA_RPC_CLOSE, token), 0);
}

static void batches_keep_their_order_whatever_fails(void **state)
{
    (void)state;
    uint64_t token = attach(), first, second;
    assert_int_equal(produce(token, 1, 0, "a", &first), 0);
    assert_int_equal(produce(token, 1, 2, "c", NULL), DANGO_ERR_PROTOCOL);
    assert_int_equal(produce(token, 1, 1, "b", NULL), DANGO_ERR_CANCELED);
    assert_int_equal(produce(token, 2, 1, "b", &second), 0);
    assert_int_equal(second, first + 1);
    assert_int_equal(plain(MOFKA_RPC_CLOSE, token), 0);
}

static void another_partition_at_the_place_is_noticed(void **state)
{
    (void)state;
    struct mofka_attach_request request = {.partition = {8}, .producer = 1};
    struct mofka_attach_answer answer;
    mofka_request_head_init(&request.head, 0);
    diaspora_segment part = {&request, sizeof request};
    assert_int_equal(mofka_call(&target, MOFKA_RPC_ATTACH, &part, 1, &answer, sizeof answer, &err),
                     DANGO_ERR_DISCONNECTED);
    assert_contains(err.text, "another partition");
}

/* The worst of them removes everything that is stored. */
static void operators_reach_only_the_partition_they_mean(void **state)
{
    (void)state;
    static const enum mofka_rpc rpcs[] = {MOFKA_RPC_INSPECT, MOFKA_RPC_COMPLETE, MOFKA_RPC_ERASE};
    struct mofka_set_position_request position = {.partition = {8}};
    struct mofka_operator_request request = {.partition = {8}};
    struct mofka_answer answer;
    mofka_request_head_init(&request.head, 0);
    mofka_request_head_init(&position.head, 0);
    position.head.flags = MOFKA_POSITION_FORCE | DIASPORA_START_FIRST;
    uint64_t token = attach();
    diaspora_segment part = {&request, sizeof request}, change = {&position, sizeof position};
    for (size_t i = 0; i < sizeof rpcs / sizeof *rpcs; i++) {
        assert_int_equal(mofka_call(&target, rpcs[i], &part, 1, &answer, sizeof answer, &err), DANGO_ERR_DISCONNECTED);
        assert_contains(err.text, "another partition");
    }
    assert_int_equal(mofka_call(&target, MOFKA_RPC_SET_POSITION, &change, 1, &answer, sizeof answer, &err),
                     DANGO_ERR_DISCONNECTED);
    assert_int_equal(produce(token, 1, 0, "still there", NULL), 0);
    assert_int_equal(plain(MOFKA_RPC_CLOSE, token), 0);
}

static void a_batch_that_is_sent_again_is_stored_once(void **state)
{
    (void)state;
    uint64_t token = attach(), first, again, next;
    assert_int_equal(produce(token, 1, 0, "a", &first), 0);
    uint64_t second_token = resume(0); /* as if the answer had been lost */
    assert_int_equal(produce(second_token, 1, 0, "a", &again), 0);
    assert_int_equal(again, first);
    assert_int_equal(produce(second_token, 1, 1, "b", &next), 0);
    assert_int_equal(next, first + 1);
    assert_int_equal(produce(token, 1, 1, "b", NULL), DANGO_ERR_CANCELED);
    assert_int_equal(plain(MOFKA_RPC_CLOSE, token), 0);
    assert_int_equal(plain(MOFKA_RPC_CLOSE, second_token), 0);
}

/* Sizes, counts and bulk handles that do not fit together. */
static void lies_about_batches_store_nothing(void **state)
{
    (void)state;
    uint64_t token = attach(), before, after;
    assert_int_equal(produce(token, 1, 0, "a", &before), 0);
    unsigned char records[64] = {0}, garbage[48];
    uint64_t seed = 4;
    random_fill(&seed, garbage, sizeof garbage);
    size_t size = diaspora_record_put(records, "meta", 4, 0);
    uint32_t attempt = 2;
    for (int kind = 0; kind < 4; kind++, attempt++) {
        struct mofka_produce_request request = {.attempt = attempt, .sequence = attempt, .records_size = size};
        struct mofka_produce_answer answer;
        diaspora_segment parts[] = {{&request, sizeof request}, {records, size}};
        mofka_request_head_init(&request.head, token);
        request.head.flags = MOFKA_RECORDS_INSIDE | MOFKA_DATA_INSIDE;
        request.head.extra = kind == 0 ? 2 : 1; /* one record is not two */
        if (kind == 1)
            records[0] = 60; /* metadata longer than the batch */
        if (kind >= 2) {     /* a handle that is none, for a batch of reasonable or of enormous size */
            request.head.flags = 0;
            request.records_size = kind == 2 ? 100 : MOFKA_CONTENT_MAX;
            request.records_flat = sizeof garbage;
            parts[1] = (diaspora_segment){garbage, sizeof garbage};
        }
        assert_true(mofka_call(&target, MOFKA_RPC_PRODUCE, parts, 2, &answer, sizeof answer, &err) < 0);
        assert_true(strlen(err.text) > 0);
    }
    assert_int_equal(produce(token, attempt, attempt, "b", &after), 0);
    assert_int_equal(after, before + 1);
    assert_int_equal(plain(MOFKA_RPC_CLOSE, token), 0);
}

static void rooms_that_are_none_end_the_subscription(void **state)
{
    (void)state;
    uint64_t token = attach();
    struct mofka_subscribe_answer consumer = subscribe(DIASPORA_START_LAST);
    struct mofka_fetch_answer answer;
    char metadata[200], garbage[40];
    memset(metadata, 'm', sizeof metadata - 1);
    metadata[sizeof metadata - 1] = '\0';
    memset(garbage, 'g', sizeof garbage);
    for (uint64_t i = 0; i < 60; i++)
        assert_int_equal(produce(token, 1, i, metadata, NULL), 0);
    assert_int_equal(fetch(consumer.token, 50, garbage, sizeof garbage, &answer), 0);
    assert_int_equal(answer.size, 0);
    assert_true(answer.needed > 200 && answer.needed < 400);
    assert_int_equal(fetch(consumer.token, 1000, garbage, sizeof garbage, &answer), 0); /* travels inside */
    assert_true(answer.flags & MOFKA_FRAMES_INSIDE && answer.size <= 1000);
    assert_int_equal(fetch(consumer.token, ROOM, garbage, sizeof garbage, &answer), DANGO_ERR_PROTOCOL);
    assert_int_equal(fetch(consumer.token, 1000, garbage, sizeof garbage, &answer), DANGO_ERR_DISCONNECTED);
    assert_int_equal(plain(MOFKA_RPC_CLOSE, consumer.token), 0);
    assert_int_equal(plain(MOFKA_RPC_CLOSE, token), 0);
}

/* ---- many at once ---- */

#define FLOOD (2 * MOFKA_WINDOW_MAX + 1)

static struct {
    hg_handle_t handles[FLOOD];
    sem_t answered;
    atomic_int busy;
} flood;

static void flooded(void *arg, hg_return_t ret)
{
    hg_handle_t handle = arg;
    struct mofka_message message;
    struct mofka_fetch_answer answer;
    if (ret == HG_SUCCESS && margo_get_output(handle, &message) == HG_SUCCESS) {
        if (dango_mofka_decode_answer(&message, &answer, sizeof answer, NULL) == DANGO_ERR_BUSY)
            atomic_fetch_add(&flood.busy, 1);
        margo_free_output(handle, &message);
    }
    sem_post(&flood.answered);
}

/* As many fetches as a session may have, and one more. They wait until the silent session is forgotten. */
static void send_flood(uint64_t token)
{
    struct mofka_fetch_request request = {.room = ROOM, .frames_max = 1};
    mofka_request_head_init(&request.head, token);
    request.head.extra = 1;
    diaspora_segment part = {&request, sizeof request};
    for (size_t i = 0; i < FLOOD; i++) {
        assert_int_equal(mofka_handle_create(&target, MOFKA_RPC_FETCH, &flood.handles[i], &err), 0);
        assert_int_equal(mofka_call_start(&target, flood.handles[i], &part, 1, 0, flooded, flood.handles[i], &err), 0);
    }
    for (size_t i = 0; i < FLOOD; i++)
        sem_wait(&flood.answered);
    for (size_t i = 0; i < FLOOD; i++)
        margo_destroy(flood.handles[i]);
}

static void requests_of_one_client_are_limited(void **state)
{
    (void)state;
    sem_init(&flood.answered, 0, 0);
    atomic_init(&flood.busy, 0);
    /* On a busy machine the session may be forgotten before all are there. */
    for (int tries = 0; atomic_load(&flood.busy) == 0; tries++) {
        assert_true(tries < 20);
        send_flood(subscribe(DIASPORA_START_LAST).token);
    }
    assert_int_equal(flood.busy, 1);
    sem_destroy(&flood.answered);
}

static void acknowledgements_of_the_future_are_refused(void **state)
{
    (void)state;
    struct mofka_subscribe_answer consumer = subscribe(DIASPORA_START_FIRST);
    struct mofka_acknowledge_request request = {.event_id = consumer.end};
    struct mofka_answer answer;
    mofka_request_head_init(&request.head, consumer.token);
    diaspora_segment part = {&request, sizeof request};
    assert_int_equal(mofka_call(&target, MOFKA_RPC_ACKNOWLEDGE, &part, 1, &answer, sizeof answer, &err),
                     DANGO_ERR_RANGE);
    request.event_id = 0;
    assert_int_equal(mofka_call(&target, MOFKA_RPC_ACKNOWLEDGE, &part, 1, &answer, sizeof answer, &err), 0);
    assert_int_equal(plain(MOFKA_RPC_CLOSE, consumer.token), 0);
    assert_int_equal(subscribe(DIASPORA_START_SAVED).position, 1);
}

static void contents_that_are_not_there_any_more_are_not_gone_on_with(void **state)
{
    (void)state;
    struct mofka_subscribe_answer consumer = subscribe(DIASPORA_START_FIRST), again;
    struct mofka_subscribe_request request = {.partition = {9}, .start_id = consumer.end, .life = consumer.life};
    assert_true(consumer.life != 0); /* in memory */
    mofka_request_head_init(&request.head, 0);
    request.head.flags = DIASPORA_START_ID;
    diaspora_segment part = {&request, sizeof request};
    assert_int_equal(mofka_call(&target, MOFKA_RPC_SUBSCRIBE, &part, 1, &again, sizeof again, &err), 0);
    assert_int_equal(again.life, consumer.life);
    request.life++;
    assert_int_equal(mofka_call(&target, MOFKA_RPC_SUBSCRIBE, &part, 1, &again, sizeof again, &err),
                     DANGO_ERR_NOT_FOUND);
    assert_int_equal(plain(MOFKA_RPC_CLOSE, consumer.token), 0);
}

static void random_messages_disturb_nobody(void **state)
{
    (void)state;
    uint64_t token = attach(), seed = 6, before, after;
    assert_int_equal(produce(token, 1, 0, "a", &before), 0);
    for (int round = 0; round < 20000; round++) {
        unsigned char bytes[300];
        size_t size = random_below(&seed, sizeof bytes);
        enum mofka_rpc rpc = (enum mofka_rpc)random_below(&seed, MOFKA_RPC_COUNT);
        if (rpc == MOFKA_RPC_COMPLETE || rpc == MOFKA_RPC_ERASE) /* are meant to disturb */
            continue;
        struct mofka_answer answer;
        random_fill(&seed, bytes, size);
        if (size >= sizeof(struct mofka_request_head)) {
            struct mofka_request_head head;
            mofka_request_head_init(&head, rpc == MOFKA_RPC_CLOSE ? token + 1 : token);
            head.extra = (uint32_t)random_below(&seed, 300);
            memcpy(bytes, &head, sizeof head);
        }
        diaspora_segment part = {bytes, size};
        int code = mofka_call(&target, rpc, &part, 1, &answer, sizeof answer, &err);
        assert_true(code == 0 || strlen(err.text) > 0);
    }
    /* Leases are short here: on a busy machine the first session may be forgotten by now. */
    assert_int_equal(produce(attach(), 1, 0, "b", &after), 0);
    assert_true(after > before);
}

/* A session that is renewed stays, one that is not is gone after two leases at the latest. */
static void silent_clients_are_forgotten(void **state)
{
    (void)state;
    uint64_t silent = attach(), kept = attach();
    for (double end = now_s() + 2.5 * LEASE_MS / 1000; now_s() < end; usleep(LEASE_MS * 1000 / 10))
        assert_int_equal(plain(MOFKA_RPC_RENEW, kept), 0);
    assert_int_equal(plain(MOFKA_RPC_RENEW, silent), DANGO_ERR_DISCONNECTED);
    assert_int_equal(plain(MOFKA_RPC_CLOSE, kept), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tokens_open_only_what_they_are_for),
        cmocka_unit_test(requests_to_a_provider_that_comes_or_goes_are_refused),
        cmocka_unit_test(batches_keep_their_order_whatever_fails),
        cmocka_unit_test(another_partition_at_the_place_is_noticed),
        cmocka_unit_test(operators_reach_only_the_partition_they_mean),
        cmocka_unit_test(a_batch_that_is_sent_again_is_stored_once),
        cmocka_unit_test(lies_about_batches_store_nothing),
        cmocka_unit_test(rooms_that_are_none_end_the_subscription),
        cmocka_unit_test(requests_of_one_client_are_limited),
        cmocka_unit_test(acknowledgements_of_the_future_are_refused),
        cmocka_unit_test(contents_that_are_not_there_any_more_are_not_gone_on_with),
        cmocka_unit_test(random_messages_disturb_nobody),
        cmocka_unit_test(silent_clients_are_forgotten),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
