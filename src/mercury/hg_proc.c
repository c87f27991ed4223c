/*
 * Serialisation streams: a cursor over a payload buffer, for one run of a user's serialiser.
 *
 * Encoding appends to the buffer, which grows; decoding reads with every access checked. The first error sticks.
 * Regions handed out by hg_proc_save_ptr while encoding must not move until they are restored: while one is open,
 * growing copies the contents to a new block and keeps the old one; restoring copies the region over and, with the last
 * one closed, frees the old blocks.
 */
#include "mercury/hg.h"
#include "mercury_proc_bulk.h"
#include "mercury_proc_string.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define SAVES_MAX   8
#define RETIRED_MAX 40 /* doublings of a block */

struct save {
    char *at;      /* what the user has */
    size_t offset; /* where it belongs */
    size_t size;
};

struct hg_proc {
    hg_proc_op_t op;
    hg_return_t ret; /* first error */
    hg_class_t *hg_class;
    struct hgi_buffer *buffer;
    size_t used;  /* position of the cursor */
    size_t limit; /* encode: most bytes; decode: bytes there are */
    unsigned save_count, retired_count;
    struct save saves[SAVES_MAX];
    char *retired[RETIRED_MAX];
};

static hg_return_t fail(hg_proc_t proc, hg_return_t ret)
{
    if (proc->ret == HG_SUCCESS)
        proc->ret = ret;
    return proc->ret;
}

/* ---- running a serialiser ---- */

static void free_retired(hg_proc_t proc)
{
    while (proc->retired_count > 0)
        free(proc->retired[--proc->retired_count]);
}

static void save_finish(hg_proc_t proc, const struct save *save)
{
    assert(save->offset + save->size <= proc->used);
    char *home = proc->buffer->data + save->offset;
    if (home != save->at)
        memcpy(home, save->at, save->size);
}

hg_return_t hgi_encode(hg_class_t *hg_class, hg_proc_cb_t callback, void *data, struct hgi_buffer *buffer)
{
    struct hg_proc proc;
    hg_return_t ret;

    buffer->size = 0;
    if (!callback || !data)
        return HG_SUCCESS;
    proc.op = HG_ENCODE;
    proc.ret = HG_SUCCESS;
    proc.hg_class = hg_class;
    proc.buffer = buffer;
    proc.used = 0;
    proc.limit = atomic_load_explicit(&hg_class->payload_max, memory_order_relaxed);
    proc.save_count = proc.retired_count = 0;
    ret = callback(&proc, data);
    while (proc.save_count > 0)
        save_finish(&proc, &proc.saves[--proc.save_count]);
    free_retired(&proc);
    buffer->size = proc.used;
    return ret == HG_SUCCESS ? proc.ret : ret;
}

hg_return_t hgi_decode(hg_class_t *hg_class, hg_proc_cb_t callback, hg_proc_op_t op, void *data,
                       struct hgi_buffer *buffer)
{
    struct hg_proc proc;
    hg_return_t ret;

    assert(op != HG_ENCODE);
    if (!callback || !data)
        return HG_SUCCESS;
    proc.op = op;
    proc.ret = HG_SUCCESS;
    proc.hg_class = hg_class;
    proc.buffer = buffer;
    proc.used = 0;
    proc.limit = buffer->size;
    proc.save_count = proc.retired_count = 0;
    ret = callback(&proc, data);
    return ret == HG_SUCCESS ? proc.ret : ret;
}

/* Makes room for `size` more bytes. */
static hg_return_t grow(hg_proc_t proc, size_t size)
{
    struct hgi_buffer *buffer = proc->buffer;
    size_t need, capacity = buffer->capacity;
    char *data;

    if (size > proc->limit - proc->used)
        return fail(proc, HG_MSGSIZE);
    need = proc->used + size;
    while (capacity < need)
        capacity = capacity > SIZE_MAX / 2 ? need : 2 * capacity;
    data = malloc(capacity);
    if (!data || (proc->save_count > 0 && proc->retired_count == RETIRED_MAX)) {
        free(data);
        return fail(proc, HG_NOMEM);
    }
    assert(capacity >= need && proc->used <= buffer->capacity);
    memcpy(data, buffer->data, proc->used);
    if (buffer->data != buffer->fixed && proc->save_count > 0)
        proc->retired[proc->retired_count++] = buffer->data;
    else if (buffer->data != buffer->fixed)
        free(buffer->data);
    buffer->data = data;
    buffer->capacity = capacity;
    return HG_SUCCESS;
}

