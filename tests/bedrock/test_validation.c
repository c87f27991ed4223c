/*
 * Every way in which a configuration can be wrong without starting anything, and the message it gives.
 */
#include "tests/support/test.h"

#include "bedrock/config.h"
#include "bedrock/document.h"
#include "util/json.h"
#include "util/log.h"

static const struct dango_world alone = {.size = 1};

/* From text to the checked configuration; 0 or the error. */
static int check(const char *text, const struct dango_world *world, struct dango_error *err)
{
    struct bdk_config config = {0};
    struct json_object *document = bdk_document_parse(text, strlen(text), world, NULL, err);
    if (!document)
        return err->code;
    struct bdk_registry *registry = bdk_registry_create();
    int status = bdk_config_parse(&config, document, err);
    for (size_t i = 0; i < config.num_libraries && status == 0; i++) {
        status = bdk_registry_load(registry, bdk_config_library(&config, i), err);
        if (status < 0)
            dango_error_prefix(err, "libraries[%zu]", i);
    }
    if (status == 0)
        status = bdk_config_check(&config, registry, err);
    bdk_config_release(&config);
    bdk_registry_destroy(registry);
    json_object_put(document);
    return status;
}

#define LIB       "{'libraries':[''],'providers':["
#define THING     "{'name':'p','type':'thing'"
#define THING_END "}]}"

struct wrong {
    const char *text, *message; /* ' stands for " in both */
};

