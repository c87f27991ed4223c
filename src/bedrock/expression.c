/*
 * Recursive descent that computes while it parses: an expression is a line of text that is read once, so there is no
 * tree. Every parse function returns a new reference; after an error the parser stands still (`failed`) and functions
 * return NULL, so that only the top looks at the error. Both sides of && and || are computed: nothing has side effects.
 */
#include "bedrock/expression.h"
#include "bedrock/value.h"
#include "util/json.h"
#include "util/suggest.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define DEPTH_MAX      64 /* nested parentheses, lists and calls */
#define ARGUMENTS_MAX  2
#define NAME_BYTES     64
#define CANDIDATES_MAX 64
#define TEXT_MAX       (64 * 1024)

struct parser {
    const char *text, *at;
    struct json_object *variables;
    struct dango_error *missing; /* of the first thing that does not exist; may be NULL */
    struct dango_error *err;
    bool failed;
    int depth;
};

static struct json_object *parse_expression(struct parser *p);
static struct json_object *parse_unary(struct parser *p);

static struct json_object *fail(struct parser *p, const char *problem, const char *detail)
{
    if (!p->failed)
        dango_error_set(p->err, DANGO_ERR_INVALID, "column %zu: %s%s", (size_t)(p->at - p->text) + 1, problem, detail);
    p->failed = true;
    return NULL;
}

static void skip_space(struct parser *p)
{
    while (isspace((unsigned char)*p->at))
        p->at++;
}

/* Consumes `token` if it comes next. */
static bool accept(struct parser *p, const char *token)
{
    skip_space(p);
    size_t length = strlen(token);
    if (p->failed || strncmp(p->at, token, length) != 0)
        return false;
    p->at += length;
    return true;
}

static void expect(struct parser *p, const char *token)
{
    if (accept(p, token))
        return;
    const char *problem = *p->at ? "expected " : "the expression ends too early, expected ";
    fail(p, problem, token);
}

static bool is_name(char c)
{
    return isalnum((unsigned char)c) || c == '_';
}

/* A name into `name`; false when none starts here. */
static bool parse_name(struct parser *p, char name[NAME_BYTES])
{
    size_t length = 0;
    while (is_name(p->at[length]))
        length++;
    if (length == 0 || isdigit((unsigned char)*p->at) || length >= NAME_BYTES)
        return false;
    memcpy(name, p->at, length);
    name[length] = '\0';
    p->at += length;
    return true;
}

static struct json_object *parse_number(struct parser *p)
{
    size_t length = strspn(p->at, "0123456789");
    bool fraction = p->at[length] == '.' && isdigit((unsigned char)p->at[length + 1]);
    char *end;
    errno = 0;
    struct json_object *number = NULL;
    if (fraction) {
        number = json_object_new_double(strtod(p->at, &end));
    } else {
        number = json_object_new_int64(strtoll(p->at, &end, 10));
        if (errno) {
            json_object_put(number);
            return fail(p, "this integer does not fit 64 bits", "");
        }
    }
    p->at = end;
    return number;
}

/* The character that `\c` stands for; '\0' when it is not known. */
static char escaped(char quote, char c)
{
    if (c == quote || c == '\\')
        return c;
    if (quote == '\'')
        return '\0';
    return c == 'n' ? '\n' : c == 't' ? '\t' : c == 'r' ? '\r' : c == '$' ? '$' : '\0';
}

static struct json_object *parse_string(struct parser *p)
{
    char quote = *p->at++;
    char *buffer = malloc(strlen(p->at) + 1);
    if (!buffer)
        abort();
    size_t length = 0;
    while (*p->at && *p->at != quote) {
        char c = *p->at;
        if (quote == '"' && c == '$') {
            free(buffer);
            return fail(p, "variables inside of \"…\" are not supported; use .. or write \\$", "");
        }
        if (c == '\\' && escaped(quote, p->at[1]))
            c = escaped(quote, *++p->at);
        buffer[length++] = c;
        p->at++;
    }
    struct json_object *string = NULL;
    if (*p->at == quote)
        string = json_object_new_string_len(buffer, (int)length);
    free(buffer);
    if (!string)
        return fail(p, "this string does not end", "");
    p->at++;
    return string;
}

static struct json_object *parse_list(struct parser *p)
{
    struct json_object *list = json_object_new_array();
    if (accept(p, "]"))
        return list;
    do
        json_object_array_add(list, parse_expression(p));
    while (accept(p, ","));
    expect(p, "]");
    return list;
}

