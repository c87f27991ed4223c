/*
 * From the text of a configuration file to the one JSON object that configures this process:
 *
 *     parse → dotted keys become nested objects → conditions (__if__) are evaluated → of an array of configurations
 *     the one of this process is selected
 *
 * No side effects but warnings; errors carry the JSON path. See docs/config for what may stand in the result.
 */
#ifndef DANGO_BEDROCK_DOCUMENT_H
#define DANGO_BEDROCK_DOCUMENT_H

#include "util/world.h"

#include <dango/error.h>

#include <stddef.h>

struct json_object;

/*
 * Empty text and null are an empty configuration. `name` is the one that the server was given when it was started, or NULL:
 * conditions on the rank of a server that has a name but no launcher are warned of. Objects whose "__if__" is false
 * disappear, as do "__if__" members, and null members and elements, which mean "absent" everywhere.
 * A new reference to an object; NULL on error.
 */
struct json_object *bdk_document_parse(const char *text, size_t length, const struct dango_world *world,
                                       const char *name, struct dango_error *err);

#endif
