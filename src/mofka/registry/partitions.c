/*
 * The documents of partitions; see registry.h.
 *
 * They are visited in batches, so that neither side holds the documents of a large topic at once. A visitor may update the
 * document that it is shown: the iteration goes on behind it.
 */
#include "mofka/registry/internal.h"
#include "util/json.h"

#include <yokan/collection.h>

#include <assert.h>

#define BATCH 32

struct visit {
    const char *topic;
    int (*function)(void *arg, const struct mofka_partition_record *record, struct dango_error *err);
    void *arg;
    struct dango_error *err;
    int code;
    size_t count; /* in this batch */
    struct {
        yk_id_t id;
        struct json_object *json;
    } batch[BATCH];
};

static yk_return_t take_document(void *arg, size_t index, yk_id_t id, const void *document, size_t size)
{
    struct visit *visit = arg;
    (void)index;
    if (size > YOKAN_LAST_VALID_SIZE || visit->count == BATCH)
        return YOKAN_ERR_CORRUPTION;
    struct json_object *json = dango_json_parse(document, size, NULL);
    if (!json)
        return YOKAN_ERR_CORRUPTION;
    visit->batch[visit->count].id = id;
    visit->batch[visit->count++].json = json;
    return YOKAN_SUCCESS;
}

/* The visitor is called when no request is under way: it may make some of its own. */
static void visit_batch(struct visit *visit)
{
    for (size_t i = 0; i < visit->count; i++) {
        const struct mofka_partition_record record = {visit->topic, visit->batch[i].id, visit->batch[i].json};
        if (visit->code == 0)
            visit->code = visit->function(visit->arg, &record, visit->err);
        json_object_put(visit->batch[i].json);
    }
}

int dango_mofka_registry_partitions(struct mofka_registry *registry, const char *topic,
                                    int (*function)(void *arg, const struct mofka_partition_record *record,
                                                    struct dango_error *err),
                                    void *arg, struct dango_error *err)
{
    char key[MOFKA_KEY_SIZE];
    struct visit visit = {.topic = topic, .function = function, .arg = arg, .err = err};
    yk_id_t next = 0;
    mofka_registry_key(key, topic, "partitions");
    do {
        visit.count = 0;
        yk_return_t ret = yk_doc_iter(registry->database, key, YOKAN_MODE_INCLUSIVE, next, NULL, 0, BATCH,
                                      take_document, &visit, NULL);
        if (ret == YOKAN_ERR_KEY_NOT_FOUND)
            visit.code = dango_mofka_registry_no_topic(registry, topic, err);
        else if (ret != YOKAN_SUCCESS)
            visit.code = mofka_registry_error(registry, ret, err);
        if (visit.count > 0)
            next = visit.batch[visit.count - 1].id + 1;
        visit_batch(&visit);
    } while (visit.code == 0 && visit.count == BATCH);
    return visit.code;
}

int dango_mofka_registry_add_partition(struct mofka_registry *registry, const char *topic,
                                       struct json_object *partition, uint64_t *id, struct dango_error *err)
{
    char key[MOFKA_KEY_SIZE];
    yk_id_t new_id;
    size_t size;
    const char *text = json_object_to_json_string_length(partition, JSON_C_TO_STRING_PLAIN, &size);
    yk_return_t ret = yk_doc_store(registry->database, mofka_registry_key(key, topic, "partitions"), YOKAN_MODE_DEFAULT,
                                   text, size, &new_id);
    if (ret != YOKAN_SUCCESS)
        return mofka_registry_error(registry, ret, err);
    *id = new_id;
    return 0;
}

int dango_mofka_registry_update_partition(struct mofka_registry *registry, const struct mofka_partition_record *record,
                                          struct dango_error *err)
{
    char key[MOFKA_KEY_SIZE];
    size_t size;
    assert(record->json);
    const char *text = json_object_to_json_string_length(record->json, JSON_C_TO_STRING_PLAIN, &size);
    yk_return_t ret = yk_doc_update(registry->database, mofka_registry_key(key, record->topic, "partitions"),
                                    YOKAN_MODE_DEFAULT, record->id, text, size);
    return ret == YOKAN_SUCCESS ? 0 : mofka_registry_error(registry, ret, err);
}