/* ---- the public interface ---- */

hg_proc_op_t hg_proc_get_op(hg_proc_t proc)
{
    return proc->op;
}

hg_class_t *hg_proc_get_class(hg_proc_t proc)
{
    return proc->hg_class;
}

hg_size_t hg_proc_get_size(hg_proc_t proc)
{
    return proc->op == HG_ENCODE ? proc->buffer->capacity : proc->limit;
}

hg_size_t hg_proc_get_size_left(hg_proc_t proc)
{
    return hg_proc_get_size(proc) - proc->used;
}

hg_size_t hg_proc_get_size_used(hg_proc_t proc)
{
    return proc->used;
}

hg_return_t hg_proc_bytes(hg_proc_t proc, void *data, hg_size_t data_size)
{
    if (proc->ret != HG_SUCCESS || data_size == 0)
        return proc->ret;
    switch (proc->op) {
    case HG_ENCODE:
        if (data_size > proc->buffer->capacity - proc->used && grow(proc, data_size) != HG_SUCCESS)
            return proc->ret;
        memcpy(proc->buffer->data + proc->used, data, data_size);
        break;
    case HG_DECODE:
        if (data_size > proc->limit - proc->used)
            return fail(proc, HG_OVERFLOW);
        memcpy(data, proc->buffer->data + proc->used, data_size);
        break;
    default:
        return HG_SUCCESS;
    }
    proc->used += data_size;
    return HG_SUCCESS;
}

void *hg_proc_save_ptr(hg_proc_t proc, hg_size_t data_size)
{
    char *at;

    if (proc->ret != HG_SUCCESS || proc->op == HG_FREE)
        return NULL;
    if (proc->op == HG_DECODE && data_size > proc->limit - proc->used) {
        fail(proc, HG_OVERFLOW);
        return NULL;
    }
    if (proc->op == HG_ENCODE) {
        if (proc->save_count == SAVES_MAX) {
            fail(proc, HG_NOMEM);
            return NULL;
        }
        if (data_size > proc->buffer->capacity - proc->used && grow(proc, data_size) != HG_SUCCESS)
            return NULL;
        proc->saves[proc->save_count++] =
            (struct save){.at = proc->buffer->data + proc->used, .offset = proc->used, .size = data_size};
    }
    at = proc->buffer->data + proc->used;
    proc->used += data_size;
    return at;
}

hg_return_t hg_proc_restore_ptr(hg_proc_t proc, void *data, hg_size_t data_size)
{
    (void)data_size;
    if (proc->op != HG_ENCODE)
        return proc->ret;
    for (unsigned i = proc->save_count; i-- > 0;) {
        if (proc->saves[i].at != data)
            continue;
        save_finish(proc, &proc->saves[i]);
        proc->saves[i] = proc->saves[--proc->save_count];
        break;
    }
    if (proc->save_count == 0)
        free_retired(proc);
    return proc->ret;
}

/* ---- strings ---- */

static hg_return_t string_encode(hg_proc_t proc, const char *string)
{
    uint64_t size = string ? strlen(string) + 1 : 0;

    hg_proc_uint64_t(proc, &size);
    return hg_proc_bytes(proc, (void *)(uintptr_t)string, size);
}

