/*
 * Loose typing as the original's script language has it, see value.h.
 */
#include "bedrock/value.h"
#include "util/json.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static bool is(struct json_object *value, enum json_type type)
{
    return json_object_is_type(value, type);
}

static bool is_container(struct json_object *value)
{
    return is(value, json_type_array) || is(value, json_type_object);
}

static bool is_number(struct json_object *value)
{
    return is(value, json_type_int) || is(value, json_type_double);
}

bool bdk_value_truth(struct json_object *value)
{
    switch (json_object_get_type(value)) {
    case json_type_boolean:
        return json_object_get_boolean(value);
    case json_type_int:
        return json_object_get_int64(value) != 0;
    case json_type_double:
        return fpclassify(json_object_get_double(value)) != FP_ZERO;
    case json_type_string: {
        const char *text = json_object_get_string(value);
        return strcasecmp(text, "false") != 0 && text[strspn(text, "0")] != '\0';
    }
    case json_type_array:
        return json_object_array_length(value) != 0;
    case json_type_object:
        return json_object_object_length(value) != 0;
    default:
        return false;
    }
}

static bool parse_number(const char *text, double *number)
{
    if (!*text || strspn(text, "+-.0123456789eE") != strlen(text))
        return false;
    char *end;
    *number = strtod(text, &end);
    return !*end;
}

bool bdk_value_is_numeric(struct json_object *value)
{
    double number;
    return is_number(value) || (is(value, json_type_string) && parse_number(json_object_get_string(value), &number));
}

/* null is 0, true is 1, a text that is no number is 0. */
static double to_double(struct json_object *value)
{
    double number = 0;
    if (is(value, json_type_string))
        return parse_number(json_object_get_string(value), &number) ? number : 0;
    if (is(value, json_type_boolean))
        return json_object_get_boolean(value);
    return is_number(value) ? json_object_get_double(value) : 0;
}

static int order(double a, double b)
{
    return a < b ? -1 : a > b;
}

int bdk_value_compare(struct json_object *a, struct json_object *b)
{
    if (is_container(a) || is_container(b))
        return 2;
    if (is(a, json_type_string) && is(b, json_type_string)) {
        int difference = strcmp(json_object_get_string(a), json_object_get_string(b));
        return (difference > 0) - (difference < 0);
    }
    if (is(a, json_type_int) && is(b, json_type_int)) {
        int64_t x = json_object_get_int64(a), y = json_object_get_int64(b);
        return (x > y) - (x < y);
    }
    bool words =
        (is(a, json_type_string) && !bdk_value_is_numeric(a)) || (is(b, json_type_string) && !bdk_value_is_numeric(b));
    return words ? 2 : order(to_double(a), to_double(b));
}

bool bdk_value_equal(struct json_object *a, struct json_object *b)
{
    bool by_truth = !a || !b || is(a, json_type_boolean) || is(b, json_type_boolean);
    if (by_truth)
        return bdk_value_truth(a) == bdk_value_truth(b);
    if (is_container(a) && is_container(b))
        return json_object_equal(a, b);
    return bdk_value_compare(a, b) == 0;
}

bool bdk_value_identical(struct json_object *a, struct json_object *b)
{
    return json_object_get_type(a) == json_object_get_type(b) && bdk_value_equal(a, b);
}

static struct json_object *divide(struct json_object *a, struct json_object *b)
{
    double divisor = to_double(b);
    if (fpclassify(divisor) == FP_ZERO)
        return NULL;
    double quotient = to_double(a) / divisor;
    bool exact = quotient >= -9e15 && quotient <= 9e15 && trunc(quotient) >= quotient && trunc(quotient) <= quotient;
    return exact ? json_object_new_int64((int64_t)quotient) : json_object_new_double(quotient);
}

static bool to_integer(struct json_object *value, int64_t *integer)
{
    double number = to_double(value);
    if (!is(value, json_type_int) && !(number > -9e18 && number < 9e18))
        return false;
    *integer = is(value, json_type_int) ? json_object_get_int64(value) : (int64_t)number;
    return true;
}

static struct json_object *modulo(struct json_object *a, struct json_object *b)
{
    int64_t x, y;
    if (!to_integer(a, &x) || !to_integer(b, &y) || y == 0)
        return NULL;
    return json_object_new_int64(y == -1 ? 0 : x % y);
}

static bool has_fraction(struct json_object *value)
{
    double number = to_double(value);
    return is(value, json_type_double) || trunc(number) < number || trunc(number) > number;
}

struct json_object *bdk_value_arithmetic(char operator, struct json_object * a, struct json_object *b)
{
    assert(strchr("+-*/%", operator));
    if (is_container(a) || is_container(b))
        return NULL;
    if (operator== '/')
        return divide(a, b);
    if (operator== '%')
        return modulo(a, b);
    int64_t x, y, integer;
    if (!has_fraction(a) && !has_fraction(b) && to_integer(a, &x) && to_integer(b, &y)) {
        bool overflow = operator== '+' ? __builtin_add_overflow(x, y, &integer) :
                        operator== '-' ? __builtin_sub_overflow(x, y, &integer)
                                       : __builtin_mul_overflow(x, y, &integer);
        if (!overflow)
            return json_object_new_int64(integer);
    }
    double p = to_double(a), q = to_double(b);
    return json_object_new_double(operator== '+' ? p + q : operator== '-' ? p - q : p * q);
}

/* Text of a value into a fresh string; containers are JSON, doubles have up to 15 digits. */
static char *to_text(struct json_object *value)
{
    char number[32];
    if (!value)
        return strdup("");
    if (is(value, json_type_double)) {
        snprintf(number, sizeof number, "%.15g", json_object_get_double(value));
        return strdup(number);
    }
    return strdup(is(value, json_type_string) ? json_object_get_string(value)
                                              : json_object_to_json_string_ext(value, JSON_C_TO_STRING_PLAIN));
}

struct json_object *bdk_value_concatenate(struct json_object *a, struct json_object *b)
{
    char *head = to_text(a), *tail = to_text(b), *both = NULL;
    if (!head || !tail || asprintf(&both, "%s%s", head, tail) < 0)
        abort();
    struct json_object *text = json_object_new_string(both);
    free(head);
    free(tail);
    free(both);
    return text;
}

struct json_object *bdk_value_index(struct json_object *container, struct json_object *index)
{
    if (is(container, json_type_array)) {
        int64_t i;
        if (!is_number(index) || !to_integer(index, &i) || i < 0)
            return NULL;
        return (size_t)i < json_object_array_length(container) ? json_object_array_get_idx(container, (size_t)i) : NULL;
    }
    return is(index, json_type_string) ? dango_json_get(container, json_object_get_string(index)) : NULL;
}