static struct json_object *type_test(enum json_type type, struct json_object *value)
{
    return json_object_new_boolean(json_object_is_type(value, type));
}

static size_t count_of(struct json_object *value)
{
    if (json_object_is_type(value, json_type_array))
        return json_object_array_length(value);
    return json_object_is_type(value, json_type_object) ? (size_t)json_object_object_length(value) : value != NULL;
}

static bool contains(struct json_object *container, struct json_object *needle)
{
    if (json_object_is_type(container, json_type_object)) {
        json_object_object_foreach (container, key, value) {
            (void)key;
            if (bdk_value_equal(value, needle))
                return true;
        }
    } else if (json_object_is_type(container, json_type_array)) {
        for (size_t i = 0; i < json_object_array_length(container); i++) {
            if (bdk_value_equal(json_object_array_get_idx(container, i), needle))
                return true;
        }
    }
    return false;
}

enum function {
    IN_ARRAY,
    ARRAY_KEY_EXISTS,
    COUNT,
    SIZEOF,
    EMPTY,
    STRLEN,
    IS_ARRAY,
    IS_OBJECT,
    IS_STRING,
    IS_INT,
    IS_FLOAT,
    IS_BOOL,
    IS_NULL,
    IS_NUMERIC,
    FUNCTION_COUNT
};

static const char *const function_names[FUNCTION_COUNT] = {
    "in_array",  "array_key_exists", "count",  "sizeof",   "empty",   "strlen",  "is_array",
    "is_object", "is_string",        "is_int", "is_float", "is_bool", "is_null", "is_numeric",
};

static struct json_object *apply(enum function function, struct json_object *a, struct json_object *b)
{
    switch (function) {
    case IN_ARRAY:
        return json_object_new_boolean(contains(b, a));
    case ARRAY_KEY_EXISTS:
        return json_object_new_boolean(bdk_value_index(b, a) != NULL);
    case COUNT:
    case SIZEOF:
        return json_object_new_int64((int64_t)count_of(a));
    case EMPTY:
        return json_object_new_boolean(!bdk_value_truth(a));
    case STRLEN:
        return json_object_new_int64(json_object_is_type(a, json_type_string) ? (int64_t)json_object_get_string_len(a)
                                                                              : 0);
    case IS_ARRAY: /* objects count as arrays in this language */
        return json_object_new_boolean(json_object_is_type(a, json_type_array) ||
                                       json_object_is_type(a, json_type_object));
    case IS_OBJECT:
        return type_test(json_type_object, a);
    case IS_STRING:
        return type_test(json_type_string, a);
    case IS_INT:
        return type_test(json_type_int, a);
    case IS_FLOAT:
        return type_test(json_type_double, a);
    case IS_BOOL:
        return type_test(json_type_boolean, a);
    case IS_NULL:
        return json_object_new_boolean(!a);
    case IS_NUMERIC:
        return json_object_new_boolean(bdk_value_is_numeric(a));
    default:
        assert(!"function");
        return NULL;
    }
}

/* What follows "NAME(", where NAME is at `start`. */
static struct json_object *parse_call(struct parser *p, const char *name, const char *start)
{
    size_t function = 0;
    while (function < FUNCTION_COUNT && strcmp(function_names[function], name) != 0)
        function++;
    if (function == FUNCTION_COUNT) {
        char problem[128], list[512];
        snprintf(problem, sizeof problem, "unknown function \"%s\"", name);
        p->at = start;
        return fail(p, problem,
                    dango_suggest_list("functions", name, function_names, FUNCTION_COUNT, list, sizeof list));
    }
    size_t wanted = function <= ARRAY_KEY_EXISTS ? 2 : 1;
    struct json_object *arguments[ARGUMENTS_MAX] = {NULL};
    for (size_t i = 0; i < wanted && !p->failed; i++) {
        if (i > 0)
            expect(p, ",");
        arguments[i] = parse_expression(p);
    }
    expect(p, ")");
    struct json_object *result = p->failed ? NULL : apply((enum function)function, arguments[0], arguments[1]);
    for (size_t i = 0; i < ARGUMENTS_MAX; i++)
        json_object_put(arguments[i]);
    return result;
}

