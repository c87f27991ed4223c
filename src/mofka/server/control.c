/*
 * The small requests: opening, keeping and closing of sessions, and acknowledgements.
 */
#include "mofka/server/provider.h"

#include "diaspora/driver.h"

#include <inttypes.h>

void mofka_request_answer_done(struct mofka_request *request)
{
    struct mofka_answer answer = {0};
    diaspora_segment part = {&answer, sizeof answer};
    mofka_request_answer(request, &part, 1);
}

static void answer_done_or_fail(struct mofka_request *request, int code)
{
    if (code == 0)
        mofka_request_answer_done(request);
    else
        mofka_request_fail(request, &request->err);
}

int mofka_request_check_partition(const struct mofka_request *request, const uint8_t uuid[16], struct dango_error *err)
{
    if (memcmp(uuid, request->provider->settings.uuid, 16) == 0)
        return 0;
    return dango_error_set(err, DANGO_ERR_DISCONNECTED, "another partition is at this address now");
}

void mofka_handle_attach(struct mofka_request *request)
{
    struct mofka_attach_request attach;
    struct mofka_session *session;
    struct dango_error *err = &request->err;
    char name[MOFKA_NAME_MAX + 1];
    if (dango_mofka_decode_request(&request->message, &attach, sizeof attach, err) != 0 ||
        dango_mofka_decode_name(&request->message, sizeof attach, name, err) != 0 ||
        mofka_request_check_partition(request, attach.partition, err) != 0 ||
        mofka_session_open(request, false, name, &session, err) != 0) {
        mofka_request_fail(request, err);
        return;
    }
    const struct mofka_resume resume = {attach.first, attach.stored_end, attach.unsettled, attach.window};
    session->ack_early = (attach.head.flags & MOFKA_ACK_EARLY) != 0;
    if (dango_mofka_partition_attach(request->provider->partition, &session->stream, attach.producer, attach.attempt,
                                     &resume, err) != 0) {
        mofka_session_close(request->provider, session);
        mofka_request_fail(request, err);
        return;
    }
    struct mofka_attach_answer answer = {.token = session->token, .stored_end = session->stream.stored_end};
    diaspora_segment part = {&answer, sizeof answer};
    mofka_request_answer(request, &part, 1);
}

/* Whether what the client has read a part of is still there. */
static int check_life(const struct mofka_provider *provider, uint64_t life, struct dango_error *err)
{
    if (life == 0 || life == dango_mofka_partition_life(provider->partition))
        return 0;
    return dango_error_set(err, DANGO_ERR_NOT_FOUND,
                           "the partition began anew with its server: it was in memory, and what had not been read is "
                           "lost; a consumer that is opened now reads what has come since");
}

int mofka_start_position(struct mofka_provider *provider, enum diaspora_start start, uint64_t start_id,
                         const char *name, uint64_t *position, struct dango_error *err)
{
    uint64_t end = dango_mofka_partition_next_id(provider->partition);
    switch (start) {
    case DIASPORA_START_SAVED:
        /* Who is new has missed nothing. */
        if (!dango_mofka_positions_find(provider->positions, name, position))
            *position = dango_mofka_partition_first_id(provider->partition);
        return 0;
    case DIASPORA_START_FIRST:
        *position = dango_mofka_partition_first_id(provider->partition);
        return 0;
    case DIASPORA_START_LAST:
        *position = end;
        return 0;
    case DIASPORA_START_ID:
        *position = start_id;
        if (*position <= end)
            return 0;
        return dango_error_set(err, DANGO_ERR_RANGE,
                               "cannot start at event %" PRIu64 ": the partition has %" PRIu64 " events", *position,
                               end);
    case DIASPORA_START_TIME:
        return dango_mofka_partition_find_time(provider->partition, start_id, position, err);
    }
    return dango_error_set(err, DANGO_ERR_PROTOCOL, "malformed message: unknown place to start at");
}