static const struct wrong catalogue[] = {
    /* libraries */
    {"{'libraries':123}", "libraries: expected an array of strings, got integer"},
    {"{'libraries':'x.so'}", "libraries: expected an array of strings, got string"},
    {"{'libraries':{'thing':'x.so'}}", "libraries: expected an array of strings, got object"},
    {"{'libraries':['', 123]}", "libraries[1]: expected a string, got integer"},
    {"{'libraries':['abc.so']}", "libraries[0]: cannot load 'abc.so': abc.so: cannot open shared object file"},
    {"{'libraries':['libc.so.6']}", "libraries[0]: cannot load 'libc.so.6': it is not a Bedrock module"},
    /* shape of providers */
    {"{'providers':true}", "providers: expected an array, got boolean"},
    {"{'providers':[true]}", "providers[0]: expected an object, got boolean"},
    {"{'providers':[{'name':'p','provider_id':123}]}", "providers[0] ('p'): missing 'type'"},
    {"{'providers':[{'type':'thing'}]}", "providers[0]: missing 'name'"},
    {LIB "{'name':'p','type':'zzz'}]}", "providers[0] ('p'): unknown provider type 'zzz' (known: thing, store); is its "
                                        "library listed in 'libraries'?"},
    {LIB "{'name':'p','type':'thinh'}]}", "(known: thing, store; did you mean 'thing'?)"},
    {"{'providers':[{'name':'p','type':'thing'}]}", "unknown provider type 'thing' (known: none)"},
    {LIB "{'name':true,'type':'thing'}]}", "providers[0].name: expected a string, got boolean"},
    {LIB "{'name':'p','type':true}]}", "providers[0].type: expected a string, got boolean"},
    {LIB THING ",'provider_id':true}]}", "providers[0].provider_id: expected an integer, got boolean"},
    {LIB THING ",'provider_id':1.5}]}", "providers[0].provider_id: expected an integer, got number"},
    {LIB THING ",'provider_id':1.0}]}", "providers[0].provider_id: expected an integer, got number"},
    {LIB THING ",'provider_id':-1}]}", "providers[0].provider_id: -1 is not in 0..65535"},
    {LIB THING ",'provider_id':65536}]}", "providers[0].provider_id: 65536 is not in 0..65535"},
    {LIB THING ",'config':true}]}", "providers[0].config: expected an object, got boolean"},
    {LIB "{'name':'','type':'thing'}]}", "providers[0].name: '' is not a valid identifier"},
    {LIB "{'name':'a-b','type':'thing'}]}", "providers[0].name: 'a-b' is not a valid identifier"},
    {LIB "{'name':'2x','type':'thing'}]}", "providers[0].name: '2x' is not a valid identifier"},
    {LIB THING "}," THING THING_END, "providers[1].name: 'p' is already used by providers[0]"},
    {LIB THING ",'provider_id':42},{'name':'q','type':'store','dependencies':{'pool':'x'},'provider_id':42}]}",
     "providers[1] ('q'): provider id 42 is already used by 'p'"},
    {LIB THING "},{'name':'q','type':'thing','provider_id':1}]}",
     "providers[1] ('q'): provider id 1 is already used by 'p'"},
    {LIB THING ",'provider_id':0}]}", "providers[0] ('p'): provider id 0 is used by bedrock"},
    {"{'bedrock':{'provider_id':7},'libraries':[''],'providers':[" THING ",'provider_id':7}]}",
     "providers[0] ('p'): provider id 7 is used by bedrock"},
    {LIB THING ",'tags':[1]}]}", "providers[0].tags[0]: expected a string, got integer"},
    {LIB THING ",'tags':'a'}]}", "providers[0].tags: expected an array, got string"},
    {LIB THING ",'engine':3}]}", "providers[0].engine: 3, but there is 1 engine"},
    {LIB THING ",'engine':-1}]}", "providers[0].engine: -1 is not in 0.."},
    {LIB THING ",'confg':{}}]}", "providers[0]: unknown field 'confg' (fields: name, type, provider_id, config, tags, "
                                 "dependencies, engine; did you mean 'config'?)"},
    /* configuration of a provider */
    {LIB THING ",'config':{'size':0}}]}", "providers[0].config.size: 0 is not in 1..100"},
    {LIB THING ",'config':{'siez':1}}]}", "providers[0].config: unknown field 'siez' (fields: size, color, fail; did "
                                          "you mean 'size'?)"},
    {LIB THING ",'config':{'color':'gren'}}]}", "providers[0].config.color: unknown value 'gren' (allowed: red, green; "
                                                "did you mean 'green'?)"},
    {LIB "{'name':'s','type':'store','config':{'size':13}}]}", "providers[0] ('s'): config.size: 13 brings bad luck"},
    /* dependencies */
    {LIB THING ",'dependencies':{'pool':true}}]}",
     "providers[0].dependencies.pool: expected a string, an integer or an array of these, got boolean"},
    {LIB THING ",'dependencies':[]}]}", "providers[0].dependencies: expected an object, got array"},
    {LIB "{'name':'s','type':'store'}]}", "providers[0] ('s'): missing dependency 'pool' (type pool)"},
    {LIB "{'name':'s','type':'store','dependencies':{'pool':[]}}]}",
     "providers[0] ('s'): missing dependency 'pool' (type pool)"},
    {LIB "{'name':'s','type':'store','dependencies':{'pool':['a','b']}}]}",
     "providers[0].dependencies.pool: expected one reference, got an array of 2"},
    {LIB THING ",'dependencies':{'pool':-1}}]}", "providers[0].dependencies.pool: no pool at index -1"},
    {LIB THING ",'dependencies':{'friend':'x'}}]}",
     "providers[0].dependencies.friend: no provider named 'x' (providers: none)"},
    {LIB "{'name':'alpha','type':'thing'}," THING ",'dependencies':{'friend':'alhpa'}}]}",
     "providers[1].dependencies.friend: no provider named 'alhpa' (providers: alpha; did you mean 'alpha'?)"},
    {LIB THING ",'dependencies':{'friend':3}}]}",
     "providers[0].dependencies.friend: expected the name of a provider of type thing, got integer"},
    {LIB THING ",'dependencies':{'friend':'a b'}}]}", "providers[0].dependencies.friend: ill-formed reference 'a b'"},
    {LIB "{'name':'s','type':'store','dependencies':{'pool':0}}," THING ",'dependencies':{'friend':'s'}}]}",
     "providers[1].dependencies.friend: 's' has type store, expected thing"},
    {LIB THING ",'dependencies':{'friend':'store:1'}}]}",
     "providers[0].dependencies.friend: 'store:1' has type store, expected thing"},
    {LIB THING ",'dependencies':{'friend':'thing:9'}}]}",
     "providers[0].dependencies.friend: no provider named 'thing:9'"},
    {LIB THING ",'dependencies':{'friend':'p'}}]}",
     "providers[0].dependencies.friend: cyclic dependency: 'p' depends on 'p', which depends on it"},
    {LIB THING ",'dependencies':{'friend':'q'}},{'name':'q','type':'thing','dependencies':{'friends':['r']}},"
               "{'name':'r','type':'thing','dependencies':{'friend':'p'}}]}",
     "providers[0].dependencies.friend: cyclic dependency: 'p' depends on 'q', which depends on it"},
    {LIB THING ",'dependencies':{'friend':'q'}},{'name':'q','type':'thing'}]}",
     "providers[0].dependencies.friend: 'q' is created later (providers[1]): put it before this provider"},
    {LIB THING ",'dependencies':{'friend':'x@local'}}]}", "dependencies.friend: no provider named 'x@local'"},
    {LIB THING ",'dependencies':{'friend':'x@1'}}]}",
     "there is no rank 1, this process was not started by an MPI launcher"},
    {LIB THING ",'dependencies':{'engine':1}}]}", "providers[0].dependencies.engine: no engine '1' (engines: 0 to 0)"},
    {LIB THING ",'dependencies':{'engine':'one'}}]}", "providers[0].dependencies.engine: no engine 'one'"},
    /* bedrock */
    {"{'bedrock':3}", "bedrock: expected an object, got integer"},
    {"{'bedrock':{'pool':0}}", "bedrock.pool: expected a string, got integer"},
    {"{'bedrock':{'provider_id':'x'}}", "bedrock.provider_id: expected an integer, got string"},
    {"{'bedrock':{'provider_id':65535}}", "bedrock.provider_id: 65535 is not in 0..65534"},
    {"{'bedrock':{'dependency_resolution_timeout':-1}}", "bedrock.dependency_resolution_timeout: -1 is not in"},
    {"{'bedrock':{'pol':'x'}}", "bedrock: unknown field 'pol' (fields: pool, provider_id, "
                                "dependency_resolution_timeout, name; did you mean 'pool'?)"},
    /* margo, as far as Bedrock looks into it */
    {"{'margo':'text'}", "margo: expected an object, got string"},
    {"{'margo':[]}", "margo: an empty array; expected at least one engine"},
    {"{'margo':[{},3]}", "margo[1]: expected an object, got integer"},
    /* conditions */
    {"{'providers':[{'__if__':3}]}", "providers[0].__if__: expected a boolean or a string, got integer"},
    {"{'providers':[{'__if__':'1 +'}]}", "providers[0].__if__: column 4: the expression ends too early"},
    {"{'margo':{'mercury':{'__if__':'foo(1)'}}}", "margo.mercury.__if__: column 1: unknown function 'foo'"},
    {"{'__if__':'print 3;'}", "__if__: column 1: unknown word; only expressions are supported here"},
    /* document */
    {"{bad", "line 1, column 2: invalid JSON"},
    {"{} {}", "something follows the document"},
    {"5", "configuration: expected an object or an array of objects, got integer"},
    {"'x'", "configuration: expected an object or an array of objects, got string"},
    {"[{},{}]", "ambiguous configuration: 2 configurations are left for 1 process"},
    {"[]", "ambiguous configuration: 0 configurations are left"},
    {"{'a..b':1}", "key 'a..b': empty name beside a dot"},
    {"{'a.':1}", "key 'a.': empty name beside a dot"},
    {"{'':1}", "key '': empty name"},
    {"{'librares':[]}", "unknown field 'librares' (fields: margo, libraries, providers, bedrock; did you mean "
                        "'libraries'?)"},
};

