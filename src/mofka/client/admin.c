/*
 * What operators do to partitions, over the network: see the last members of struct diaspora_driver_ops.
 *
 * A topic knows where its partitions were when it was opened. When nobody is there any more, the master database is asked
 * where the partition is now, and the command is given once more: all of them can be repeated. What was removed by a
 * command whose answer was lost is not there any more, which is what was asked for.
 */
#include "mofka/client/driver.h"

#include <json-c/json.h>

#include <string.h>

/* Asks the server that has the partition; err is not NULL. */
typedef int question(const struct mofka_target *target, const uint8_t uuid[16], void *arg, struct dango_error *err);

static question set_position;

static int ask_elsewhere(struct mofka_topic *topic, const struct mofka_topic_partition *where, question *ask, void *arg,
                         struct dango_error *err)
{
    const struct dango_error first = *err;
    struct mofka_target target;
    if (mofka_resolve(topic->driver, topic->name, where->uuid, &target, err) != 0)
        return dango_error_set(err, first.code, "%s", first.text); /* says more */
    int code = ask(&target, where->uuid, arg, err);
    mofka_target_fini(&target);
    if (code == DANGO_ERR_NOT_FOUND && ask == set_position && ((const struct diaspora_position_change *)arg)->remove)
        code = 0;
    return code;
}

static int ask_partition(struct mofka_topic *topic, size_t partition, question *ask, void *arg, struct dango_error *err)
{
    struct mofka_topic_partition *where;
    struct dango_error mine;
    if (!err)
        err = &mine;
    int code = mofka_topic_partition(topic, partition, &where, err);
    if (code != 0)
        return code;
    code = ask(&where->target, where->uuid, arg, err);
    return mofka_is_absence(code) ? ask_elsewhere(topic, where, ask, arg, err) : code;
}

/* ---- looking ---- */

/* What a page of positions is put into. */
struct inspection {
    struct json_object *positions;
    struct mofka_inspect_answer answer;
    char last[MOFKA_NAME_MAX + 1]; /* name of the page */
};

static void add_position(struct inspection *inspection, const struct mofka_inspect_item *item, const char *name)
{
    struct json_object *position = json_object_new_object();
    json_object_object_add(position, "position", json_object_new_uint64(item->position));
    json_object_object_add(position, "connected", json_object_new_uint64(item->connected));
    json_object_object_add(inspection->positions, name, position);
}

static int take_page(void *arg, const struct mofka_message *message, struct dango_error *err)
{
    struct inspection *inspection = arg;
    struct mofka_inspect_answer *answer = &inspection->answer;
    size_t offset = sizeof *answer;
    int code = dango_mofka_decode_answer(message, answer, sizeof *answer, err);
    if (code == 0 && (answer->flags & MOFKA_STATE_MORE) && answer->count == 0)
        return dango_error_set(err, DANGO_ERR_PROTOCOL, "malformed message: empty page of positions");
    for (uint32_t i = 0; code == 0 && i < answer->count; i++) {
        struct mofka_inspect_item item;
        char name[MOFKA_NAME_MAX + 1];
        code = dango_mofka_decode_inspect_item(message, &offset, &item, name, err);
        if (code == 0 && strcmp(name, inspection->last) <= 0 && *name)
            return dango_error_set(err, DANGO_ERR_PROTOCOL, "malformed message: positions out of order");
        if (code == 0) {
            strcpy(inspection->last, name);
            add_position(inspection, &item, name);
        }
    }
    return code;
}

void mofka_operator_request_init(struct mofka_operator_request *request, const uint8_t uuid[16])
{
    mofka_request_head_init(&request->head, 0);
    memcpy(request->partition, uuid, sizeof request->partition);
}

