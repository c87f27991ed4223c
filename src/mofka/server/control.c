/*
 * The small requests: opening, keeping and closing of sessions, and acknowledgements.
 */
#include "mofka/server/provider.h"

#include "diaspora/driver.h"

#include <inttypes.h>

static void answer_done(struct mofka_request *request)
{
    struct mofka_answer answer = {0};
    diaspora_segment part = {&answer, sizeof answer};
    mofka_request_answer(request, &part, 1);
}

static void answer_done_or_fail(struct mofka_request *request, int code)
{
    if (code == 0)
        answer_done(request);
    else
        mofka_request_fail(request, &request->err);
}

void mofka_handle_attach(struct mofka_request *request)
{
    struct mofka_attach_request attach;
    struct mofka_session *session;
    struct dango_error *err = &request->err;
    char name[MOFKA_NAME_MAX + 1];
    if (dango_mofka_decode_request(&request->message, &attach, sizeof attach, err) != 0 ||
        dango_mofka_decode_name(&request->message, sizeof attach, name, err) != 0 ||
        mofka_session_open(request, false, name, &session, err) != 0) {
        mofka_request_fail(request, err);
        return;
    }
    const struct mofka_resume resume = {attach.first, attach.stored_end, attach.unsettled, attach.window};
    if (dango_mofka_partition_attach(request->provider->partition, &session->stream, attach.producer, attach.attempt,
                                     &resume, err) != 0) {
        mofka_session_close(request->provider, session);
        mofka_request_fail(request, err);
        return;
    }
    struct mofka_attach_answer answer = {.token = session->token};
    diaspora_segment part = {&answer, sizeof answer};
    mofka_request_answer(request, &part, 1);
}

static int start_position(struct mofka_provider *provider, const struct mofka_subscribe_request *subscribe,
                          const char *name, uint64_t end, uint64_t *position, struct dango_error *err)
{
    switch ((enum diaspora_start)subscribe->head.flags) {
    case DIASPORA_START_SAVED:
        *position = dango_mofka_positions_get(provider->positions, name);
        return 0;
    case DIASPORA_START_FIRST:
        *position = 0;
        return 0;
    case DIASPORA_START_LAST:
        *position = end;
        return 0;
    case DIASPORA_START_ID:
        *position = subscribe->start_id;
        if (*position <= end)
            return 0;
        return dango_error_set(err, DANGO_ERR_RANGE,
                               "cannot start at event %" PRIu64 ": the partition has %" PRIu64 " events", *position,
                               end);
    }
    return dango_error_set(err, DANGO_ERR_PROTOCOL, "malformed message: unknown start of a subscription");
}

void mofka_handle_subscribe(struct mofka_request *request)
{
    struct mofka_provider *provider = request->provider;
    struct mofka_subscribe_request subscribe;
    struct mofka_subscribe_answer answer = {.end = dango_mofka_partition_next_id(provider->partition)};
    struct mofka_reader reader = {0};
    struct mofka_session *session;
    struct dango_error *err = &request->err;
    char name[MOFKA_NAME_MAX + 1];
    if (dango_mofka_decode_request(&request->message, &subscribe, sizeof subscribe, err) != 0 ||
        dango_mofka_decode_name(&request->message, sizeof subscribe, name, err) != 0 ||
        start_position(provider, &subscribe, name, answer.end, &answer.position, err) != 0 ||
        dango_mofka_reader_seek(&reader, provider->partition, answer.position, err) != 0 ||
        mofka_session_open(request, true, name, &session, err) != 0) {
        dango_mofka_reader_fini(&reader);
        mofka_request_fail(request, err);
        return;
    }
    pthread_mutex_lock(&session->lock);
    if (session->closed) /* its client is gone already */
        dango_mofka_reader_fini(&reader);
    session->reader = reader;
    pthread_mutex_unlock(&session->lock);
    answer.token = session->token;
    diaspora_segment part = {&answer, sizeof answer};
    mofka_request_answer(request, &part, 1);
}

static void answer_saved(struct mofka_saving *saving, const struct dango_error *err)
{
    struct mofka_request *request = container_of(saving, struct mofka_request, saving);
    if (err)
        mofka_request_fail(request, err);
    else
        answer_done(request);
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
    request->saving.done = answer_saved;
    if (code == 0)
        code = dango_mofka_positions_save(provider->positions, request->session->name, acknowledge.event_id + 1,
                                          &request->saving, err);
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
    answer_done_or_fail(request, find_any(request)); /* finding it has renewed it */
}

void mofka_handle_close(struct mofka_request *request)
{
    int code = find_any(request);
    if (code == 0)
        mofka_session_close(request->provider, request->session);
    answer_done_or_fail(request, code);
}
