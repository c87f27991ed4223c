/*
 * The description of one provider, as it stands in "providers" of a configuration or is sent to a running daemon:
 * its shape, checked without knowing anything about its type. Pure data; used by one thread at a time.
 */
#ifndef DANGO_BEDROCK_DESCRIPTION_H
#define DANGO_BEDROCK_DESCRIPTION_H

#include <dango/error.h>
#include <dango/options.h>

#include <stdint.h>

struct json_object;

/* Longest path of a description in its document ("providers[12]"). */
#define BDK_PATH_BYTES 64
/* Longest label: a path and a name. */
#define BDK_LABEL_BYTES 400

struct bdk_description {
    char path[BDK_PATH_BYTES];        /* place in the document */
    char *name;                       /* an identifier */
    char *type;                       /* of the component */
    int64_t provider_id;              /* 0..65535, BEDROCK_PROVIDER_ID_ANY: to be chosen */
    struct json_object *config;       /* an object */
    struct json_object *tags;         /* an array of strings */
    struct json_object *dependencies; /* name → string, integer or array of these */
    int64_t engine;                   /* index into "margo" */
};

/* The fields above, also for the reference page. */
extern const struct dango_option bdk_description_options[];

/* Checks and fills in a zeroed description; on failure it is zeroed again. `path` is its place. */
int bdk_description_parse(struct bdk_description *description, struct json_object *json, const char *path,
                          struct dango_error *err);
void bdk_description_release(struct bdk_description *description);

/* `providers[0] ("p")`, for messages. Returns buffer. */
const char *bdk_description_label(const struct bdk_description *description, char buffer[BDK_LABEL_BYTES]);

#endif
