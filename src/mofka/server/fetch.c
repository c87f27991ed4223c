/*
 * Feeding consumers.
 *
 * A fetch is a credit: room for events in the client's memory. It waits in its session until there is something, is
 * then filled with as many frames as fit and answered. Fetches of a session are filled in the order of their arrival,
 * under the session's lock; the answers may overtake each other when one of them is written by a bulk transfer.
 *
 * An answer consists of pieces: stretches of frames as they stand in the segments (neighbours are one piece), and new
 * headers for parts of frames. Small answers travel inside the message; larger ones are written into the client's
 * memory by a ULT straight from the segments. If that fails, or the medium under them, events are lost for this session: it
 * has failed and delivers nothing more; the client subscribes again.
 *
 * A session with nothing to deliver is in provider->waiting. It enters that list before it looks for the last time, and
 * a commit makes its events visible before it looks at the list: one of them sees the other.
 */
#include "mofka/server/provider.h"

#include "util/log.h"

static void add_piece(struct mofka_request *request, struct mofka_region *region, const unsigned char *base,
                      size_t size)
{
    if (request->piece_count > 0) {
        struct mofka_piece *last = &request->pieces[request->piece_count - 1];
        if (region && last->region == region && last->base + last->size == base) {
            last->size += size;
            return;
        }
    }
    assert(request->piece_count < MOFKA_PIECES_MAX);
    mofka_region_hold(region);
    request->pieces[request->piece_count++] = (struct mofka_piece){region, base, size};
}

/* A whole frame is one piece; a part is a new header, its records and, if wanted, its data, without padding. */
static void add_slice(struct mofka_request *request, const struct mofka_slice *slice)
{
    const unsigned char *base = slice->region->base;
    if (slice->count == slice->frame->count) {
        add_piece(request, slice->region, (const unsigned char *)slice->frame, (size_t)slice->size);
        return;
    }
    assert(request->header_count < 2);
    struct mofka_frame *header = &request->headers[request->header_count++];
    dango_mofka_slice_header(slice, header);
    add_piece(request, NULL, (const unsigned char *)header, sizeof *header);
    add_piece(request, slice->region, base + slice->records_offset, slice->records_size);
    if (slice->with_data && slice->data_size > 0)
        add_piece(request, slice->region, base + slice->data_offset, (size_t)slice->data_size);
}

/* Pieces that one more slice may take. */
#define SLICE_PIECES 3
/* With so many bytes an answer is worth its message; more would only fill caches, and memory that held events hold. The room
 * may be larger: for a frame that is. */
#define ENOUGH ((uint64_t)1 << 20)

/* Fills a fetch. 1: there is something; 0: nothing, *needed says whether for lack of room; negative: damage. */
static int collect(struct mofka_request *request, bool with_data, uint64_t *needed)
{
    struct mofka_session *session = request->session;
    struct mofka_limits limits = {.size = request->fetch.room,
                                  .events = request->fetch.head.extra,
                                  .with_data = with_data,
                                  /* clients compare (mofka/client/frames.c) */
                                  .unchecked = !(request->fetch.head.flags & MOFKA_COMPARED)};
    uint32_t frames = 0;
    int found = 1;
    mofka_request_drop_pieces(request);
    request->header_count = 0;
    while (limits.events > 0 && frames < request->fetch.frames_max && request->header_count < 2 &&
           request->fetch.room - limits.size < ENOUGH && request->piece_count + SLICE_PIECES <= MOFKA_PIECES_MAX) {
        struct mofka_slice slice;
        found = dango_mofka_reader_next(&session->reader, &limits, &slice, needed, &request->err);
        if (found <= 0)
            break;
        add_slice(request, &slice);
        limits.size -= slice.size;
        limits.events -= slice.count;
        limits.uncut = with_data ? request->fetch.room : 0;
        frames++;
    }
    if (frames == 0)
        return found;
    request->fetch_answer = (struct mofka_fetch_answer){.flags = with_data ? MOFKA_FRAMES_WITH_DATA : 0};
    for (size_t i = 0; i < request->piece_count; i++)
        request->fetch_answer.size += request->pieces[i].size;
    assert(request->fetch_answer.size <= request->fetch.room);
    return 1;
}

