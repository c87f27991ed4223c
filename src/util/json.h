/*
 * JSON helpers over json-c: reading files and texts with errors that give line and column, and naming of types.
 *
 * Objects follow json-c's reference counts: a function that returns a `struct json_object *` gives one reference to the
 * caller unless it says "borrowed". Nothing here blocks except dango_json_read_file (file I/O).
 */
#ifndef DANGO_UTIL_JSON_H
#define DANGO_UTIL_JSON_H

#include <dango/error.h>
#include <json-c/json.h>

#include <stddef.h>

/* Largest document accepted from a file or a peer. */
#define DANGO_JSON_SIZE_MAX (64u << 20)

/* Parses `text` of `length` bytes (one JSON value, only white space after it). NULL on error. `length` 0 is an error.
 */
struct json_object *dango_json_parse(const char *text, size_t length, struct dango_error *err);

/* Parses a file; errors carry the file name. NULL on error. */
struct json_object *dango_json_read_file(const char *path, struct dango_error *err);

/* Writes a document to a file atomically: temporary file in the same directory, fsync, rename. */
int dango_json_write_file(const char *path, struct json_object *json, struct dango_error *err);

/* "object", "string", "integer" …: for messages of the form "expected a string, got integer". */
const char *dango_json_kind(const struct json_object *json);

/* A short form of a value for messages: its JSON text, cut to what fits into `buffer`. Returns buffer. */
const char *dango_json_excerpt(struct json_object *json, char *buffer, size_t size);

/* A field of an object, borrowed; NULL when absent, when `json` is NULL or no object. */
struct json_object *dango_json_get(const struct json_object *json, const char *key);

/* The string in a field, borrowed; NULL when absent or not a string. */
const char *dango_json_get_string(const struct json_object *json, const char *key);

/* A new copy that shares nothing with the original. Aborts on lack of memory. NULL stays NULL. */
struct json_object *dango_json_copy(struct json_object *json);

#endif
