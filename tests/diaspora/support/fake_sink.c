/*
 * Batches that producers give to the fake back-end: stored at once, answered later, in any order.
 */
#include "tests/diaspora/support/fake_internal.h"

#include "diaspora/record.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

int fake_sink_open(void *handle, size_t index, const struct diaspora_sink_settings *settings, void **sink,
                   struct dango_error *err)
{
    (void)settings, (void)err;
    struct topic *topic = handle;
    struct sink *s = fake_must(calloc(1, sizeof *s));
    LOCK();
    s->partition = &topic->partitions[index];
    fake.statistics.sinks++;
    UNLOCK();
    *sink = s;
    return 0;
}

static uint64_t store(struct partition *p, const struct diaspora_batch *batch)
{
    if (p->batch_count == p->batch_capacity) {
        p->batch_capacity = p->batch_capacity ? 2 * p->batch_capacity : 64;
        p->batches = fake_must(realloc(p->batches, p->batch_capacity * sizeof *p->batches));
    }
    struct stored_batch *b = &p->batches[p->batch_count++];
    *b = (struct stored_batch){.records = fake_must(malloc(batch->records_size)),
                               .data = fake_must(malloc(batch->data_size + 1)),
                               .records_size = batch->records_size,
                               .data_size = batch->data_size,
                               .first_id = p->events,
                               .count = batch->count};
    memcpy(b->records, batch->records.base, batch->records_size);
    uint64_t at = 0;
    for (size_t i = 0; i < batch->data_segments; i++) {
        memcpy(b->data + at, batch->data[i].base, batch->data[i].size);
        at += batch->data[i].size;
    }
    assert(at == batch->data_size);
    p->events += batch->count;
    return b->first_id;
}

void fake_sink_submit(void *sink, struct diaspora_batch *batch)
{
    struct sink *s = sink;
    struct answer a = {.batch = batch, .sink = s, .unanswered = &s->unanswered};
    int status =
        dango_diaspora_records_check(batch->records.base, batch->records_size, batch->count, batch->data_size, NULL);
    assert(status == 0);
    LOCK();
    fake.statistics.batches++;
    if (s->queued == 0)
        s->failing = false;
    if (fake.statistics.batches == fake.settings.batch_fails)
        s->failing = true;
    if (fake.disconnected) {
        a.code = DANGO_ERR_DISCONNECTED;
        a.text = "the fake server is gone";
    } else if (s->failing) {
        a.code = fake_failure_code(DANGO_ERR_IO);
        a.text = FAKE_BATCH_FAILURE;
    } else {
        a.first_id = store(s->partition, batch);
        list_for_each (node, &s->partition->sources)
            fake_serve(container_of(node, struct source, link));
    }
    s->unanswered++;
    s->queued++;
    fake.batches_unanswered++;
    if (fake.batches_unanswered > fake.statistics.batches_unanswered_max)
        fake.statistics.batches_unanswered_max = fake.batches_unanswered;
    a.held = fake.settings.hold_batches;
    fake_answer(a);
    UNLOCK();
}

void fake_sink_settle(void *sink, struct diaspora_settling *settling)
{
    struct sink *s = sink;
    struct answer a = {.settling = settling, .unanswered = &s->unanswered};
    LOCK();
    fake.statistics.settlings++;
    if (fake.settings.unsettled) {
        a.code = DANGO_ERR_IO;
        a.text = FAKE_BATCH_FAILURE;
    }
    s->unanswered++;
    a.held = fake.settings.hold_settling;
    fake_answer(a);
    UNLOCK();
}

void fake_sink_close(void *sink)
{
    struct sink *s = sink;
    LOCK();
    while (s->unanswered > 0)
        pthread_cond_wait(&fake.changed, &fake.lock);
    fake.statistics.sinks--;
    UNLOCK();
    free(s);
}
