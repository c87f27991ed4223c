/*
 * SWIM messages on the wire: fields in the order below, then the events, then the values. Decoded messages have what the
 * machine relies on: a sender, addresses and keys that are there, known types. Counts are compared with the protocol's limits
 * and with the bytes that remain before anything is allocated.
 */
#include "flock/backends/swim/wire.h"

#include "flock/backends/swim/machine.h"

#include <assert.h>
#include <string.h>

/* Least bytes of an item on the wire. */
#define EVENT_BYTES_MIN 12
#define VALUE_BYTES_MIN 18

/* Addresses are kept, and go to everybody. */
static bool is_address(const char *text)
{
    return text && *text && strlen(text) <= SWIM_ADDRESS_BYTES_MAX;
}

static hg_return_t proc_event(hg_proc_t proc, struct flk_swim_event *event)
{
    hg_return_t ret = hg_proc_uint8_t(proc, &event->type);
    if (ret == HG_SUCCESS)
        ret = hg_proc_uint16_t(proc, &event->id);
    if (ret == HG_SUCCESS)
        ret = hg_proc_uint64_t(proc, &event->incarnation);
    if (ret == HG_SUCCESS && event->type == SWIM_SUSPECT)
        ret = hg_proc_uint64_t(proc, &event->accuser);
    if (ret == HG_SUCCESS && event->type == SWIM_MOVE)
        ret = hg_proc_hg_string_t(proc, &event->former);
    return ret == HG_SUCCESS ? hg_proc_hg_string_t(proc, &event->address) : ret;
}

static hg_return_t proc_value(hg_proc_t proc, struct flk_swim_value *value)
{
    hg_return_t ret = hg_proc_uint64_t(proc, &value->counter);
    if (ret == HG_SUCCESS)
        ret = hg_proc_uint64_t(proc, &value->writer);
    if (ret == HG_SUCCESS)
        ret = hg_proc_hg_string_t(proc, &value->key);
    return ret == HG_SUCCESS ? hg_proc_hg_string_t(proc, &value->value) : ret;
}

static bool counts_are_possible(hg_proc_t proc, const flk_swim_message_t *message, uint64_t events, uint64_t values)
{
    bool whole = message->type == SWIM_SYNC || message->type == SWIM_STATE;
    hg_size_t left = hg_proc_get_size_left(proc);
    return events <= (whole ? SWIM_MEMBERS_MAX : SWIM_EVENTS_MAX) && events <= left / EVENT_BYTES_MIN &&
           values <= (whole ? SWIM_METADATA_MAX : SWIM_VALUES_MAX) && values <= left / VALUE_BYTES_MIN;
}

/* The counts of the message go up with what has been decoded, so that it can be cleared at any time. */
static hg_return_t decode_lists(hg_proc_t proc, flk_swim_message_t *message, uint64_t events, uint64_t values)
{
    hg_return_t ret = HG_SUCCESS;
    message->events = calloc(events + 1, sizeof *message->events);
    message->values = calloc(values + 1, sizeof *message->values);
    if (!message->events || !message->values)
        return HG_NOMEM;
    for (uint64_t i = 0; i < events && ret == HG_SUCCESS; i++) {
        struct flk_swim_event *event = &message->events[message->event_count++];
        ret = proc_event(proc, event);
        if (ret == HG_SUCCESS && (!is_address(event->address) || event->type >= SWIM_EVENT_TYPES ||
                                  (event->type == SWIM_MOVE && !is_address(event->former))))
            ret = HG_PROTOCOL_ERROR;
    }
    for (uint64_t i = 0; i < values && ret == HG_SUCCESS; i++) {
        struct flk_swim_value *value = &message->values[message->value_count++];
        ret = proc_value(proc, value);
        if (ret == HG_SUCCESS && !value->key)
            ret = HG_PROTOCOL_ERROR;
    }
    return ret;
}

static hg_return_t proc_header(hg_proc_t proc, flk_swim_message_t *message)
{
    hg_return_t ret = hg_proc_uint8_t(proc, &message->type);
    if (ret == HG_SUCCESS)
        ret = hg_proc_hg_string_t(proc, &message->from);
    if (ret == HG_SUCCESS)
        ret = hg_proc_uint16_t(proc, &message->from_id);
    if (ret == HG_SUCCESS)
        ret = hg_proc_hg_string_t(proc, &message->target);
    if (ret == HG_SUCCESS)
        ret = hg_proc_uint16_t(proc, &message->target_id);
    if (ret == HG_SUCCESS)
        ret = hg_proc_uint64_t(proc, &message->incarnation);
    if (ret == HG_SUCCESS)
        ret = hg_proc_uint64_t(proc, &message->sequence);
    if (ret == HG_SUCCESS)
        ret = hg_proc_uint64_t(proc, &message->digest);
    return ret == HG_SUCCESS ? hg_proc_uint64_t(proc, &message->changes) : ret;
}

static hg_return_t encode(hg_proc_t proc, flk_swim_message_t *message)
{
    hg_return_t ret = proc_header(proc, message);
    if (ret == HG_SUCCESS)
        ret = hg_proc_uint64_t(proc, &message->event_count);
    if (ret == HG_SUCCESS)
        ret = hg_proc_uint64_t(proc, &message->value_count);
    for (uint64_t i = 0; i < message->event_count && ret == HG_SUCCESS; i++)
        ret = proc_event(proc, &message->events[i]);
    for (uint64_t i = 0; i < message->value_count && ret == HG_SUCCESS; i++)
        ret = proc_value(proc, &message->values[i]);
    return ret;
}

static hg_return_t decode(hg_proc_t proc, flk_swim_message_t *message)
{
    uint64_t events = 0, values = 0;
    hg_return_t ret = proc_header(proc, message);
    if (ret == HG_SUCCESS)
        ret = hg_proc_uint64_t(proc, &events);
    if (ret == HG_SUCCESS)
        ret = hg_proc_uint64_t(proc, &values);
    if (ret == HG_SUCCESS && (!is_address(message->from) || message->type >= SWIM_MESSAGE_TYPES ||
                              !counts_are_possible(proc, message, events, values)))
        ret = HG_PROTOCOL_ERROR;
    return ret == HG_SUCCESS ? decode_lists(proc, message, events, values) : ret;
}

hg_return_t hg_proc_flk_swim_message_t(hg_proc_t proc, void *data)
{
    assert(data);
    flk_swim_message_t *message = data;
    hg_return_t ret = HG_SUCCESS;
    switch (hg_proc_get_op(proc)) {
    case HG_ENCODE:
        return encode(proc, message);
    case HG_DECODE:
        memset(message, 0, sizeof *message);
        ret = decode(proc, message);
        if (ret != HG_SUCCESS)
            flk_swim_message_clear(message);
        return ret;
    default:
        flk_swim_message_clear(message);
        return HG_SUCCESS;
    }
}

hg_return_t hg_proc_flk_swim_answer_t(hg_proc_t proc, void *data)
{
    assert(data);
    flk_swim_answer_t *answer = data;
    hg_return_t ret = hg_proc_uint8_t(proc, &answer->has_reply);
    return ret == HG_SUCCESS && answer->has_reply ? hg_proc_flk_swim_message_t(proc, &answer->reply) : ret;
}
