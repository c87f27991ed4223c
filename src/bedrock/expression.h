/*
 * Expressions over JSON values: conditions (`__if__`) and queries.
 *
 *     $MPI_COMM_WORLD.rank == 0        in_array($MPI_COMM_WORLD.rank, [0, 3])
 *     $__config__.margo.mercury.address        count($__config__.providers) > 2 && !false
 *
 * The subset of the script language that stands in an expression: literals, $variables, members, indices,
 * || && == != <> === !== < > <= >= + - .. * / % ! - ?: and the functions listed in expression.c. No statements,
 * no assignment, no access to anything outside the variables given. Values are json-c objects, null is NULL.
 * Comparison is loose as in the original: null == 0, "3" == 3. Pure functions, any thread; nesting is limited.
 */
#ifndef DANGO_BEDROCK_EXPRESSION_H
#define DANGO_BEDROCK_EXPRESSION_H

#include <dango/error.h>

#include <stdbool.h>

struct json_object;

/*
 * The value of `text` with the members of `variables` as $variables. `return EXPR;` is accepted, too. *value receives a
 * new reference (NULL for null). Errors say at which column. What does not exist is null: `missing` (zeroed; may be NULL)
 * receives a text about the first variable, member or element that was looked for in vain, which is probably a slip.
 * Members of null are none: they are looked for where something is optional.
 */
int bdk_expression_evaluate(const char *text, struct json_object *variables, struct json_object **value,
                            struct dango_error *missing, struct dango_error *err);

#endif