static hg_return_t string_decode(hg_proc_t proc, char **string)
{
    uint64_t size = 0;
    hg_return_t ret = hg_proc_uint64_t(proc, &size);

    *string = NULL;
    if (ret != HG_SUCCESS || size == 0)
        return ret;
    /* A length from the network: checked before it is allocated. */
    if (size > proc->limit - proc->used)
        return fail(proc, HG_OVERFLOW);
    if (proc->buffer->data[proc->used + size - 1] != '\0')
        return fail(proc, HG_PROTOCOL_ERROR);
    *string = malloc(size);
    if (!*string)
        return fail(proc, HG_NOMEM);
    return hg_proc_bytes(proc, *string, size);
}

hg_return_t hg_proc_hg_string_t(hg_proc_t proc, void *data)
{
    char **string = data;

    switch (proc->op) {
    case HG_ENCODE:
        return string_encode(proc, *string);
    case HG_DECODE:
        return string_decode(proc, string);
    default:
        free(*string);
        *string = NULL;
        return HG_SUCCESS;
    }
}

hg_return_t hg_proc_hg_const_string_t(hg_proc_t proc, void *data)
{
    return hg_proc_hg_string_t(proc, data);
}

/* ---- what was decoded before an error ---- */

hg_bool_t hg_proc_undo_begin(hg_proc_t proc)
{
    if (proc->op != HG_DECODE)
        return HG_FALSE;
    proc->op = HG_FREE;
    proc->ret = HG_SUCCESS;
    return HG_TRUE;
}

void hg_proc_undo_end(hg_proc_t proc, hg_return_t error)
{
    assert(proc->op == HG_FREE && error != HG_SUCCESS);
    proc->op = HG_DECODE;
    proc->ret = error;
}

/* ---- bulk handles ---- */

/* Small data that nobody may write to are embedded, if the message then still fits in one piece. */
static unsigned long bulk_flags(hg_proc_t proc, hg_bulk_t bulk)
{
    if (proc->hg_class->no_bulk_eager || bulk->flags != HG_BULK_READ_ONLY || bulk->size > HGI_BULK_EAGER_MAX)
        return 0;
    size_t size = HG_Bulk_get_serialize_size(bulk, HG_BULK_EAGER);
    return proc->used + sizeof(uint64_t) + size <= proc->hg_class->eager_size ? HG_BULK_EAGER : 0;
}

static hg_return_t bulk_encode(hg_proc_t proc, hg_bulk_t bulk)
{
    unsigned long flags = bulk ? bulk_flags(proc, bulk) : 0;
    uint64_t size = bulk ? HG_Bulk_get_serialize_size(bulk, flags) : 0;
    hg_return_t ret = hg_proc_uint64_t(proc, &size);
    void *at;

    if (ret != HG_SUCCESS || size == 0)
        return ret;
    at = hg_proc_save_ptr(proc, size);
    if (!at)
        return proc->ret;
    ret = HG_Bulk_serialize(at, size, flags, bulk);
    hg_proc_restore_ptr(proc, at, size);
    return ret == HG_SUCCESS ? proc->ret : fail(proc, ret);
}

static hg_return_t bulk_decode(hg_proc_t proc, hg_bulk_t *bulk)
{
    uint64_t size = 0;
    hg_return_t ret = hg_proc_uint64_t(proc, &size);
    const void *at;

    *bulk = HG_BULK_NULL;
    if (ret != HG_SUCCESS || size == 0)
        return ret;
    at = hg_proc_save_ptr(proc, size);
    if (!at)
        return proc->ret;
    ret = HG_Bulk_deserialize(proc->hg_class, bulk, at, size);
    return ret == HG_SUCCESS ? HG_SUCCESS : fail(proc, ret);
}

hg_return_t hg_proc_hg_bulk_t(hg_proc_t proc, void *data)
{
    hg_bulk_t *bulk = data;
    hg_return_t ret;

    switch (proc->op) {
    case HG_ENCODE:
        return bulk_encode(proc, *bulk);
    case HG_DECODE:
        return bulk_decode(proc, bulk);
    default:
        ret = HG_Bulk_free(*bulk);
        *bulk = HG_BULK_NULL;
        return ret;
    }
}
