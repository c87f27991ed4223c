/*
 * Payload buffers of handles: small ones live inside the handle, larger ones are allocated and, up to a limit, kept.
 */
#include "mercury/hg.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

void hgi_buffer_init(struct hgi_buffer *buffer)
{
    buffer->data = buffer->fixed;
    buffer->capacity = sizeof buffer->fixed;
    buffer->size = 0;
}

void hgi_buffer_fini(struct hgi_buffer *buffer)
{
    if (buffer->data != buffer->fixed)
        free(buffer->data);
    hgi_buffer_init(buffer);
}

void hgi_buffer_reset(struct hgi_buffer *buffer)
{
    if (buffer->capacity > HGI_BUFFER_KEEP)
        hgi_buffer_fini(buffer);
    buffer->size = 0;
}

bool hgi_buffer_reserve(struct hgi_buffer *buffer, size_t size)
{
    char *data;

    assert(buffer->data && buffer->capacity >= sizeof buffer->fixed);
    if (size <= buffer->capacity)
        return true;
    data = malloc(size);
    if (!data)
        return false;
    hgi_buffer_fini(buffer);
    buffer->data = data;
    buffer->capacity = size;
    return true;
}

bool hgi_buffer_move(struct hgi_buffer *to, struct hgi_buffer *from)
{
    assert(to != from && from->size <= from->capacity);
    if (from->data == from->fixed) {
        if (!hgi_buffer_reserve(to, from->size))
            return false;
        memcpy(to->data, from->data, from->size);
        to->size = from->size;
        return true;
    }
    hgi_buffer_fini(to);
    to->data = from->data;
    to->capacity = from->capacity;
    to->size = from->size;
    hgi_buffer_init(from);
    assert(to->size <= to->capacity);
    return true;
}