/* ' to ", so that the tables above can be read. */
static char *quoted(const char *text)
{
    char *copy = strdup(text);
    for (char *c = copy; *c; c++) {
        if (*c == '\'')
            *c = '"';
    }
    return copy;
}

static void mistakes_are_named(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof catalogue / sizeof *catalogue; i++) {
        char *text = quoted(catalogue[i].text), *message = quoted(catalogue[i].message);
        struct dango_error err = {0};
        if (check(text, &alone, &err) == 0)
            fail_msg("%s: expected \"%s\", but it was accepted", text, message);
        if (!strstr(err.text, message))
            fail_msg("%s:\nexpected %s\ngot      %s", text, message, err.text);
        free(text);
        free(message);
    }
}

static const char *const good[] = {
    "",
    " \n null\n",
    "{}",
    "[{}]",
    "{'libraries':null,'providers':null,'bedrock':{},'margo':null}",
    "{'libraries':['','']}",
    LIB THING THING_END,
    LIB THING ",'provider_id':65535,'tags':['a'],'config':{'size':2,'color':null}}]}",
    LIB THING ",'pool':'old form','dependencies':{'nonsense':'x'}}]}",
    LIB THING "},{'name':'q','type':'thing','dependencies':{'friend':'p','friends':['thing:1','p@local']}}]}",
    LIB THING ",'dependencies':{'friend':'db@na+sm://12-0','pool':'any','xstream':2,'engine':'0'}}]}",
    LIB "{'__if__':false,'name':true},{'__if__':'$MPI_COMM_WORLD.rank == 0','name':'p','type':'thing'}]}",
    "{'libraries':[''],'bedrock.pool':'x','providers':[]}",
    "{'abt_io':[],'ssg':[]}",
    "[{'__if__':false,'libraries':3},{'libraries':['']}]",
};