static int inspect(const struct mofka_target *target, const uint8_t uuid[16], void *arg, struct dango_error *err)
{
    struct inspection *inspection = arg;
    int code;
    json_object_put(inspection->positions); /* of a server that was lost meanwhile */
    *inspection = (struct inspection){.positions = json_object_new_object()};
    do {
        struct mofka_operator_request request;
        size_t length = strlen(inspection->last);
        mofka_operator_request_init(&request, uuid);
        request.head.extra = (uint32_t)length;
        diaspora_segment parts[] = {{&request, sizeof request}, {inspection->last, length}};
        code = mofka_call_take(target, MOFKA_RPC_INSPECT, parts, 2, MOFKA_CALL_MS, take_page, inspection, err);
    } while (code == 0 && (inspection->answer.flags & MOFKA_STATE_MORE));
    return code;
}

int mofka_inspect_users(const struct mofka_target *target, const uint8_t uuid[16], uint64_t *users,
                        struct dango_error *err)
{
    struct mofka_operator_request request;
    struct mofka_inspect_answer answer;
    mofka_operator_request_init(&request, uuid);
    diaspora_segment part = {&request, sizeof request};
    int code = mofka_call(target, MOFKA_RPC_INSPECT, &part, 1, &answer, sizeof answer, err);
    if (code == 0)
        *users = (uint64_t)answer.producers + answer.consumers;
    return code;
}

int mofka_topic_inspect(void *topic, size_t partition, struct json_object **state, struct dango_error *err)
{
    struct inspection inspection = {0};
    int code = ask_partition(topic, partition, inspect, &inspection, err);
    if (code != 0) {
        json_object_put(inspection.positions);
        return code;
    }
    const struct mofka_inspect_answer *answer = &inspection.answer;
    *state = json_object_new_object();
    json_object_object_add(*state, "first", json_object_new_uint64(answer->first_id));
    json_object_object_add(*state, "end", json_object_new_uint64(answer->end));
    json_object_object_add(*state, "complete", json_object_new_boolean((answer->flags & MOFKA_STATE_COMPLETE) != 0));
    json_object_object_add(*state, "producers", json_object_new_uint64(answer->producers));
    json_object_object_add(*state, "consumers", json_object_new_uint64(answer->consumers));
    json_object_object_add(*state, "positions", inspection.positions);
    return 0;
}

/* ---- changing ---- */

static int set_position(const struct mofka_target *target, const uint8_t uuid[16], void *arg, struct dango_error *err)
{
    const struct diaspora_position_change *change = arg;
    struct mofka_set_position_request request = {.start_id = change->start_id};
    struct mofka_answer answer;
    size_t length = strlen(change->consumer_name);
    if (length > MOFKA_NAME_MAX)
        return dango_error_set(err, DANGO_ERR_INVALID, "consumer name of %zu bytes (at most %u)", length,
                               MOFKA_NAME_MAX);
    mofka_request_head_init(&request.head, 0);
    memcpy(request.partition, uuid, sizeof request.partition);
    request.head.flags = (uint16_t)(change->start | (change->force ? MOFKA_POSITION_FORCE : 0) |
                                    (change->remove ? MOFKA_POSITION_REMOVE : 0));
    request.head.extra = (uint32_t)length;
    diaspora_segment parts[] = {{&request, sizeof request}, {(void *)(uintptr_t)change->consumer_name, length}};
    return mofka_call(target, MOFKA_RPC_SET_POSITION, parts, 2, &answer, sizeof answer, err);
}

int mofka_topic_set_position(void *topic, size_t partition, const struct diaspora_position_change *change,
                             struct dango_error *err)
{
    return ask_partition(topic, partition, set_position, (void *)(uintptr_t)change, err);
}

static int complete(const struct mofka_target *target, const uint8_t uuid[16], void *arg, struct dango_error *err)
{
    struct mofka_operator_request request;
    struct mofka_answer answer;
    (void)arg;
    mofka_operator_request_init(&request, uuid);
    diaspora_segment part = {&request, sizeof request};
    return mofka_call(target, MOFKA_RPC_COMPLETE, &part, 1, &answer, sizeof answer, err);
}

int mofka_topic_complete(void *topic, size_t partition, struct dango_error *err)
{
    return ask_partition(topic, partition, complete, NULL, err);
}
