/*
 * Marks of creators: alive while their maker is, dead right after, and by age only when they come from elsewhere.
 */
#include "mofka/client/claim.h"

#include "tests/support/test.h"
#include "util/json.h"

#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static void alive_while_held(void **state)
{
    struct mofka_claim claim;
    struct dango_error err = {0};
    (void)state;
    assert_int_equal(mofka_claim_init(&claim, &err), 0);
    struct json_object *mark = dango_json_copy(claim.json);
    assert_false(mofka_claim_is_dead(mark));
    assert_false(mofka_claim_is_dead(mark)); /* asking changes nothing */
    assert_false(mofka_claim_needs_renewal(&claim));
    mofka_claim_fini(&claim);
    assert_true(mofka_claim_is_dead(mark));
    mofka_claim_fini(&claim);
    json_object_put(mark);
}

static void two_are_different(void **state)
{
    struct mofka_claim one, other;
    struct dango_error err = {0};
    (void)state;
    assert_int_equal(mofka_claim_init(&one, &err), 0);
    assert_int_equal(mofka_claim_init(&other, &err), 0);
    assert_true(mofka_claim_is_same(one.json, one.json));
    assert_false(mofka_claim_is_same(one.json, other.json));
    assert_int_equal(mofka_claim_refuse(one.json, "topic", &err), DANGO_ERR_BUSY);
    assert_non_null(strstr(err.text, "\"topic\" is being created by a process on host"));
    mofka_claim_fini(&one);
    assert_false(mofka_claim_is_dead(other.json));
    mofka_claim_fini(&other);
}

/* The kernel lets go of what a killed process held. */
static void dead_with_its_process(void **state)
{
    int ends[2], status;
    char text[1024] = "";
    (void)state;
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    if (child == 0) {
        struct mofka_claim claim;
        struct dango_error err = {0};
        if (mofka_claim_init(&claim, &err) != 0)
            _exit(1);
        const char *mark = json_object_to_json_string_ext(claim.json, JSON_C_TO_STRING_PLAIN);
        if (write(ends[1], mark, strlen(mark)) < 0)
            _exit(1);
        pause();
    }
    assert_true(read(ends[0], text, sizeof text - 1) > 0);
    struct json_object *mark = dango_json_parse(text, strlen(text), NULL);
    assert_false(mofka_claim_is_dead(mark));
    kill(child, SIGKILL);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(mofka_claim_is_dead(mark));
    json_object_put(mark);
    close(ends[0]);
    close(ends[1]);
}

static void from_elsewhere_age_decides(void **state)
{
    struct mofka_claim claim;
    struct dango_error err = {0};
    (void)state;
    assert_int_equal(mofka_claim_init(&claim, &err), 0);
    json_object_object_add(claim.json, "scope", json_object_new_string("another machine"));
    assert_false(mofka_claim_is_dead(claim.json));
    json_object_object_add(claim.json, "time", json_object_new_int64(time(NULL) - MOFKA_CLAIM_STALE_S - 1));
    assert_true(mofka_claim_is_dead(claim.json));
    assert_true(mofka_claim_needs_renewal(&claim));
    assert_false(mofka_claim_is_dead(claim.json));
    mofka_claim_fini(&claim);
}

static void what_is_none_is_dead(void **state)
{
    static const char *const texts[] = {"{}", "{\"id\":3,\"scope\":\"x\"}", "{\"id\":\"../../x\",\"scope\":\"x\"}",
                                        "[]"};
    (void)state;
    assert_true(mofka_claim_is_dead(NULL));
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct json_object *mark = dango_json_parse(texts[i], strlen(texts[i]), NULL);
        assert_true(mofka_claim_is_dead(mark));
        json_object_put(mark);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(alive_while_held),      cmocka_unit_test(two_are_different),
        cmocka_unit_test(dead_with_its_process), cmocka_unit_test(from_elsewhere_age_decides),
        cmocka_unit_test(what_is_none_is_dead),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
