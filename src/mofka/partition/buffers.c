/*
 * Receive buffers in classes of sizes; see buffers.h.
 */
#include "mofka/partition/buffers.h"

#include "mofka/partition/frame.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>

#define NO_CLASS SIZE_MAX
/* Buffers that a class keeps although nobody uses them, if it was not told to have more; and as many more as have together
 * been used up to so many bytes: each page of a new one has to be made and cleared, which costs more than filling it. */
#define KEPT       8
#define KEPT_BYTES ((size_t)64 << 20)

struct class
{
    size_t size;
    size_t keep;
    size_t free_count;
    size_t free_used; /* bytes of them that were ever used */
    struct mofka_buffer *free;
};

struct mofka_buffers {
    const struct mofka_registrar *registrar;
    pthread_mutex_t lock; /* guards the free lists */
    size_t class_count;
    struct class classes[]; /* ascending */
};

static struct mofka_buffer *buffer_create(const struct mofka_buffers *buffers, size_t size, size_t class_index,
                                          struct dango_error *err)
{
    struct mofka_buffer *buffer = calloc(1, sizeof *buffer);
    if (!buffer) {
        dango_error_set(err, DANGO_ERR_NO_MEMORY, "out of memory");
        return NULL;
    }
    buffer->size = size;
    buffer->class_index = class_index;
    if (mofka_region_map(&buffer->region, size, false, buffers->registrar, err) == 0)
        return buffer;
    free(buffer);
    return NULL;
}

static void buffer_destroy(const struct mofka_buffers *buffers, struct mofka_buffer *buffer)
{
    mofka_region_unmap(&buffer->region, buffer->size, buffers->registrar);
    free(buffer);
}

static int compare_classes(const void *a, const void *b)
{
    const struct class *x = a, *y = b;
    return (x->size > y->size) - (x->size < y->size);
}

/* The classes of one pool. Sizes are of what users think of: the content; the header comes on top. */
static void add_classes(struct mofka_buffers *buffers, const struct mofka_pool_options *pool)
{
    double size = (double)pool->first_size;
    for (int64_t i = 0; i < pool->num_tiers && size <= (double)MOFKA_CONTENT_MAX; i++) {
        buffers->classes[buffers->class_count++] = (struct class){
            .size = (size_t)mofka_frame_extent((uint64_t)size, 0),
            .keep = (size_t)pool->num_buffers > KEPT ? (size_t)pool->num_buffers : KEPT,
            .free_count = (size_t)pool->num_buffers, /* how many are wanted; fill makes them */
        };
        size *= pool->size_multiple;
    }
}

static int fill(struct mofka_buffers *buffers, struct dango_error *err)
{
    for (size_t i = 0; i < buffers->class_count; i++) {
        size_t wanted = buffers->classes[i].free_count;
        buffers->classes[i].free_count = 0;
        for (size_t n = 0; n < wanted; n++) {
            struct mofka_buffer *buffer = buffer_create(buffers, buffers->classes[i].size, i, err);
            if (!buffer)
                return err ? err->code : DANGO_ERR_NO_MEMORY;
            mofka_buffers_put(buffers, buffer);
        }
    }
    return 0;
}

int mofka_buffers_create(const struct mofka_pool_options *const *pools, size_t pool_count,
                         const struct mofka_registrar *registrar, struct mofka_buffers **buffers,
                         struct dango_error *err)
{
    size_t tiers = 0;
    for (size_t i = 0; i < pool_count; i++)
        tiers += (size_t)pools[i]->num_tiers;
    struct mofka_buffers *new = calloc(1, sizeof *new + tiers * sizeof *new->classes);
    if (!new)
        return dango_error_set(err, DANGO_ERR_NO_MEMORY, "out of memory");
    new->registrar = registrar;
    pthread_mutex_init(&new->lock, NULL);
    for (size_t i = 0; i < pool_count; i++)
        add_classes(new, pools[i]);
    qsort(new->classes, new->class_count, sizeof *new->classes, compare_classes);
    int code = fill(new, err);
    if (code != 0) {
        mofka_buffers_destroy(new);
        return code;
    }
    *buffers = new;
    return 0;
}

void mofka_buffers_destroy(struct mofka_buffers *buffers)
{
    if (!buffers)
        return;
    for (size_t i = 0; i < buffers->class_count; i++) {
        for (struct mofka_buffer *buffer = buffers->classes[i].free, *next; buffer; buffer = next) {
            next = buffer->next;
            buffer_destroy(buffers, buffer);
        }
    }
    pthread_mutex_destroy(&buffers->lock);
    free(buffers);
}

static struct mofka_buffer *take_free(struct mofka_buffers *buffers, struct class *class)
{
    pthread_mutex_lock(&buffers->lock);
    struct mofka_buffer *buffer = class->free;
    if (buffer) {
        class->free = buffer->next;
        class->free_count--;
        class->free_used -= buffer->used;
    }
    pthread_mutex_unlock(&buffers->lock);
    return buffer;
}

struct mofka_buffer *mofka_buffers_get(struct mofka_buffers *buffers, size_t size, struct dango_error *err)
{
    size_t i = 0;
    while (i < buffers->class_count && buffers->classes[i].size < size)
        i++;
    if (i == buffers->class_count)
        return buffer_create(buffers, size, NO_CLASS, err);
    struct mofka_buffer *buffer = take_free(buffers, &buffers->classes[i]);
    if (!buffer)
        buffer = buffer_create(buffers, buffers->classes[i].size, i, err);
    if (buffer && buffer->used < size)
        buffer->used = size;
    return buffer;
}

void mofka_buffers_put(struct mofka_buffers *buffers, struct mofka_buffer *buffer)
{
    if (buffer->class_index != NO_CLASS) {
        struct class *class = &buffers->classes[buffer->class_index];
        pthread_mutex_lock(&buffers->lock);
        bool keep = class->free_count < class->keep || class->free_used + buffer->used <= KEPT_BYTES;
        if (keep) {
            buffer->next = class->free;
            class->free = buffer;
            class->free_count++;
            class->free_used += buffer->used;
        }
        pthread_mutex_unlock(&buffers->lock);
        if (keep)
            return;
    }
    buffer_destroy(buffers, buffer);
}