/* What comes next cannot be read: if it is known where the gap ends, the consumer is told and goes on behind it. */
static int step_over_gap(struct mofka_request *request)
{
    struct mofka_reader *reader = &request->session->reader;
    bool removed = reader->removed;
    DANGO_LOG(removed ? DANGO_LOG_INFO : DANGO_LOG_ERROR, "mofka", "consumer \"%s\": %s", request->session->name,
              request->err.text);
    uint64_t lost = dango_mofka_reader_skip(reader);
    if (lost == 0)
        return request->err.code;
    request->fetch_answer = (struct mofka_fetch_answer){.lost = lost, .flags = removed ? MOFKA_FRAMES_REMOVED : 0};
    return 1;
}

/* Everything has been delivered, and nothing will come. */
static bool is_over(const struct mofka_request *request)
{
    const struct mofka_partition *partition = request->provider->partition;
    return dango_mofka_partition_is_complete(partition) &&
           request->session->reader.next_id >= dango_mofka_partition_next_id(partition);
}

/* Fills a fetch with data if they are wanted and the next event's fit, else without. */
static int fill(struct mofka_request *request)
{
    uint64_t needed = 0;
    bool with_data = request->fetch.head.flags & MOFKA_WITH_DATA;
    int found = collect(request, with_data, &needed);
    if (found == 0 && needed > 0 && with_data)
        found = collect(request, false, &needed);
    if (found == 0 && needed > 0) {
        request->fetch_answer = (struct mofka_fetch_answer){.needed = needed};
        return 1;
    }
    if (found == 0 && is_over(request)) {
        request->fetch_answer = (struct mofka_fetch_answer){.flags = MOFKA_FRAMES_END};
        return 1;
    }
    return found < 0 ? step_over_gap(request) : found;
}

/* The pieces are copied first: only then is it known whether all of them could be read. */
static int answer_inside(struct mofka_request *request)
{
    unsigned char inside[MOFKA_INLINE_MAX];
    size_t size = 0;
    for (size_t i = 0; i < request->piece_count; i++) {
        assert(request->pieces[i].size <= sizeof inside - size);
        memcpy(inside + size, request->pieces[i].base, request->pieces[i].size);
        size += request->pieces[i].size;
    }
    if (!mofka_pieces_whole(request->pieces, request->piece_count, &request->err))
        return request->err.code;
    diaspora_segment parts[] = {{&request->fetch_answer, sizeof request->fetch_answer}, {inside, size}};
    request->fetch_answer.flags |= MOFKA_FRAMES_INSIDE;
    mofka_request_answer(request, parts, 2);
    return 0;
}

static int transfer(struct mofka_request *request)
{
    hg_bulk_t room;
    hg_return_t ret =
        margo_bulk_deserialize(request->provider->settings.mid, &room, request->flat, request->fetch.flat);
    if (ret != HG_SUCCESS)
        return dango_error_set(&request->err, DANGO_ERR_PROTOCOL, "malformed bulk handle: %s", HG_Error_to_string(ret));
    int code;
    if (margo_bulk_get_size(room) < request->fetch_answer.size)
        code = dango_error_set(&request->err, DANGO_ERR_PROTOCOL, "bulk handle is smaller than the room");
    else
        code = mofka_push(request, room, 0, request->pieces, request->piece_count, &request->err);
    margo_bulk_free(room);
    return code;
}

/* Answers the fetches of a session as far as there are events. */
static void feed(struct mofka_session *session, struct mofka_provider *provider);

/* The body of a ULT: writes the frames to the client, then tells it. */
static void answer_by_transfer(void *arg)
{
    struct mofka_request *request = arg;
    struct mofka_session *session = request->session;
    struct mofka_provider *provider = request->provider;
    if (transfer(request) == 0) {
        diaspora_segment part = {&request->fetch_answer, sizeof request->fetch_answer};
        mofka_request_answer(request, &part, 1);
        return;
    }
    atomic_fetch_add(&session->references, 1);
    pthread_mutex_lock(&session->lock);
    session->failed = true;
    pthread_mutex_unlock(&session->lock);
    mofka_request_fail(request, &request->err);
    feed(session, provider);
    mofka_session_release(session);
}

