/*
 * Batches from producers.
 *
 * A batch that is inside its message is copied to its place and committed on the spot. A larger one gets its place now,
 * which fixes its order, and is pulled there by a ULT. In both cases nothing is stored that is not a sound sequence of
 * records. The answer is sent when the partition says that the batch is complete, by whichever thread completed it; or,
 * if producer and partition want it so, when the batch has come and has its id. The request then goes on without anybody
 * to be answered, and the end of the provider waits for it as for all.
 */
#include "mofka/server/provider.h"

#include "diaspora/record.h"

/* The partition vouches for the batch. */
static void answer_early(struct mofka_reception *reception, uint64_t first_id)
{
    struct mofka_request *request = container_of(reception, struct mofka_request, reception);
    struct mofka_produce_answer answer = {.first_id = first_id};
    diaspora_segment part = {&answer, sizeof answer};
    mofka_request_answer_early(request, &part, 1);
}

/* The partition has completed the batch. */
static void answer_producer(struct mofka_reception *reception, uint64_t first_id, int code)
{
    struct mofka_request *request = container_of(reception, struct mofka_request, reception);
    if (code != 0) {
        if (reception->failure)
            request->err = *reception->failure;
        else if (request->err.code == 0)
            dango_error_set(&request->err, code, "an earlier batch of this producer failed");
        mofka_request_fail(request, &request->err);
        return;
    }
    struct mofka_produce_answer answer = {.first_id = first_id};
    diaspora_segment part = {&answer, sizeof answer};
    mofka_request_answer(request, &part, 1);
}

static void commit(struct mofka_request *request, int code)
{
    const struct mofka_reception *reception = &request->reception;
    if (code == 0)
        code = dango_diaspora_records_check(mofka_reception_records(reception), (size_t)reception->records_size,
                                            reception->count, reception->data_size, &request->err);
    dango_mofka_partition_commit(request->provider->partition, &request->reception, code);
}

static int receive_part(struct mofka_request *request, const unsigned char *inside, const unsigned char *flat,
                        size_t flat_size, size_t offset, uint64_t size)
{
    if (size == 0)
        return 0;
    struct mofka_region *region = request->reception.region;
    if (inside) {
        memcpy(region->base + offset, inside, (size_t)size);
        return 0;
    }
    return mofka_pull(request, flat, flat_size, region, offset, size, &request->err);
}

static void receive(struct mofka_request *request, const struct mofka_produce *produce)
{
    const struct mofka_produce_request *head = &produce->request;
    size_t offset = request->reception.offset;
    int code =
        receive_part(request, produce->records, produce->records_flat, head->records_flat, offset, head->records_size);
    if (code == 0)
        code = receive_part(request, produce->data, produce->data_flat, head->data_flat,
                            offset + (size_t)head->records_size, head->data_size);
    commit(request, code);
}

static void receive_in_thread(void *arg)
{
    struct mofka_request *request = arg;
    struct mofka_produce produce;
    int code = dango_mofka_decode_produce(&request->message, &produce, NULL); /* it was good before */
    assert(code == 0);
    (void)code;
    receive(request, &produce);
}

void mofka_handle_produce(struct mofka_request *request)
{
    struct mofka_produce produce;
    struct dango_error *err = &request->err;
    if (dango_mofka_decode_produce(&request->message, &produce, err) != 0 ||
        mofka_session_find(request, produce.request.head.token, false, err) != 0) {
        mofka_request_fail(request, err);
        return;
    }
    request->reception = (struct mofka_reception){
        .stream = &request->session->stream,
        .attempt = produce.request.attempt,
        .count = produce.count,
        .sequence = produce.request.sequence,
        .records_size = produce.request.records_size,
        .data_size = produce.request.data_size,
        .promised = request->session->ack_early ? answer_early : NULL,
        .done = answer_producer,
    };
    int reserved = dango_mofka_partition_reserve(request->provider->partition, &request->reception, err);
    if (reserved < 0) {
        mofka_request_fail(request, err);
        return;
    }
    if (reserved > 0) { /* sent a second time: as if it had just been stored */
        answer_producer(&request->reception, request->reception.first_id, 0);
        return;
    }
    bool all_inside = produce.records && (produce.data || produce.request.data_size == 0);
    if (all_inside)
        receive(request, &produce);
    else if (mofka_request_continue(request, receive_in_thread) != 0)
        commit(request, err->code);
}

/* ---- what was answered early ---- */

static void answer_settled(struct mofka_settling *settling, const struct dango_error *err)
{
    struct mofka_request *request = container_of(settling, struct mofka_request, settling);
    if (err)
        mofka_request_fail(request, err);
    else
        mofka_request_answer_done(request);
}

void mofka_handle_settle(struct mofka_request *request)
{
    struct mofka_request_head head;
    struct dango_error *err = &request->err;
    if (dango_mofka_decode_request(&request->message, &head, sizeof head, err) != 0 ||
        mofka_session_find(request, head.token, false, err) != 0) {
        mofka_request_fail(request, err);
        return;
    }
    request->settling.done = answer_settled;
    dango_mofka_partition_settle(request->provider->partition, &request->session->stream, &request->settling);
}
