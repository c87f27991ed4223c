/*
 * Completions and futures: what a batch's events share after the batch has left (see producer.h).
 *
 * A future is a pointer into a block of the completion: making one allocates only while blocks grow, and completions are
 * reused with their blocks. Waiting looks at one flag; the completion's gate is opened once, after the flag.
 */
#include "diaspora/producer.h"

#include "util/clock.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define FREE_COMPLETIONS_MAX 64

static struct dango_error no_memory = {DANGO_ERR_NO_MEMORY, "out of memory"};

/* An outcome is final, whatever the driver calls it: who gets TIMEOUT goes on waiting, and so does a pull at AGAIN. */
static int final_code(int code)
{
    if (code == DANGO_ERR_TIMEOUT)
        return DANGO_ERR_DISCONNECTED;
    return code == DANGO_ERR_AGAIN ? DANGO_ERR_PROTOCOL : code;
}

struct dango_error *dsp_error_copy(const struct dango_error *err)
{
    assert(err->code != 0);
    /* Only as much of the text as there is: the rest of the struct is not initialised. */
    size_t length = strlen(err->text);
    struct dango_error *copy = malloc(sizeof *copy);
    if (!copy)
        return &no_memory;
    copy->code = final_code(err->code);
    memcpy(copy->text, err->text, length + 1);
    return copy;
}

void dsp_error_free(struct dango_error *err)
{
    if (err != &no_memory)
        free(err);
}

struct dsp_completion *dsp_completion_create(struct dsp_lane *lane)
{
    struct dsp_completion *completion;
    if (lane->free_completion_count > 0) {
        completion = container_of(list_pop(&lane->free_completions), struct dsp_completion, link);
        lane->free_completion_count--;
    } else {
        completion = calloc(1, sizeof *completion);
        if (!completion)
            return NULL;
        completion->lane = lane;
        list_init(&completion->link);
        dsp_gate_init(&completion->gate);
    }
    assert(completion->future_count == 0 && !completion->error);
    atomic_store_explicit(&completion->references, 1, memory_order_relaxed);
    atomic_store_explicit(&completion->done, false, memory_order_relaxed);
    dsp_producer_retain(lane->producer);
    return completion;
}

void dsp_completion_destroy(struct dsp_completion *completion)
{
    for (size_t i = 0; i < DSP_FUTURE_BLOCKS; i++)
        free(completion->futures[i]);
    dsp_gate_fini(&completion->gate);
    free(completion);
}

struct diaspora_future *dsp_completion_future(struct dsp_completion *completion, uint32_t index)
{
    /* Block b holds FIRST << b futures, those before it (FIRST << b) - FIRST. */
    uint32_t position = completion->future_count + DSP_FUTURE_BLOCK_FIRST;
    unsigned block = (unsigned)(__builtin_clz(DSP_FUTURE_BLOCK_FIRST) - __builtin_clz(position));
    assert(block < DSP_FUTURE_BLOCKS);
    if (!completion->futures[block]) {
        completion->futures[block] = malloc(sizeof(struct diaspora_future) * (DSP_FUTURE_BLOCK_FIRST << block));
        if (!completion->futures[block])
            return NULL;
    }
    struct diaspora_future *future = &completion->futures[block][position - (DSP_FUTURE_BLOCK_FIRST << block)];
    future->completion = completion;
    future->index = index;
    completion->future_count++;
    atomic_fetch_add_explicit(&completion->references, 1, memory_order_relaxed);
    return future;
}

void dsp_completion_take_back(struct dsp_completion *completion)
{
    assert(completion->future_count > 0);
    completion->future_count--;
    uint32_t before = atomic_fetch_sub(&completion->references, 1);
    assert(before > 1);
    (void)before;
}

void dsp_completion_finish(struct dsp_completion *completion, uint64_t first_id, const struct dango_error *err)
{
    assert(!atomic_load(&completion->done));
    completion->first_id = first_id;
    completion->error = err ? dsp_error_copy(err) : NULL;
    atomic_store(&completion->done, true);
    dsp_gate_open(&completion->gate);
    dsp_completion_release(completion);
}

void dsp_completion_release(struct dsp_completion *completion)
{
    uint32_t before = atomic_fetch_sub(&completion->references, 1);
    assert(before > 0);
    if (before > 1)
        return;
    struct dsp_lane *lane = completion->lane;
    dsp_error_free(completion->error);
    completion->error = NULL;
    completion->future_count = 0;
    pthread_mutex_lock(&lane->lock);
    bool keep = lane->free_completion_count < FREE_COMPLETIONS_MAX;
    if (keep) {
        list_prepend(&lane->free_completions, &completion->link);
        lane->free_completion_count++;
    }
    pthread_mutex_unlock(&lane->lock);
    if (!keep)
        dsp_completion_destroy(completion);
    dsp_producer_release(lane->producer);
}

bool diaspora_future_completed(const diaspora_future *future)
{
    assert(future);
    return atomic_load(&future->completion->done);
}

int diaspora_future_wait(diaspora_future *future, int64_t timeout_ms, uint64_t *event_id, diaspora_error *err)
{
    assert(future);
    struct dsp_completion *completion = future->completion;
    /* Taken before the look at `done`, so that the opening in between is not slept through. */
    uint32_t ticket = dsp_gate_ticket(&completion->gate);
    if (!atomic_load(&completion->done)) {
        if (timeout_ms == 0)
            return dango_error_set(err, DANGO_ERR_TIMEOUT, "push: the event is not stored yet");
        dsp_lane_seal_batch_of(completion->lane, completion);
        if (!dsp_gate_wait(&completion->gate, ticket, dango_deadline_ns((double)timeout_ms)))
            return dango_error_set(err, DANGO_ERR_TIMEOUT, "push: the event was not stored within %lld ms",
                                   (long long)timeout_ms);
        assert(atomic_load(&completion->done));
    }
    if (completion->error) {
        dango_error_set(err, completion->error->code, "%s", completion->error->text);
        return completion->error->code;
    }
    if (event_id)
        *event_id = completion->first_id + future->index;
    return 0;
}

void diaspora_future_release(diaspora_future *future)
{
    if (future)
        dsp_completion_release(future->completion);
}
