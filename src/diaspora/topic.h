/*
 * Drivers and topics as the rest of the streaming core sees them.
 *
 * Both are counted references: the user's handle is one, and so is everything that still needs them (a consumer of
 * which events are held back, for instance). The back-end is left when the last reference goes.
 */
#ifndef DANGO_DIASPORA_TOPIC_H
#define DANGO_DIASPORA_TOPIC_H

#include "diaspora/driver.h"
#include "diaspora/objects.h"

#include <stdatomic.h>

struct json_object;

struct diaspora_driver {
    const struct diaspora_driver_ops *ops;
    void *handle; /* the driver's own */
    _Atomic uint32_t references;
};

struct diaspora_topic {
    struct diaspora_driver *driver;
    const struct diaspora_driver_ops *ops; /* the driver's, one step closer */
    void *handle;
    char *name;
    struct dsp_objects objects;
    char **partition_infos; /* descriptions as JSON text */
    size_t partition_count;
    _Atomic uint32_t references;
};

/* Option "targets" of producers and consumers, an array of indices: the partition that target `i` names. Without targets,
 * partition i. */
int dsp_target(const struct diaspora_topic *topic, struct json_object *targets, size_t i, size_t *partition,
               struct dango_error *err);

struct diaspora_topic *dsp_topic_retain(struct diaspora_topic *topic);
void dsp_topic_release(struct diaspora_topic *topic);

/* Parses the option text of an *_open call: a JSON object, one reference; NULL, "" and "{}" are an empty one. */
int dsp_options_text(const char *text, const char *what, struct json_object **json, struct dango_error *err);

#endif
