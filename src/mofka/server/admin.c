/*
 * What operators ask: the state of the partition with the saved positions, moves of positions, its end, and its deletion.
 * Mostly served by ULTs, because much may have to be looked at.
 *
 * A position is not moved under a consumer that uses it, unless that is forced: then the consumer is shut out first. From
 * the moment the operator is answered no acknowledgement of it counts any more, and whatever it asks tells it why.
 */
#include "mofka/server/provider.h"

#include "util/log.h"

#include <inttypes.h>
#include <stdlib.h>

/* Positions in one answer. */
#define PAGE_MAX 256u

/* The request of an operator for this partition and no other. */
static int decode(struct mofka_request *request, struct mofka_operator_request *decoded, struct dango_error *err)
{
    int code = dango_mofka_decode_request(&request->message, decoded, sizeof *decoded, err);
    return code == 0 ? mofka_request_check_partition(request, decoded->partition, err) : code;
}

/* ---- looking ---- */

/* Room for an answer with a whole page. */
struct page {
    struct mofka_inspect_answer answer;
    struct mofka_position positions[PAGE_MAX];
    struct mofka_inspect_item items[PAGE_MAX];
    diaspora_segment parts[1 + 2 * PAGE_MAX];
};

static void answer_page(struct mofka_request *request, struct page *page, size_t count, bool more)
{
    struct mofka_provider *provider = request->provider;
    page->answer = (struct mofka_inspect_answer){
        .first_id = dango_mofka_partition_first_id(provider->partition),
        .end = dango_mofka_partition_next_id(provider->partition),
        .flags = (more ? MOFKA_STATE_MORE : 0) |
                 (dango_mofka_partition_is_complete(provider->partition) ? MOFKA_STATE_COMPLETE : 0),
        .count = (uint32_t)count,
    };
    mofka_sessions_count(provider, &page->answer.producers, &page->answer.consumers);
    page->parts[0] = (diaspora_segment){&page->answer, sizeof page->answer};
    for (size_t i = 0; i < count; i++) {
        struct mofka_position *position = &page->positions[i];
        size_t length = strlen(position->name);
        page->items[i] = (struct mofka_inspect_item){
            .position = position->next_id,
            .connected = mofka_sessions_of(provider, position->name),
            .name_size = (uint32_t)length,
        };
        page->parts[1 + 2 * i] = (diaspora_segment){&page->items[i], sizeof page->items[i]};
        page->parts[2 + 2 * i] = (diaspora_segment){position->name, length};
    }
    mofka_request_answer(request, page->parts, 1 + 2 * count);
}

/* The body of a ULT. */
static void inspect(void *arg)
{
    struct mofka_request *request = arg;
    struct mofka_operator_request inspection;
    struct dango_error *err = &request->err;
    char after[MOFKA_NAME_MAX + 1];
    size_t count = 0;
    bool more = false;
    struct page *page = malloc(sizeof *page);
    int code = page ? decode(request, &inspection, err)
                    : dango_error_set(err, DANGO_ERR_NO_MEMORY, "the server is out of memory");
    if (code == 0)
        code = dango_mofka_decode_name(&request->message, sizeof inspection, after, err);
    if (code == 0)
        code = dango_mofka_positions_list(request->provider->positions, after, page->positions, PAGE_MAX, &count, &more,
                                          err);
    if (code == 0)
        answer_page(request, page, count, more);
    else
        mofka_request_fail(request, err);
    free(page);
}

void mofka_handle_inspect(struct mofka_request *request)
{
    if (mofka_request_continue(request, inspect) != 0)
        mofka_request_fail(request, &request->err);
}

/* ---- moving positions ---- */

/* Makes sure that no consumer of that name is there. */
static int clear_consumers(struct mofka_provider *provider, const char *name, bool force, struct dango_error *err)
{
    uint32_t count = mofka_sessions_of(provider, name);
    if (count > 0 && !force)
        return dango_error_set(err, DANGO_ERR_BUSY,
                               "%" PRIu32 " consumer%s of the name \"%s\" %s reading: stop %s first, or force it, "
                               "which ends %s",
                               count, count > 1 ? "s" : "", name, count > 1 ? "are" : "is", count > 1 ? "them" : "it",
                               count > 1 ? "their subscriptions" : "its subscription");
    struct dango_error why;
    dango_error_set(&why, DANGO_ERR_CANCELED,
                    "an operator has moved the position of consumer \"%s\": open it again to go on from there", name);
    return mofka_sessions_fence(provider, name, &why, err);
}