static void valid_ones_are_accepted(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        char *text = quoted(good[i]);
        struct dango_error err = {0};
        if (check(text, &alone, &err) != 0)
            fail_msg("%s: %s", text, err.text);
        free(text);
    }
}

static void ids_are_chosen_in_order(void **state)
{
    (void)state;
    struct dango_error err = {0};
    struct bdk_config config;
    char *text = quoted("{'bedrock':{'provider_id':1},'providers':[{'name':'a','type':'thing'},"
                        "{'name':'b','type':'thing','provider_id':2},{'name':'c','type':'thing'}]}");
    struct json_object *document = bdk_document_parse(text, strlen(text), &alone, NULL, &err);
    struct bdk_registry *registry = bdk_registry_create();
    assert_int_equal(bdk_registry_load(registry, "", &err), 0);
    assert_int_equal(bdk_config_parse(&config, document, &err), 0);
    assert_int_equal(bdk_config_check(&config, registry, &err), 0);
    assert_int_equal(config.providers[0].provider_id, 0);
    assert_int_equal(config.providers[1].provider_id, 2);
    assert_int_equal(config.providers[2].provider_id, 3);
    bdk_config_release(&config);
    bdk_registry_destroy(registry);
    json_object_put(document);
    free(text);
}

static void a_launcher_selects_by_rank(void **state)
{
    (void)state;
    const struct dango_world second = {.launched = true, .rank = 1, .size = 2};
    struct dango_error err = {0};
    char *text = quoted("[{'libraries':['zero']},{'libraries':['one']}]");
    struct json_object *document = bdk_document_parse(text, strlen(text), &second, NULL, &err);
    assert_non_null(document);
    assert_string_equal(json_object_to_json_string_ext(document, JSON_C_TO_STRING_PLAIN), "{\"libraries\":[\"one\"]}");
    json_object_put(document);
    free(text);
}

static void the_document_is_rewritten(void **state)
{
    (void)state;
    static const struct wrong cases[] = {
        {"{'a.b':1,'a':{'c':2}}", "{'a':{'c':2,'b':1}}"},
        {"{'a.b.c':1,'a.b':2}", "{'a':{'b':{'c':1}}}"},
        {"{'a':3,'a.b':1}", "{'a':{'b':1}}"},
        {"{'x':[{'a.b':1}]}", "{'x':[{'a.b':1}]}"},
        {"{'x':{},'y':{'__if__':false}}", "{'x':{}}"},
        {"{'x':[{'__if__':true,'a':1},{'__if__':'1 > 2'},null,4]}", "{'x':[{'a':1},4]}"},
        {"{'__if__':false,'x':1}", "{}"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *text = quoted(cases[i].text), *expected = quoted(cases[i].message);
        struct dango_error err = {0};
        struct json_object *document = bdk_document_parse(text, strlen(text), &alone, NULL, &err);
        assert_non_null(document);
        struct json_object *wanted = dango_json_parse(expected, strlen(expected), &err);
        if (!json_object_equal(document, wanted))
            fail_msg("%s gave %s instead of %s", text, json_object_to_json_string(document), expected);
        json_object_put(wanted);
        json_object_put(document);
        free(text);
        free(expected);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mistakes_are_named),        cmocka_unit_test(valid_ones_are_accepted),
        cmocka_unit_test(ids_are_chosen_in_order),   cmocka_unit_test(a_launcher_selects_by_rank),
        cmocka_unit_test(the_document_is_rewritten),
    };
    dango_log_set_level(DANGO_LOG_OFF);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
