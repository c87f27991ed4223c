/*
 * Topic objects: the tables of classes, and making objects from descriptions (see objects.h).
 */
#include "diaspora/objects.h"

#include "util/json.h"
#include "util/list.h"
#include "util/suggest.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define CLASSES_MAX 16

/* ---- the default partition selector: what was asked for, or round robin ---------------------------------------- */

struct round_robin {
    atomic_size_t next;
};

static int round_robin_create(struct json_object *description, void **self, struct dango_error *err)
{
    (void)description;
    struct round_robin *selector = malloc(sizeof *selector);
    if (!selector)
        return dango_error_set(err, DANGO_ERR_NO_MEMORY, "partition selector: out of memory");
    atomic_init(&selector->next, 0);
    *self = selector;
    return 0;
}

static int round_robin_select(void *self, size_t partition_count, const char *metadata, size_t metadata_size,
                              size_t requested, size_t *partition, struct dango_error *err)
{
    (void)metadata, (void)metadata_size, (void)err;
    struct round_robin *selector = self;
    assert(partition_count > 0);
    if (requested != DIASPORA_ANY_PARTITION)
        *partition = requested % partition_count;
    else if (partition_count == 1)
        *partition = 0;
    else
        *partition = atomic_fetch_add_explicit(&selector->next, 1, memory_order_relaxed) % partition_count;
    return 0;
}

/* ---- classes -------------------------------------------------------------------------------------------------- */

static const struct dsp_validator_class default_validator = {.head = {.type = "default"}};
static const struct dsp_selector_class default_selector = {
    .head = {.type = "default", .create = round_robin_create, .destroy = free}, .select = round_robin_select};
static const struct dsp_serializer_class default_serializer = {.head = {.type = "default"}};

static const struct dsp_class *const validators[] = {&default_validator.head, NULL};
static const struct dsp_class *const selectors[] = {&default_selector.head, NULL};
static const struct dsp_class *const serializers[] = {&default_serializer.head, NULL};

static int unknown_type(const char *kind, const char *type, const struct dsp_class *const *classes,
                        struct dango_error *err)
{
    const char *names[CLASSES_MAX];
    size_t count = 0;
    for (; classes[count]; count++) {
        assert(count < CLASSES_MAX);
        names[count] = classes[count]->type;
    }
    char list[256];
    return dango_error_set(err, DANGO_ERR_UNSUPPORTED, "%s: type \"%s\" is not built in%s", kind, type,
                           dango_suggest_list("built in", type, names, count, list, sizeof list));
}

/* For classes that have nothing to configure. */
static int only_type(const char *kind, struct json_object *description, struct dango_error *err)
{
    json_object_object_foreach (description, key, value) {
        (void)value;
        if (strcmp(key, "type") != 0)
            return dango_error_set(err, DANGO_ERR_INVALID, "%s: unknown field \"%s\" (fields: type)", kind, key);
    }
    return 0;
}

/* The name in a description: "default" without one; NULL with the error set when it is no description. */
static const char *type_of(const char *kind, struct json_object *description, struct dango_error *err)
{
    struct json_object *type = NULL;
    if (!description)
        return "default";
    if (!json_object_is_type(description, json_type_object)) {
        dango_error_set(err, DANGO_ERR_INVALID, "%s: expected an object, got %s", kind, dango_json_kind(description));
        return NULL;
    }
    if (!json_object_object_get_ex(description, "type", &type))
        return "default";
    if (!json_object_is_type(type, json_type_string)) {
        dango_error_set(err, DANGO_ERR_INVALID, "%s.type: expected a string, got %s", kind, dango_json_kind(type));
        return NULL;
    }
    return json_object_get_string(type);
}

static int create(const char *kind, const struct dsp_class *const *classes, struct json_object *description,
                  const struct dsp_class **class_found, void **self, struct dango_error *err)
{
    const char *type = type_of(kind, description, err);
    if (!type)
        return DANGO_ERR_INVALID;
    size_t i = 0;
    while (classes[i] && strcmp(classes[i]->type, type) != 0)
        i++;
    if (!classes[i])
        return unknown_type(kind, type, classes, err);
    int status = description && !classes[i]->has_fields ? only_type(kind, description, err) : 0;
    if (status == 0 && classes[i]->create)
        status = classes[i]->create(description, self, err);
    if (status == 0)
        *class_found = classes[i];
    return status;
}

static void destroy(const struct dsp_class *class_of, void *self)
{
    if (class_of && class_of->destroy)
        class_of->destroy(self);
}

int dsp_objects_create(struct dsp_objects *objects, struct json_object *validator, struct json_object *selector,
                       struct json_object *serializer, struct dango_error *err)
{
    const struct dsp_class *found = NULL;
    memset(objects, 0, sizeof *objects);
    int status = create("validator", validators, validator, &found, &objects->validator, err);
    if (status != 0)
        goto out;
    objects->validator_class = container_of(found, const struct dsp_validator_class, head);
    status = create("partition_selector", selectors, selector, &found, &objects->selector, err);
    if (status != 0)
        goto out;
    objects->selector_class = container_of(found, const struct dsp_selector_class, head);
    status = create("serializer", serializers, serializer, &found, &objects->serializer, err);
    if (status != 0)
        goto out;
    objects->serializer_class = container_of(found, const struct dsp_serializer_class, head);
out:
    if (status != 0)
        dsp_objects_destroy(objects);
    return status;
}

void dsp_objects_destroy(struct dsp_objects *objects)
{
    destroy(objects->validator_class ? &objects->validator_class->head : NULL, objects->validator);
    destroy(objects->selector_class ? &objects->selector_class->head : NULL, objects->selector);
    destroy(objects->serializer_class ? &objects->serializer_class->head : NULL, objects->serializer);
    memset(objects, 0, sizeof *objects);
}