static int change_position(struct mofka_request *request, const struct mofka_set_position_request *change,
                           const char *name)
{
    struct mofka_provider *provider = request->provider;
    struct dango_error *err = &request->err;
    bool remove = change->head.flags & MOFKA_POSITION_REMOVE;
    uint64_t position = 0;
    int code = 0;
    if (!remove)
        code = mofka_start_position(provider, (enum diaspora_start)(change->head.flags & MOFKA_POSITION_START),
                                    change->start_id, name, &position, err);
    if (code == 0)
        code = clear_consumers(provider, name, change->head.flags & MOFKA_POSITION_FORCE, err);
    request->saving.done = mofka_request_answer_saved;
    if (code == 0 && remove)
        return dango_mofka_positions_remove(provider->positions, name, &request->saving, err);
    if (code == 0)
        code = dango_mofka_positions_reset(provider->positions, name, position, &request->saving, err);
    return code;
}

/* The body of a ULT. */
static void set_position(void *arg)
{
    struct mofka_request *request = arg;
    struct mofka_set_position_request change;
    struct dango_error *err = &request->err;
    char name[MOFKA_NAME_MAX + 1];
    int code = dango_mofka_decode_request(&request->message, &change, sizeof change, err);
    if (code == 0)
        code = mofka_request_check_partition(request, change.partition, err);
    if (code == 0)
        code = dango_mofka_decode_name(&request->message, sizeof change, name, err);
    if (code == 0)
        code = change_position(request, &change, name);
    if (code != 0)
        mofka_request_fail(request, err);
}

void mofka_handle_set_position(struct mofka_request *request)
{
    if (mofka_request_continue(request, set_position) != 0)
        mofka_request_fail(request, &request->err);
}

/* ---- the end of the stream ---- */

static void answer_ended(struct mofka_reception *reception, uint64_t first_id, int code)
{
    struct mofka_request *request = container_of(reception, struct mofka_request, reception);
    (void)first_id;
    if (code == 0) {
        mofka_request_answer_done(request);
        return;
    }
    if (reception->failure)
        request->err = *reception->failure;
    else
        dango_error_set(&request->err, code, "the end of the stream could not be stored");
    mofka_request_fail(request, &request->err);
}

void mofka_handle_complete(struct mofka_request *request)
{
    struct mofka_operator_request decoded;
    int code = decode(request, &decoded, &request->err);
    request->reception.done = answer_ended;
    if (code == 0)
        code = dango_mofka_partition_end(request->provider->partition, &request->reception, &request->err);
    if (code != 0)
        mofka_request_fail(request, &request->err);
}

/* ---- deletion ---- */

/* The body of a ULT. Sessions that come while others are shut out are refused. */
static void erase(void *arg)
{
    struct mofka_request *request = arg;
    struct mofka_provider *provider = request->provider;
    struct mofka_operator_request decoded;
    struct dango_error why, *err = &request->err;
    struct mofka_log *log = dango_mofka_partition_log(provider->partition);
    int code = decode(request, &decoded, err);
    if (code == 0) {
        atomic_store(&provider->deleted, true);
        dango_error_set(&why, DANGO_ERR_NOT_FOUND, "the topic has been deleted");
        code = mofka_sessions_fence(provider, NULL, &why, err);
    }
    if (code == 0 && log && !(decoded.head.flags & MOFKA_ERASE_KEEP))
        code = dango_mofka_log_erase(log, err);
    if (code == 0)
        mofka_request_answer_done(request);
    else
        mofka_request_fail(request, err);
}

void mofka_handle_erase(struct mofka_request *request)
{
    if (mofka_request_continue(request, erase) != 0)
        mofka_request_fail(request, &request->err);
}
