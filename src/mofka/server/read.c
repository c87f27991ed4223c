/*
 * Selected data of many events in one request.
 *
 * A ULT looks every event up (ascending ids are cheap), turns the selections into pieces of segments, and sends them:
 * few bytes inside the answer, many small pieces gathered into one transfer, large ones straight from the segments. An
 * event that cannot be read has a status of its own; the bytes that it would have given stay untouched at the client.
 */
#include "mofka/server/provider.h"

#include <stdlib.h>

/* Below this average size pieces are copied together first: a transfer of its own costs more than the copy. */
#define GATHER_BELOW ((uint64_t)16 << 10)
#define GATHER_MAX   ((uint64_t)16 << 20)

/* A read that is being worked on. */
struct job {
    struct mofka_request *request;
    struct mofka_read read;
    int32_t *statuses;          /* padded to 8 bytes */
    struct mofka_piece *pieces; /* one per range at most … */
    uint64_t *offsets;          /* … and where in the destination it goes */
    size_t piece_count;
};

static size_t statuses_size(const struct job *job)
{
    return (size_t)mofka_frame_align(sizeof(int32_t) * (uint64_t)job->read.item_count);
}

static bool within(diaspora_range range, uint64_t size)
{
    return range.offset <= size && range.size <= size - range.offset;
}

static void add_piece(struct job *job, const struct mofka_place *place, diaspora_range range, uint64_t offset)
{
    const unsigned char *base = place->region->base + place->data_offset + range.offset;
    if (range.size == 0)
        return;
    if (job->piece_count > 0) {
        struct mofka_piece *last = &job->pieces[job->piece_count - 1];
        if (last->region == place->region && last->base + last->size == base &&
            job->offsets[job->piece_count - 1] + last->size == offset) {
            last->size += (size_t)range.size;
            return;
        }
    }
    mofka_region_hold(place->region);
    job->offsets[job->piece_count] = offset;
    job->pieces[job->piece_count++] = (struct mofka_piece){place->region, base, (size_t)range.size};
}

/* Looks one event up and adds the pieces of its ranges, all or none. */
static int select_item(struct job *job, struct mofka_reader *reader, uint32_t i, uint32_t first_range, uint64_t offset)
{
    struct mofka_read_item item = mofka_read_item(&job->read, i);
    struct mofka_place place;
    int code = dango_mofka_reader_locate(reader, item.event_id, &place, NULL);
    if (code != 0)
        return code;
    for (uint32_t range = 0; range < item.range_count; range++)
        if (!within(mofka_read_range(&job->read, first_range + range), place.data_size))
            return DANGO_ERR_RANGE;
    for (uint32_t range = 0; range < item.range_count; range++) {
        diaspora_range wanted = mofka_read_range(&job->read, first_range + range);
        add_piece(job, &place, wanted, offset);
        offset += wanted.size;
    }
    return 0;
}

static void select_items(struct job *job)
{
    struct mofka_reader reader;
    uint32_t range = 0;
    uint64_t offset = 0;
    mofka_reader_init(&reader, job->request->provider->partition);
    for (uint32_t i = 0; i < job->read.item_count; i++) {
        uint32_t end = range + (uint32_t)mofka_read_item(&job->read, i).range_count;
        job->statuses[i] = select_item(job, &reader, i, range, offset);
        for (; range < end; range++)
            offset += mofka_read_range(&job->read, range).size;
    }
    dango_mofka_reader_fini(&reader);
    assert(offset == job->read.size);
}

/* ---- sending ---- */

static int gather(const struct job *job, unsigned char *to, struct dango_error *err)
{
    for (size_t i = 0; i < job->piece_count; i++)
        memcpy(to + job->offsets[i], job->pieces[i].base, job->pieces[i].size);
    return mofka_pieces_whole(job->pieces, job->piece_count, err) ? 0 : DANGO_ERR_DISCONNECTED;
}

