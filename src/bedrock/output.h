/*
 * Configurations as clients see them: keys sorted at every level. Pure functions.
 */
#ifndef DANGO_BEDROCK_OUTPUT_H
#define DANGO_BEDROCK_OUTPUT_H

#include <stdbool.h>

struct json_object;

/* A copy with the keys of all objects in sorted order; NULL stays NULL. */
struct json_object *bdk_json_sorted(struct json_object *json);

/* JSON text to be freed by the caller: compact, or indented by 4 spaces a level. */
char *dango_bedrock_json_text(struct json_object *json, bool pretty);

#endif
