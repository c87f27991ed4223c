/*
 * Engines of the client: started by the first user, shared, stopped by the last one, from any thread, again and again.
 */
#include "tests/margo/peer.h"
#include "tests/support/protocol.h"
#include "tests/support/test.h"

#include "mofka/client/engine.h"
#include "util/json.h"
#include "util/log.h"

#include <pthread.h>

static struct peer server;

static int start(void **state)
{
    (void)state;
    peer_start(&server, NULL, NULL);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    struct mofka_engine *engine;
    assert_int_equal(mofka_engine_get(test_protocol(), NULL, &engine, NULL), 0);
    peer_stop(&server, mofka_engine_instance(engine));
    mofka_engine_put(engine);
    return 0;
}

/* A call that gets an answer: the server has no partition. */
static void call_server(struct mofka_engine *engine)
{
    struct mofka_target target;
    struct mofka_request_head head;
    struct mofka_answer answer;
    struct dango_error err;
    mofka_request_head_init(&head, 1);
    diaspora_segment part = {&head, sizeof head};
    assert_int_equal(mofka_target_init(&target, engine, server.address, 3, &err), 0);
    assert_int_equal(mofka_call(&target, MOFKA_RPC_RENEW, &part, 1, &answer, sizeof answer, &err),
                     DANGO_ERR_DISCONNECTED);
    assert_contains(err.text, "has no partition with provider id 3");
    mofka_target_fini(&target);
}

static void *use_engine(void *arg)
{
    for (int i = 0; i < 25; i++) {
        struct mofka_engine *engine;
        assert_int_equal(mofka_engine_get(test_protocol(), NULL, &engine, NULL), 0);
        call_server(engine);
        mofka_engine_put(engine);
    }
    return arg;
}

static void engines_come_and_go_with_their_users(void **state)
{
    (void)state;
    use_engine(NULL); /* nobody else: starts and stops every time */
    pthread_t threads[3];
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, use_engine, NULL), 0);
    for (size_t i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
}

static void users_of_a_protocol_share_an_engine(void **state)
{
    (void)state;
    struct mofka_engine *one, *two;
    assert_int_equal(mofka_engine_get(test_protocol(), NULL, &one, NULL), 0);
    assert_int_equal(mofka_engine_get(test_protocol(), NULL, &two, NULL), 0);
    assert_ptr_equal(one, two);
    mofka_engine_put(one);
    call_server(two);
    mofka_engine_put(two);
}

static void the_progress_loop_needs_no_thread_of_the_application(void **state)
{
    (void)state;
    struct json_object *margo = dango_json_parse("{\"use_progress_thread\": false}", 30, NULL);
    struct mofka_engine *engine;
    assert_int_equal(mofka_engine_get(test_protocol(), margo, &engine, NULL), 0);
    call_server(engine);
    mofka_engine_put(engine);
    json_object_put(margo);
}

static void what_cannot_start_says_why(void **state)
{
    (void)state;
    struct mofka_engine *engine;
    struct dango_error err;
    assert_true(mofka_engine_get("no+such", NULL, &engine, &err) < 0);
    assert_contains(err.text, "no+such");
    struct json_object *margo = dango_json_parse("{\"use_progress_thred\": true}", 28, NULL);
    assert_true(mofka_engine_get(test_protocol(), margo, &engine, &err) < 0);
    assert_contains(err.text, "driver.margo");
    assert_contains(err.text, "did you mean \"use_progress_thread\"");
    json_object_put(margo);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(engines_come_and_go_with_their_users),
        cmocka_unit_test(users_of_a_protocol_share_an_engine),
        cmocka_unit_test(the_progress_loop_needs_no_thread_of_the_application),
        cmocka_unit_test(what_cannot_start_says_why),
    };
    dango_log_set_level(DANGO_LOG_OFF);
    return cmocka_run_group_tests(tests, start, stop);
}
