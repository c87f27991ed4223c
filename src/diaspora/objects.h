/*
 * The three topic objects: validator, partition selector, serializer. They are described by a JSON object stored with
 * the topic, {"type": NAME, …}, and re-created from it by every client that opens the topic. They run in the client.
 *
 * Each kind has a table of classes in objects.c; a new class is a row there. The functions of a class are called from
 * several threads at a time. What a class leaves NULL costs nothing: the default validator accepts everything without
 * a call, and the default serializer leaves metadata as they are (the records of a batch carry their sizes).
 */
#ifndef DANGO_DIASPORA_OBJECTS_H
#define DANGO_DIASPORA_OBJECTS_H

#include <diaspora/diaspora.h>

struct json_object;

/* What the classes of all kinds have in common; the first member of each. */
struct dsp_class {
    const char *type;
    bool has_fields; /* descriptions may have more fields than "type"; create checks them */
    /* Makes an object from its description (borrowed, may be NULL). NULL: the class has no state. */
    int (*create)(struct json_object *description, void **self, struct dango_error *err);
    void (*destroy)(void *self);
};

struct dsp_validator_class {
    struct dsp_class head;
    /* DANGO_ERR_INVALID with what is wrong when the event is refused. NULL: accepts everything. */
    int (*validate)(void *self, const char *metadata, size_t metadata_size, const diaspora_segment *data,
                    size_t data_segments, struct dango_error *err);
};

struct dsp_selector_class {
    struct dsp_class head;
    /* The partition, below partition_count (which is > 0). `requested` may be DIASPORA_ANY_PARTITION. */
    int (*select)(void *self, size_t partition_count, const char *metadata, size_t metadata_size, size_t requested,
                  size_t *partition, struct dango_error *err);
};

struct dsp_serializer_class {
    struct dsp_class head;
};

/* The objects of one open topic. Zeroed memory is a valid empty value. */
struct dsp_objects {
    const struct dsp_validator_class *validator_class;
    const struct dsp_selector_class *selector_class;
    const struct dsp_serializer_class *serializer_class;
    void *validator, *selector, *serializer;
};

/* Creates the three from their descriptions (NULL: default). On failure nothing is left to release. */
int dsp_objects_create(struct dsp_objects *objects, struct json_object *validator, struct json_object *selector,
                       struct json_object *serializer, struct dango_error *err);
void dsp_objects_destroy(struct dsp_objects *objects);

static inline int dsp_objects_validate(const struct dsp_objects *objects, const char *metadata, size_t metadata_size,
                                       const diaspora_segment *data, size_t data_segments, struct dango_error *err)
{
    if (!objects->validator_class->validate)
        return 0;
    return objects->validator_class->validate(objects->validator, metadata, metadata_size, data, data_segments, err);
}

#endif
