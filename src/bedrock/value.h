/*
 * Operations on the values of expressions: truth, loose comparison, arithmetic, text (see expression.h).
 *
 * Values are borrowed, results are new references; NULL is null. Pure functions.
 */
#ifndef DANGO_BEDROCK_VALUE_H
#define DANGO_BEDROCK_VALUE_H

#include <stdbool.h>
#include <stddef.h>

struct json_object;

/* false: null, false, 0, "", "false", strings of zeros only, empty containers. */
bool bdk_value_truth(struct json_object *value);

bool bdk_value_equal(struct json_object *a, struct json_object *b);
/* The same, and the types agree. */
bool bdk_value_identical(struct json_object *a, struct json_object *b);

/* -1, 0, 1; 2 when the two cannot be ordered (containers, a number and a word). */
int bdk_value_compare(struct json_object *a, struct json_object *b);

/* `operator` is one of + - * / %. Division by zero gives null; integers that overflow become doubles. */
struct json_object *bdk_value_arithmetic(char operator, struct json_object * a, struct json_object *b);

/* Both as text, one after the other. */
struct json_object *bdk_value_concatenate(struct json_object *a, struct json_object *b);

/* A text that is a number from its first to its last character. */
bool bdk_value_is_numeric(struct json_object *value);

/* Element or member; NULL for whatever does not exist. Borrowed. */
struct json_object *bdk_value_index(struct json_object *container, struct json_object *index);

#endif