/* Sends what was collected. Under the session's lock. */
static void deliver(struct mofka_request *request)
{
    int code = request->fetch_answer.size <= MOFKA_INLINE_MAX ? answer_inside(request)
                                                              : mofka_request_continue(request, answer_by_transfer);
    if (code != 0) {
        request->session->failed = true;
        mofka_request_fail(request, &request->err);
    }
}

/* ---- waiting ---- */

/* Announces that the session waits; false when it did so before. */
static bool start_waiting(struct mofka_session *session, struct mofka_provider *provider)
{
    pthread_mutex_lock(&provider->lock);
    bool started = !session->is_waiting;
    if (started) {
        session->is_waiting = true;
        provider->waiting_count++;
        atomic_fetch_add(&session->references, 1);
        list_append(&provider->waiting, &session->waiting);
    }
    pthread_mutex_unlock(&provider->lock);
    return started;
}

static void feed(struct mofka_session *session, struct mofka_provider *provider)
{
    pthread_mutex_lock(&session->lock);
    while (!list_empty(&session->fetches) && !session->closed) {
        struct mofka_request *request = container_of(session->fetches.next, struct mofka_request, link);
        int found = session->failed
                        ? dango_error_set(&request->err, DANGO_ERR_DISCONNECTED, "the subscription has failed")
                        : fill(request);
        if (found == 0) {
            if (start_waiting(session, provider))
                continue; /* look again: an event may have come before anybody knew that we wait */
            break;
        }
        list_remove(&request->link);
        if (found > 0)
            deliver(request);
        else
            mofka_request_fail(request, &request->err);
    }
    pthread_mutex_unlock(&session->lock);
}

/* The session that has waited longest, with its reference; NULL when nobody waits. */
static struct mofka_session *stop_waiting(struct mofka_provider *provider)
{
    pthread_mutex_lock(&provider->lock);
    struct list_node *node = list_pop(&provider->waiting);
    struct mofka_session *session = node ? container_of(node, struct mofka_session, waiting) : NULL;
    if (session) {
        session->is_waiting = false;
        provider->waiting_count--;
    }
    pthread_mutex_unlock(&provider->lock);
    return session;
}

void mofka_feed_waiting(void *arg)
{
    struct mofka_provider *provider = arg;
    pthread_mutex_lock(&provider->lock);
    size_t count = provider->waiting_count; /* those that wait again behind these have seen everything */
    pthread_mutex_unlock(&provider->lock);
    for (; count > 0; count--) {
        struct mofka_session *session = stop_waiting(provider);
        if (!session)
            return;
        feed(session, provider);
        mofka_session_release(session);
    }
}

/* The body of a ULT: feeds a session, whose reference it has. */
static void feed_in_thread(void *arg)
{
    struct mofka_session *session = arg;
    feed(session, session->provider);
    mofka_session_release(session);
}

void mofka_handle_fetch(struct mofka_request *request)
{
    struct dango_error *err = &request->err;
    if (dango_mofka_decode_fetch(&request->message, &request->fetch, &request->flat, err) != 0 ||
        mofka_session_find(request, request->fetch.head.token, true, err) != 0) {
        mofka_request_fail(request, err);
        return;
    }
    struct mofka_session *session = request->session;
    struct mofka_provider *provider = request->provider;
    pthread_mutex_lock(&session->lock);
    bool closed = session->closed;
    bool behind = session->reader.next_id < dango_mofka_partition_next_id(provider->partition);
    if (!closed) {
        atomic_fetch_add(&session->references, 1); /* the request may be answered while we still feed */
        list_append(&session->fetches, &request->link);
    }
    pthread_mutex_unlock(&session->lock);
    if (closed) {
        dango_error_set(err, DANGO_ERR_DISCONNECTED, "the subscription has ended");
        mofka_request_fail(request, err);
        return;
    }
    /* What lies in files is perhaps not in memory: the progress loop must not wait for it. */
    if (behind && mofka_storage_is_slow(provider) && mofka_provider_run(provider, feed_in_thread, session) == 0)
        return;
    feed_in_thread(session);
}