static struct json_object *parse_word(struct parser *p)
{
    char name[NAME_BYTES];
    const char *start = p->at;
    if (!parse_name(p, name))
        return fail(p, *p->at ? "expected a value" : "the expression ends too early, expected a value", "");
    if (accept(p, "("))
        return parse_call(p, name, start);
    if (strcasecmp(name, "true") == 0 || strcasecmp(name, "false") == 0)
        return json_object_new_boolean(tolower((unsigned char)*name) == 't');
    if (strcasecmp(name, "null") == 0)
        return NULL;
    p->at = start;
    return fail(p, "unknown word; only expressions are supported here (variables begin with $): ", name);
}

/* Remembers that `container` has no `what` of that name, if it is so. `length` is that of the text which says it. */
static void note_missing(struct parser *p, const char *what, struct json_object *container, const char *name,
                         size_t length)
{
    if (!p->missing || p->missing->code || !container || json_object_object_get_ex(container, name, NULL))
        return;
    const char *names[CANDIDATES_MAX];
    char label[16], list[512] = "";
    size_t count = 0;
    if (json_object_is_type(container, json_type_object)) {
        json_object_object_foreach (container, key, value) {
            (void)value;
            if (count < CANDIDATES_MAX)
                names[count++] = key;
        }
        snprintf(label, sizeof label, "%ss", what);
        dango_suggest_list(label, name, names, count, list, sizeof list);
    } else {
        snprintf(list, sizeof list, " in this %s", dango_json_kind(container));
    }
    dango_error_set(p->missing, DANGO_ERR_NOT_FOUND, "column %zu: no %s \"%s\"%s",
                    (size_t)(p->at - p->text) + 1 - length, what, name, list);
}

static void note_missing_element(struct parser *p, struct json_object *container, struct json_object *index)
{
    if (json_object_is_type(index, json_type_string)) {
        note_missing(p, "member", container, json_object_get_string(index), 0);
        return;
    }
    if (!p->missing || p->missing->code || !container || bdk_value_index(container, index) || !index)
        return;
    if (json_object_is_type(container, json_type_array) && json_object_is_type(index, json_type_int) &&
        json_object_get_int64(index) >= 0 &&
        (uint64_t)json_object_get_int64(index) < json_object_array_length(container))
        return; /* it is there, and null */
    dango_error_set(p->missing, DANGO_ERR_NOT_FOUND, "column %zu: no element %s among %zu",
                    (size_t)(p->at - p->text) + 1, json_object_to_json_string(index), count_of(container));
}

static struct json_object *parse_primary(struct parser *p)
{
    char name[NAME_BYTES];
    skip_space(p);
    if (accept(p, "(")) {
        struct json_object *value = parse_expression(p);
        expect(p, ")");
        return value;
    }
    if (accept(p, "["))
        return parse_list(p);
    if (*p->at == '\'' || *p->at == '"')
        return parse_string(p);
    if (isdigit((unsigned char)*p->at))
        return parse_number(p);
    if (!accept(p, "$"))
        return parse_word(p);
    if (!parse_name(p, name))
        return fail(p, "expected the name of a variable", "");
    note_missing(p, "variable", p->variables, name, strlen(name));
    return json_object_get(dango_json_get(p->variables, name));
}

/* What follows a value: .member and [index]. Missing members are null, and members of null are. */
static struct json_object *parse_postfix(struct parser *p)
{
    struct json_object *value = parse_primary(p);
    char name[NAME_BYTES];
    while (!p->failed) {
        struct json_object *inner;
        skip_space(p);
        if (p->at[0] == '.' && p->at[1] != '.') {
            p->at++;
            skip_space(p);
            if (!parse_name(p, name)) {
                fail(p, "expected the name of a member", "");
                break;
            }
            note_missing(p, "member", value, name, strlen(name));
            inner = json_object_get(dango_json_get(value, name));
        } else if (accept(p, "[")) {
            struct json_object *index = parse_expression(p);
            expect(p, "]");
            note_missing_element(p, value, index);
            inner = json_object_get(bdk_value_index(value, index));
            json_object_put(index);
        } else {
            break;
        }
        json_object_put(value);
        value = inner;
    }
    return value;
}

static struct json_object *parse_unary(struct parser *p)
{
    skip_space(p);
    char sign = *p->at;
    bool negation = sign == '!' && p->at[1] != '=';
    if (!negation && sign != '-' && sign != '+')
        return parse_postfix(p);
    if (++p->depth > DEPTH_MAX)
        return fail(p, "nested too deeply", "");
    p->at++;
    struct json_object *operand = parse_unary(p), *result;
    p->depth--;
    if (negation)
        result = json_object_new_boolean(!bdk_value_truth(operand));
    else
        result = bdk_value_arithmetic(sign, NULL, operand); /* null counts as 0 */
    json_object_put(operand);
    return result;
}

