/*
 * Promises: batches whose producer is answered before they are stored (ack_early), and waiting until they are.
 *
 * A storage promises a batch in `finish`, when everything before it has come: it has its id then, and nothing but the
 * medium can keep it from being stored. Two things follow at any time and in any thread: the producer is told
 * (`promised`), and the batch becomes complete (`done`). Whichever is over last calls done, so that the reception is its
 * owner's again only then.
 *
 * A promise that cannot be kept ends all writing: no later event may take the id, or stand where a producer believes
 * another one. What is left to do is to say so, to whoever writes (the storage's error) and to whoever asks (settle).
 */
#include "mofka/partition/internal.h"

#include <assert.h>

void mofka_reception_promise(struct mofka_reception *reception, uint64_t first_id)
{
    assert(reception->promised && reception->code == 0 && !reception->is_promised);
    reception->is_promised = true;
    reception->first_id = first_id;
    reception->stream->promised_end = first_id + reception->count;
    atomic_init(&reception->calls, 2);
}

void mofka_reception_done(struct mofka_reception *reception)
{
    if (reception->is_promised && atomic_fetch_sub(&reception->calls, 1) > 1)
        return;
    reception->done(reception, reception->first_id, reception->code);
}

void mofka_receptions_tell(struct list_node *promises)
{
    for (struct list_node *node; (node = list_pop(promises));) {
        struct mofka_reception *reception = container_of(node, struct mofka_reception, promise);
        reception->promised(reception, reception->first_id);
        mofka_reception_done(reception);
    }
}

/* ---- settling ---- */

void mofka_partition_refuse(struct mofka_partition *partition, const struct dango_error *why)
{
    assert(why->code < 0);
    if (partition->refusal.code == 0)
        partition->refusal = *why;
}

void mofka_partition_settled(struct mofka_partition *partition, struct list_node *settled)
{
    struct list_node waiting;
    list_init(&waiting);
    list_init(settled);
    uint64_t next_id = dango_mofka_partition_next_id(partition);
    for (struct list_node *node; (node = list_pop(&partition->settlings));) {
        const struct mofka_settling *settling = container_of(node, struct mofka_settling, link);
        bool known = settling->end <= next_id || partition->refusal.code != 0;
        list_append(known ? settled : &waiting, node);
    }
    for (struct list_node *node; (node = list_pop(&waiting));)
        list_append(&partition->settlings, node);
}

void mofka_settlings_tell(struct mofka_partition *partition, struct list_node *settled)
{
    for (struct list_node *node; (node = list_pop(settled));) {
        struct mofka_settling *settling = container_of(node, struct mofka_settling, link);
        if (settling->end <= dango_mofka_partition_next_id(partition)) {
            settling->done(settling, NULL);
            continue;
        }
        struct dango_error err;
        dango_error_set(&err, DANGO_ERR_IO, "events that were answered early (ack_early) are not stored: %s",
                        partition->refusal.text);
        settling->done(settling, &err);
    }
}

void dango_mofka_partition_settle(struct mofka_partition *partition, struct mofka_stream *stream,
                                  struct mofka_settling *settling)
{
    struct list_node settled;
    assert(settling->done);
    pthread_mutex_lock(&partition->lock);
    settling->end = stream->promised_end;
    list_append(&partition->settlings, &settling->link);
    mofka_partition_settled(partition, &settled);
    pthread_mutex_unlock(&partition->lock);
    mofka_settlings_tell(partition, &settled);
}
