/*
 * Where to start reading, as options say it: "saved", "first", "last", an event id, or a time. Pure function, any thread.
 */
#ifndef DANGO_DIASPORA_START_H
#define DANGO_DIASPORA_START_H

#include "diaspora/driver.h"

/*
 * `json` is a string or an integer; `field` its name for messages. A time is "YYYY-MM-DDThh:mm:ss[.fraction]", local, or
 * UTC with a "Z" at the end; *id is then nanoseconds since 1970. "saved" is taken only if `saved` says so.
 */
int dsp_start_parse(struct json_object *json, const char *field, bool saved, enum diaspora_start *start, uint64_t *id,
                    struct dango_error *err);

#endif
