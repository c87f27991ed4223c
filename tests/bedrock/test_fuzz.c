/*
 * Configurations, references and expressions damaged at random: every outcome is fine except a crash, a sanitizer
 * report, or a failure without a text. The sequence is fixed, so that a failure can be repeated: DANGO_FUZZ_SEED gives
 * another one, DANGO_FUZZ_ROUNDS more of it.
 */
#include "tests/support/test.h"

#include "bedrock/config.h"
#include "bedrock/document.h"
#include "bedrock/expression.h"
#include "bedrock/reference.h"
#include "util/json.h"
#include "util/log.h"

static uint64_t state = 88172645463325252u;
static unsigned rounds = 20000;

static uint64_t next_random(void)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state;
}

static const char *const documents[] = {
    "{\"libraries\":[\"\"],\"providers\":[{\"name\":\"p\",\"type\":\"thing\",\"provider_id\":3,\"tags\":[\"a\"],"
    "\"config\":{\"size\":7},\"dependencies\":{\"friends\":[\"q\",\"thing:4\"],\"pool\":0}}],\"bedrock\":{\"pool\":"
    "\"x\"}}",
    "[{\"__if__\":\"$MPI_COMM_WORLD.rank == 0\",\"a.b.c\":[1,{\"__if__\":false}]},{\"margo\":{\"argobots\":{}}}]",
    "{\"margo\":[{\"mercury\":{\"address\":\"na+sm\"}},{}],\"bedrock.provider_id\":7,\"providers\":null}",
};

static const char *const expressions[] = {
    "in_array($world.rank, [0, 3]) && !empty($world['rank']) || 1.5e3 >= -2",
    "return (count($world) .. \"x\\n\" == '3x') ? [1, 'b'] : $world[0].name;",
};

static const char *const references[] = {"name", "yokan:12@na+sm://4843-0", "db@local", "x:65535@17"};

/* A few bytes changed, removed or repeated; never grows beyond `size`. */
static void damage(const char *text, char *buffer, size_t size)
{
    static const char alphabet[] = "{}[]\":,.0123456789-+eE$()!&|=<>?'\\ nulltruefalse_if@\xc3\xff\x01";
    size_t length = strlen(text);
    assert_true(length + 1 < size);
    memcpy(buffer, text, length + 1);
    for (uint64_t n = next_random() % 6; n > 0; n--) {
        size_t at = next_random() % (length + 1);
        switch (next_random() % 3) {
        case 0:
            if (at < length)
                buffer[at] = alphabet[next_random() % (sizeof alphabet - 1)];
            break;
        case 1:
            memmove(buffer + at, buffer + at + (at < length), length - at + 1);
            break;
        default:
            if (length + 2 < size) {
                memmove(buffer + at + 1, buffer + at, length - at + 1);
                buffer[at] = alphabet[next_random() % (sizeof alphabet - 1)];
            }
        }
        length = strlen(buffer);
    }
}

static const char *pick(const char *const *list, size_t count)
{
    return list[next_random() % count];
}

#define PICK(list) pick(list, sizeof(list) / sizeof *(list))

static void assert_explained(int status, const struct dango_error *err)
{
    assert_true(status == 0 ? err->code == 0 : status == err->code && err->text[0]);
}

static void configurations(void **unused)
{
    (void)unused;
    const struct dango_world world = {.launched = true, .rank = 1, .size = 2};
    struct bdk_registry *registry = bdk_registry_create();
    struct dango_error err = {0};
    assert_int_equal(bdk_registry_load(registry, "", &err), 0);
    for (unsigned i = 0; i < rounds; i++) {
        char text[1024];
        struct bdk_config config;
        damage(PICK(documents), text, sizeof text);
        dango_error_clear(&err);
        struct json_object *document = bdk_document_parse(text, strlen(text), &world, NULL, &err);
        assert_true(document || err.text[0]);
        if (!document)
            continue;
        int status = bdk_config_parse(&config, document, &err);
        assert_explained(status, &err);
        if (status == 0) {
            status = bdk_config_check(&config, registry, &err);
            assert_explained(status, &err);
            bdk_config_release(&config);
        }
        json_object_put(document);
    }
    bdk_registry_destroy(registry);
}

static void texts(void **unused)
{
    (void)unused;
    struct json_object *variables = json_tokener_parse("{\"world\":{\"rank\":2,\"size\":5}}");
    for (unsigned i = 0; i < rounds; i++) {
        char text[256];
        struct dango_error err = {0}, missing = {0};
        struct json_object *value;
        struct bdk_reference reference;
        damage(PICK(expressions), text, sizeof text);
        assert_explained(bdk_expression_evaluate(text, variables, &value, &missing, &err), &err);
        json_object_put(value);
        dango_error_clear(&err);
        damage(PICK(references), text, sizeof text);
        assert_explained(bdk_reference_parse(&reference, text, &err), &err);
    }
    json_object_put(variables);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(configurations),
        cmocka_unit_test(texts),
    };
    const char *seed = getenv("DANGO_FUZZ_SEED"), *count = getenv("DANGO_FUZZ_ROUNDS");
    if (seed)
        state = strtoull(seed, NULL, 10) | 1;
    if (count)
        rounds = (unsigned)strtoul(count, NULL, 10);
    dango_log_set_level(DANGO_LOG_OFF);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
