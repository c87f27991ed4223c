/*
 * Copies of SWIM messages, for those who send or delay them.
 */
#include "flock/backends/swim/swim.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

static bool copy_text(const char *text, char **copy)
{
    *copy = text ? strdup(text) : NULL;
    return !text || *copy;
}

/* The counts go up with what has been copied, so that an incomplete copy can be cleared. */
static bool copy_lists(const flk_swim_message_t *message, flk_swim_message_t *copy)
{
    bool complete = true;
    copy->events = calloc(message->event_count + 1, sizeof *copy->events);
    copy->values = calloc(message->value_count + 1, sizeof *copy->values);
    if (!copy->events || !copy->values)
        return false;
    for (uint64_t i = 0; complete && i < message->event_count; i++) {
        copy->events[i] = message->events[i];
        copy->events[i].former = NULL;
        complete = copy_text(message->events[i].address, &copy->events[i].address) &&
                   copy_text(message->events[i].former, &copy->events[i].former);
        copy->event_count++;
    }
    for (uint64_t i = 0; complete && i < message->value_count; i++) {
        copy->values[i] = message->values[i];
        copy->values[i].value = NULL;
        complete = copy_text(message->values[i].key, &copy->values[i].key) &&
                   copy_text(message->values[i].value, &copy->values[i].value);
        copy->value_count++;
    }
    return complete;
}

bool flk_swim_message_copy(const flk_swim_message_t *message, flk_swim_message_t *copy)
{
    assert(message && copy);
    *copy = *message;
    copy->from = copy->target = NULL;
    copy->events = NULL;
    copy->values = NULL;
    copy->event_count = copy->value_count = 0;
    if (copy_text(message->from, &copy->from) && copy_text(message->target, &copy->target) && copy_lists(message, copy))
        return true;
    flk_swim_message_clear(copy);
    return false;
}

void flk_swim_message_clear(flk_swim_message_t *message)
{
    for (uint64_t i = 0; i < message->event_count; i++) {
        free(message->events[i].address);
        free(message->events[i].former);
    }
    for (uint64_t i = 0; i < message->value_count; i++) {
        free(message->values[i].key);
        free(message->values[i].value);
    }
    free(message->events);
    free(message->values);
    free(message->from);
    free(message->target);
    memset(message, 0, sizeof *message);
}