static void answer(struct job *job, const void *inside, size_t inside_size)
{
    struct mofka_read_answer head = {
        .item_count = job->read.item_count,
        .flags = inside ? MOFKA_BYTES_INSIDE : 0,
        .size = job->read.size,
    };
    diaspora_segment parts[] = {
        {&head, sizeof head}, {job->statuses, statuses_size(job)}, {(void *)(uintptr_t)inside, inside_size}};
    mofka_request_answer(job->request, parts, 3);
}

/* Consecutive pieces without a gap between them in the destination go in one call. */
static int push_runs(struct job *job, hg_bulk_t to, struct dango_error *err)
{
    for (size_t first = 0, next; first < job->piece_count; first = next) {
        uint64_t end = job->offsets[first];
        for (next = first; next < job->piece_count && job->offsets[next] == end; next++)
            end += job->pieces[next].size;
        int code = mofka_push(job->request, to, job->offsets[first], job->pieces + first, next - first, err);
        if (code != 0)
            return code;
    }
    return 0;
}

static int push_gathered(struct job *job, hg_bulk_t to, struct dango_error *err)
{
    unsigned char *bytes = calloc(1, (size_t)job->read.size);
    if (!bytes)
        return dango_error_set(err, DANGO_ERR_NO_MEMORY, "the server is out of memory");
    struct mofka_piece piece = {NULL, bytes, (size_t)job->read.size};
    int code = gather(job, bytes, err);
    if (code == 0)
        code = mofka_push(job->request, to, 0, &piece, 1, err);
    free(bytes);
    return code;
}

static int push(struct job *job, struct dango_error *err)
{
    hg_bulk_t to;
    hg_return_t ret =
        margo_bulk_deserialize(job->request->provider->settings.mid, &to, job->read.flat, job->read.request.flat);
    if (ret != HG_SUCCESS)
        return dango_error_set(err, DANGO_ERR_PROTOCOL, "malformed bulk handle: %s", HG_Error_to_string(ret));
    int code;
    if (margo_bulk_get_size(to) < job->read.size)
        code = dango_error_set(err, DANGO_ERR_PROTOCOL, "bulk handle is smaller than what is read");
    else if (job->piece_count > 1 && job->read.size < GATHER_MAX && job->read.size / job->piece_count < GATHER_BELOW)
        code = push_gathered(job, to, err);
    else
        code = push_runs(job, to, err);
    margo_bulk_free(to);
    return code;
}

static int allocate(struct job *job, struct dango_error *err)
{
    size_t ranges = job->read.request.range_count + 1;
    job->statuses = calloc(1, statuses_size(job));
    job->pieces = malloc(ranges * sizeof *job->pieces);
    job->offsets = malloc(ranges * sizeof *job->offsets);
    if (job->statuses && job->pieces && job->offsets)
        return 0;
    return dango_error_set(err, DANGO_ERR_NO_MEMORY, "the server is out of memory");
}

static void read_in_thread(void *arg)
{
    struct mofka_request *request = arg;
    struct dango_error *err = &request->err;
    struct job job = {.request = request};
    unsigned char inside[MOFKA_INLINE_MAX];
    int code = dango_mofka_decode_read(&request->message, &job.read, err);
    if (code == 0)
        code = allocate(&job, err);
    if (code == 0)
        select_items(&job);
    bool fits = job.read.size <= sizeof inside;
    if (code == 0 && !fits)
        code = push(&job, err);
    if (code == 0 && fits) {
        memset(inside, 0, (size_t)job.read.size);
        code = gather(&job, inside, err);
    }
    for (size_t i = 0; i < job.piece_count; i++) /* before the answer: nothing may hold the partition after it */
        mofka_region_release(job.pieces[i].region);
    if (code != 0)
        mofka_request_fail(request, err);
    else
        answer(&job, fits ? inside : NULL, fits ? (size_t)job.read.size : 0);
    free(job.statuses);
    free(job.pieces);
    free(job.offsets);
}

void mofka_handle_read(struct mofka_request *request)
{
    struct mofka_read read;
    struct dango_error *err = &request->err;
    if (dango_mofka_decode_read(&request->message, &read, err) != 0 ||
        mofka_session_find(request, read.request.head.token, true, err) != 0 ||
        mofka_request_continue(request, read_in_thread) != 0)
        mofka_request_fail(request, err);
}