/* Binary operators, loosest binding first; longer ones stand before their prefixes. */
static const struct {
    const char *token;
    int level;
} operators[] = {
    {"||", 0}, {"&&", 1}, {"===", 2}, {"!==", 2}, {"==", 2}, {"!=", 2}, {"<>", 2}, {"<=", 3}, {">=", 3},
    {"<", 3},  {">", 3},  {"..", 4},  {"+", 4},   {"-", 4},  {"*", 5},  {"/", 5},  {"%", 5},
};
#define LEVELS         6
#define OPERATOR_COUNT (sizeof operators / sizeof *operators)

static struct json_object *combine(const char *token, struct json_object *a, struct json_object *b)
{
    switch (token[0]) {
    case '|':
        return json_object_new_boolean(bdk_value_truth(a) || bdk_value_truth(b));
    case '&':
        return json_object_new_boolean(bdk_value_truth(a) && bdk_value_truth(b));
    case '=':
        return json_object_new_boolean(token[2] ? bdk_value_identical(a, b) : bdk_value_equal(a, b));
    case '!':
        return json_object_new_boolean(token[2] ? !bdk_value_identical(a, b) : !bdk_value_equal(a, b));
    case '<':
        if (token[1] == '>')
            return json_object_new_boolean(!bdk_value_equal(a, b));
        return json_object_new_boolean(bdk_value_compare(a, b) < (token[1] ? 1 : 0));
    case '>': {
        int comparison = bdk_value_compare(a, b);
        return json_object_new_boolean(comparison == 1 || (token[1] && comparison == 0));
    }
    case '.':
        return bdk_value_concatenate(a, b);
    default:
        return bdk_value_arithmetic(token[0], a, b);
    }
}

/* The operator of this level that comes next, consumed; NULL otherwise. */
static const char *accept_operator(struct parser *p, int level)
{
    skip_space(p);
    for (size_t i = 0; i < OPERATOR_COUNT; i++) {
        size_t length = strlen(operators[i].token);
        if (strncmp(p->at, operators[i].token, length) != 0)
            continue;
        if (operators[i].level != level)
            return NULL;
        p->at += length;
        return operators[i].token;
    }
    return NULL;
}

static struct json_object *parse_binary(struct parser *p, int level)
{
    if (level == LEVELS)
        return parse_unary(p);
    struct json_object *left = parse_binary(p, level + 1);
    const char *token;
    while (!p->failed && (token = accept_operator(p, level))) {
        struct json_object *right = parse_binary(p, level + 1);
        struct json_object *result = p->failed ? NULL : combine(token, left, right);
        json_object_put(left);
        json_object_put(right);
        left = result;
    }
    return left;
}

static struct json_object *parse_expression(struct parser *p)
{
    if (p->failed)
        return NULL;
    if (++p->depth > DEPTH_MAX)
        return fail(p, "nested too deeply", "");
    struct json_object *value = parse_binary(p, 0);
    if (accept(p, "?")) {
        struct json_object *yes = parse_expression(p);
        expect(p, ":");
        struct json_object *no = parse_expression(p);
        bool truth = bdk_value_truth(value);
        json_object_put(value);
        json_object_put(truth ? no : yes);
        value = truth ? yes : no;
    }
    p->depth--;
    return value;
}

int bdk_expression_evaluate(const char *text, struct json_object *variables, struct json_object **value,
                            struct dango_error *missing, struct dango_error *err)
{
    assert(text && value && err);
    *value = NULL;
    if (strlen(text) > TEXT_MAX)
        return dango_error_set(err, DANGO_ERR_RANGE, "expression longer than %d bytes", TEXT_MAX);
    struct parser p = {.text = text, .at = text, .variables = variables, .missing = missing, .err = err};
    skip_space(&p);
    bool statement = strncasecmp(p.at, "return", 6) == 0 && !is_name(p.at[6]);
    if (statement)
        p.at += 6;
    *value = parse_expression(&p);
    if (statement)
        accept(&p, ";");
    skip_space(&p);
    if (!p.failed && *p.at == '=')
        fail(&p, "\"=\" would assign, which is not supported here; to compare, write ==", "");
    if (!p.failed && *p.at)
        fail(&p, "expected an operator or the end; only a single expression is supported here", "");
    if (!p.failed)
        return 0;
    json_object_put(*value);
    *value = NULL;
    return err->code;
}