/* The body of a ULT: finding the place may mean reading files. */
static void subscribe_in_thread(void *arg)
{
    struct mofka_request *request = arg;
    struct mofka_provider *provider = request->provider;
    struct mofka_subscribe_request subscribe;
    struct mofka_subscribe_answer answer = {.end = dango_mofka_partition_next_id(provider->partition)};
    struct mofka_reader reader = {0};
    struct mofka_session *session;
    struct dango_error *err = &request->err;
    char name[MOFKA_NAME_MAX + 1];
    if (dango_mofka_decode_request(&request->message, &subscribe, sizeof subscribe, err) != 0 ||
        dango_mofka_decode_name(&request->message, sizeof subscribe, name, err) != 0 ||
        mofka_request_check_partition(request, subscribe.partition, err) != 0 ||
        check_life(provider, subscribe.life, err) != 0 ||
        mofka_start_position(provider, (enum diaspora_start)subscribe.head.flags, subscribe.start_id, name,
                             &answer.position, err) != 0 ||
        dango_mofka_reader_seek(&reader, provider->partition, answer.position, err) != 0 ||
        mofka_session_open(request, true, name, &session, err) != 0) {
        dango_mofka_reader_fini(&reader);
        mofka_request_fail(request, err);
        return;
    }
    if (reader.removed) {
        answer.skipped = dango_mofka_reader_skip(&reader);
        answer.position = reader.next_id;
    }
    pthread_mutex_lock(&session->lock);
    if (session->closed) /* its client is gone already */
        dango_mofka_reader_fini(&reader);
    session->reader = reader;
    pthread_mutex_unlock(&session->lock);
    answer.token = session->token;
    answer.life = dango_mofka_partition_life(provider->partition);
    diaspora_segment part = {&answer, sizeof answer};
    mofka_request_answer(request, &part, 1);
}

void mofka_handle_subscribe(struct mofka_request *request)
{
    if (mofka_request_continue(request, subscribe_in_thread) != 0)
        mofka_request_fail(request, &request->err);
}

void mofka_request_answer_saved(struct mofka_saving *saving, const struct dango_error *err)
{
    struct mofka_request *request = container_of(saving, struct mofka_request, saving);
    struct mofka_provider *provider = request->provider;
    if (err) {
        mofka_request_fail(request, err);
        return;
    }
    mofka_retention_acknowledged(provider); /* before the answer: what answers last may end the provider */
    mofka_request_answer_done(request);
}

/* Under the session's lock: when an operator has shut it out, it does not move the position any more. */
static int save_position(struct mofka_request *request, uint64_t position)
{
    struct mofka_session *session = request->session;
    atomic_fetch_add(&session->references, 1); /* the answer may be given before the lock is let go */
    pthread_mutex_lock(&session->lock);
    int code = session->closed ? dango_error_set(&request->err, DANGO_ERR_CANCELED, "the subscription has ended")
                               : dango_mofka_positions_save(request->provider->positions, session->name, position,
                                                            &request->saving, &request->err);
    pthread_mutex_unlock(&session->lock);
    mofka_session_release(session);
    return code;
}

void mofka_handle_acknowledge(struct mofka_request *request)
{
    struct mofka_provider *provider = request->provider;
    struct mofka_acknowledge_request acknowledge;
    struct dango_error *err = &request->err;
    int code = dango_mofka_decode_request(&request->message, &acknowledge, sizeof acknowledge, err);
    if (code == 0)
        code = mofka_session_find(request, acknowledge.head.token, true, err);
    if (code == 0 && acknowledge.event_id >= dango_mofka_partition_next_id(provider->partition))
        code =
            dango_error_set(err, DANGO_ERR_RANGE, "there is no event %" PRIu64 " to acknowledge", acknowledge.event_id);
    request->saving.done = mofka_request_answer_saved;
    if (code == 0)
        code = save_position(request, acknowledge.event_id + 1);
    if (code != 0)
        mofka_request_fail(request, err);
}

/* Renewal and closing are for sessions of both kinds. */
static int find_any(struct mofka_request *request)
{
    struct mofka_request_head head;
    int code = dango_mofka_decode_request(&request->message, &head, sizeof head, &request->err);
    if (code != 0)
        return code;
    return mofka_session_find_any(request, head.token, &request->err);
}

void mofka_handle_renew(struct mofka_request *request)
{
    int code = find_any(request); /* finding it has renewed it */
    if (code == 0)
        code = mofka_session_check(request->session, &request->err);
    answer_done_or_fail(request, code);
}

void mofka_handle_close(struct mofka_request *request)
{
    int code = find_any(request);
    if (code == 0)
        mofka_session_close(request->provider, request->session);
    answer_done_or_fail(request, code);
}
