/*
 * Backend "swim": the machine of swim.h over RPCs.
 *
 * Every message that the machine sends becomes an RPC in a ULT of its own, with a copy of the message; the answer, if there
 * is one, goes back into the machine. Too many under way, and messages are dropped: the protocol bears loss. One timer calls
 * the machine when something is due. Everything is guarded by the mutex of the view, which follows the machine's callbacks;
 * it is never held across a call or a user's callback.
 *
 * The struct lives until margo is finalised, since a request that arrives while the group ends may still find it; the gate
 * keeps it from being used.
 */
#include "flock/backends/swim/swim.h"
#include "flock/backends/backend.h"
#include "flock/backends/swim/wire.h"
#include "flock/provider/flock.h"
#include "flock/provider/provider.h"

#include "util/clock.h"
#include "util/json.h"
#include "util/log.h"

#include <dango/options.h>
#include <flock/flock-swim.h>
#include <margo-timer.h>

#include <assert.h>

#define SENDS_MAX     1024
#define SEND_LIMIT_MS 1000.0

struct settings {
    struct flk_swim_settings swim;
    double join_timeout_ms;
    bool join_timeout_given;
};

struct group {
    margo_instance_id mid;
    ABT_pool pool;
    hg_id_t rpc;
    char *self;
    uint16_t id;
    struct settings settings;
    struct flk_events events;
    struct dango_gate gate; /* handlers, sends */
    margo_timer_t timer;
    flock_group_view_t view;  /* its mutex guards everything below */
    ABT_cond_memory progress; /* signalled when something may have changed for a joiner */
    struct flk_swim *swim;
    size_t sends; /* under way */
    bool leaving, crash;
    bool writes; /* the group file, the last time we looked */
};

static void lock(struct group *group)
{
    FLOCK_GROUP_VIEW_LOCK(&group->view);
}

static void unlock(struct group *group)
{
    FLOCK_GROUP_VIEW_UNLOCK(&group->view);
}

/* After the machine has worked, with the lock: a suspicion changes who writes the file, and no view. */
static void note_progress(struct group *group)
{
    bool writes = flk_swim_is_first_alive(group->swim);
    if (writes != group->writes)
        flk_events_writer(&group->events);
    group->writes = writes;
    ABT_cond_broadcast(ABT_COND_MEMORY_GET_HANDLE(&group->progress));
}

/* ---- configuration ---- */

#define MS_MAX 1e9

const struct dango_option dango_flock_swim_options[] = {
    DANGO_OPTION_REAL("protocol_period_ms", struct settings, swim.protocol_period_ms, 1000.0, 1.0, MS_MAX,
                      "time between probe rounds"),
    DANGO_OPTION_REAL("ping_timeout_ms", struct settings, swim.ping_timeout_ms, 200.0, 1.0, MS_MAX,
                      "time to answer a direct ping"),
    DANGO_OPTION_REAL("ping_req_timeout_ms", struct settings, swim.ping_req_timeout_ms, 500.0, 1.0, MS_MAX,
                      "time to answer through other members"),
    DANGO_OPTION_INT("ping_req_members", struct settings, swim.ping_req_members, 3, 0, 1000000,
                     "members asked to ping one that did not answer"),
    DANGO_OPTION_REAL("suspicion_timeout_ms", struct settings, swim.suspicion_timeout_ms, 5000.0, 0.0, MS_MAX,
                      "time from suspicion to removal"),
    DANGO_OPTION_REAL("join_timeout_ms", struct settings, join_timeout_ms, 5000.0, 1.0, MS_MAX,
                      "time that joining may take"),
    DANGO_OPTION_END,
};

static struct json_object *dump(const struct settings *settings)
{
    struct json_object *json = dango_options_dump(dango_flock_swim_options, settings);
    /* An option of ours appears only when it was set. */
    if (!settings->join_timeout_given)
        json_object_object_del(json, "join_timeout_ms");
    return json;
}

/* ---- sending ---- */

struct send {
    struct group *group;
    flk_swim_message_t message;
    uint16_t id;
    char address[];
};

static double limit_of(const struct group *group, const flk_swim_message_t *message)
{
    return message->type == SWIM_PING       ? group->settings.swim.ping_timeout_ms
           : message->type == SWIM_PING_REQ ? group->settings.swim.ping_req_timeout_ms
                                            : SEND_LIMIT_MS;
}

static void finish_send(struct group *group, struct send *send, hg_return_t ret, const flk_swim_answer_t *answer)
{
    flk_swim_message_t unwanted = {0};
    int64_t now = dango_clock_ns();
    lock(group);
    group->sends--;
    if (ret == HG_SUCCESS && answer->has_reply) {
        if (flk_swim_receive(group->swim, now, &answer->reply, &unwanted))
            flk_swim_message_clear(&unwanted);
    } else if (ret != HG_SUCCESS && ret != HG_TIMEOUT) {
        flk_swim_failed(group->swim, now, send->address, send->id, &send->message);
        if (!group->leaving)
            flk_swim_tick(group->swim, now);
    }
    note_progress(group);
    unlock(group);
    flk_events_report(&group->events);
}

static void send_ult(void *arg)
{
    struct send *send = arg;
    struct group *group = send->group;
    struct flk_call call;
    flk_swim_answer_t answer = {0};
    hg_return_t ret = flk_call_start(&call, group->mid, group->rpc, send->address, send->id, &send->message,
                                     limit_of(group, &send->message));
    bool started = ret == HG_SUCCESS;
    if (started)
        ret = flk_call_wait(&call, &answer);
    finish_send(group, send, ret, &answer);
    if (started && ret == HG_SUCCESS)
        margo_free_output(call.handle, &answer);
    if (started)
        flk_call_end(&call);
    flk_swim_message_clear(&send->message);
    free(send);
    dango_gate_leave(&group->gate);
}

/* Called by the machine, with the lock. */
static void send_message(void *arg, const char *address, uint16_t id, const flk_swim_message_t *message)
{
    struct group *group = arg;
    size_t size = strlen(address) + 1;
    struct send *send = group->sends < SENDS_MAX ? calloc(1, sizeof *send + size) : NULL;
    if (!send || !flk_swim_message_copy(message, &send->message)) {
        free(send);
        return;
    }
    send->group = group;
    send->id = id;
    memcpy(send->address, address, size);
    if (flk_spawn(&group->gate, group->pool, send_ult, send)) {
        group->sends++;
        return;
    }
    flk_swim_message_clear(&send->message);
    free(send);
}

/* ---- changes, called by the machine with the lock ---- */

static void on_member(void *arg, flock_update_t update, const char *address, uint16_t id)
{
    struct group *group = arg;
    bool self = id == group->id && strcmp(address, group->self) == 0;
    if (self) {
        log_warning("flock", "this member (%s, provider %u) was declared dead by its group; it announces itself again",
                    address, id);
    } else if (update == FLOCK_MEMBER_JOINED) {
        flock_group_view_add_member(&group->view, address, id);
    } else {
        flock_member_t *member = flock_group_view_find_member(&group->view, address, id);
        if (member)
            flock_group_view_remove_member(&group->view, member);
    }
    flk_events_member(&group->events, update, address, id);
}

static void on_moved(void *arg, const char *from, const char *to, uint16_t id)
{
    struct group *group = arg;
    flock_member_t *member = flock_group_view_find_member(&group->view, from, id);
    if (member)
        flock_group_view_remove_member(&group->view, member);
    flock_group_view_add_member(&group->view, to, id);
    flk_events_moved(&group->events, from, to, id);
}

static void on_metadata(void *arg, const char *key, const char *value)
{
    struct group *group = arg;
    /* The backend's own entries are nobody else's to change. */
    if (strncmp(key, "__", 2) == 0)
        return;
    if (value)
        flock_group_view_add_metadata(&group->view, key, value);
    else
        flock_group_view_remove_metadata(&group->view, key);
    flk_events_metadata(&group->events, key, value);
}

static const struct flk_swim_callbacks callbacks = {
    .send = send_message, .member = on_member, .moved = on_moved, .metadata = on_metadata};

/* ---- receiving, and the timer ---- */

static void answer(struct group *group, hg_handle_t handle)
{
    flk_swim_message_t message = {0};
    flk_swim_answer_t out = {0};
    if (margo_get_input(handle, &message) == HG_SUCCESS) {
        lock(group);
        out.has_reply = flk_swim_receive(group->swim, dango_clock_ns(), &message, &out.reply);
        note_progress(group);
        unlock(group);
        margo_free_input(handle, &message);
    }
    margo_respond(handle, &out);
    flk_swim_message_clear(&out.reply);
    flk_events_report(&group->events);
}

static void message_ult(hg_handle_t handle)
{
    margo_instance_id mid = margo_hg_handle_get_instance(handle);
    struct group *group = margo_registered_data(mid, margo_get_info(handle)->id);
    if (group && dango_gate_enter(&group->gate)) {
        answer(group, handle);
        dango_gate_leave(&group->gate);
    } else {
        margo_respond(handle, &(flk_swim_answer_t){0});
    }
    margo_destroy(handle);
}
static DEFINE_MARGO_RPC_HANDLER(message_ult)

    static void tick(void *arg)
{
    struct group *group = arg;
    lock(group);
    int64_t next_ns = flk_swim_tick(group->swim, dango_clock_ns());
    double wait_ms = (double)(next_ns - dango_clock_ns()) / (double)DANGO_NS_PER_MS;
    if (!group->leaving)
        margo_timer_start(group->timer, wait_ms < 1 ? 1 : wait_ms);
    note_progress(group);
    unlock(group);
    flk_events_report(&group->events);
}

/* ---- life ---- */

/* What was not reached is NULL. */
static void release(struct group *group)
{
    if (group->rpc)
        margo_deregister(group->mid, group->rpc);
    if (group->timer)
        margo_timer_destroy(group->timer);
    if (group->swim)
        flk_swim_destroy(group->swim);
    flk_events_fini(&group->events);
    flock_group_view_clear(&group->view);
    free(group->self);
}

/* Newer than any predecessor at this address. */
static uint64_t first_incarnation(void)
{
    return dango_clock_wall_ns() / DANGO_NS_PER_MS;
}

static flock_return_t read_settings(struct group *group, struct json_object *config, struct dango_error *err)
{
    group->settings.join_timeout_given = dango_json_get(config, "join_timeout_ms") != NULL;
    return dango_options_parse(dango_flock_swim_options, config, "group.config", &group->settings, err) == 0
               ? FLOCK_SUCCESS
               : FLOCK_ERR_INVALID_CONFIG;
}

static bool fill_machine(struct group *group)
{
    bool complete = true;
    for (uint64_t i = 0; i < group->view.members.size && complete; i++)
        complete = flk_swim_add_initial(group->swim, group->view.members.data[i].address,
                                        group->view.members.data[i].provider_id);
    for (uint64_t i = 0; i < group->view.metadata.size && complete; i++) {
        const flock_metadata_t *entry = &group->view.metadata.data[i];
        if (strncmp(entry->key, "__", 2) != 0)
            complete = flk_swim_add_value(group->swim, entry->key, entry->value);
    }
    return complete;
}

static bool fill_view(struct group *group)
{
    struct json_object *config = dump(&group->settings);
    const char *text = json_object_to_json_string_ext(config, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE);
    bool complete = flock_group_view_add_member(&group->view, group->self, group->id) &&
                    flock_group_view_add_metadata(&group->view, "__config__", text) &&
                    flock_group_view_add_metadata(&group->view, "__type__", "swim");
    json_object_put(config);
    return complete;
}

static flock_return_t init_state(struct group *group, flock_backend_init_args_t *args, struct dango_error *err)
{
    group->mid = args->mid;
    group->id = args->provider_id;
    group->pool = args->pool;
    flk_events_init(&group->events, args);
    flock_return_t ret = read_settings(group, args->config, err);
    if (ret != FLOCK_SUCCESS)
        return ret;
    group->self = strdup(args->self_addr_str);
    FLOCK_GROUP_VIEW_MOVE(&args->initial_view, &group->view);
    if (group->self)
        group->swim = flk_swim_create(&group->settings.swim, group->self, group->id, first_incarnation(),
                                      flk_random_seed(group), &callbacks, group);
    /* The machine knows itself; the view says who else. */
    if (!group->swim || !fill_view(group) || !fill_machine(group))
        return FLOCK_ERR_ALLOCATION;
    if (flk_backend_resumes(args))
        flk_swim_learn_changes(group->swim, flk_backend_resumes(args)->file.change + 1);
    group->rpc = MARGO_REGISTER_PROVIDER(group->mid, FLK_RPC_SWIM, flk_swim_message_t, flk_swim_answer_t, message_ult,
                                         group->id, group->pool);
    return flk_serve(group->mid, group->rpc, group, group->pool, tick, &group->timer, err);
}

/* Until a member has answered. The machine asks again and again, so that there is always something to wait for. */
static flock_return_t wait_to_join(struct group *group, struct dango_error *err)
{
    int64_t deadline_ns = dango_deadline_ns(group->settings.join_timeout_ms);
    lock(group);
    while (!flk_swim_has_joined(group->swim) && !flk_swim_join_failed(group->swim) && dango_clock_ns() < deadline_ns)
        ABT_cond_wait(ABT_COND_MEMORY_GET_HANDLE(&group->progress), ABT_MUTEX_MEMORY_GET_HANDLE(&group->view.mtx));
    bool joined = flk_swim_has_joined(group->swim);
    unlock(group);
    if (joined)
        return FLOCK_SUCCESS;
    dango_error_set(err, DANGO_ERR_DISCONNECTED, "no member of the group answers: it has probably ended");
    return FLOCK_ERR_FROM_MERCURY;
}

static void stop(struct group *group)
{
    lock(group);
    group->leaving = true;
    unlock(group);
    if (group->timer)
        margo_timer_cancel(group->timer);
}

static flock_return_t swim_init(flock_backend_init_args_t *args, void **context)
{
    assert(args && args->config && context);
    struct dango_error *err = flk_backend_error(args);
    struct group *group = calloc(1, sizeof *group);
    if (!group)
        return FLOCK_ERR_ALLOCATION;
    margo_push_finalize_callback(args->mid, free, group);
    flock_return_t ret = init_state(group, args, err);
    if (ret == FLOCK_SUCCESS) {
        /* A group of one that has no other to ask is not joined but formed. */
        bool join = args->join && flk_swim_member_count(group->swim) > 1;
        lock(group);
        flk_swim_start(group->swim, dango_clock_ns(), join);
        unlock(group);
        tick(group);
        ret = join ? wait_to_join(group, err) : FLOCK_SUCCESS;
    }
    if (ret != FLOCK_SUCCESS) {
        stop(group);
        dango_gate_close(&group->gate);
        release(group);
        return ret;
    }
    flk_events_discard(&group->events);
    *context = group;
    return FLOCK_SUCCESS;
}

/* The good-byes are sent in the background; closing the gate waits for them. */
static flock_return_t swim_destroy(void *context)
{
    assert(context);
    struct group *group = context;
    stop(group);
    lock(group);
    if (!group->crash)
        flk_swim_leave(group->swim, dango_clock_ns());
    unlock(group);
    dango_gate_close(&group->gate);
    release(group);
    return FLOCK_SUCCESS;
}

static flock_return_t swim_get_config(void *context, void (*fn)(void *, const struct json_object *), void *uargs)
{
    struct json_object *config = dump(&((struct group *)context)->settings);
    fn(uargs, config);
    json_object_put(config);
    return FLOCK_SUCCESS;
}

static flock_return_t swim_get_view(void *context, void (*fn)(void *, const flock_group_view_t *), void *uargs)
{
    assert(context && fn);
    fn(uargs, &((struct group *)context)->view);
    return FLOCK_SUCCESS;
}

static flock_return_t set_value(struct group *group, const char *key, const char *value)
{
    if (strncmp(key, "__", 2) == 0)
        return FLOCK_ERR_OP_FORBIDDEN;
    lock(group);
    bool set = flk_swim_set_value(group->swim, key, value);
    unlock(group);
    flk_events_report(&group->events);
    return set ? FLOCK_SUCCESS : FLOCK_ERR_INVALID_ARGS;
}

static flock_return_t swim_add_metadata(void *context, const char *key, const char *value)
{
    return set_value(context, key, value);
}

static flock_return_t swim_remove_metadata(void *context, const char *key)
{
    return set_value(context, key, NULL);
}

bool flk_swim_writes_file(void *context)
{
    struct group *group = context;
    lock(group);
    bool writes = flk_swim_is_first_alive(group->swim) && !group->leaving;
    unlock(group);
    return writes;
}

/* Anybody may change the view: there are no terms, and the file is its writer's. */
bool flk_swim_stamp(void *context, struct flk_stamp *stamp)
{
    struct group *group = context;
    lock(group);
    *stamp = (struct flk_stamp){
        .change = flk_swim_changes(group->swim), .owner = strdup(group->self), .owner_id = group->id};
    unlock(group);
    return stamp->owner != NULL;
}

bool flk_swim_suspects(void *context, const char *address, uint16_t id)
{
    struct group *group = context;
    lock(group);
    bool suspected = flk_swim_is_suspected(group->swim, address, id);
    unlock(group);
    return suspected;
}

void flk_swim_pass(void *context, uint64_t change)
{
    struct group *group = context;
    lock(group);
    flk_swim_learn_changes(group->swim, change + 1);
    unlock(group);
}

flock_return_t flk_swim_move_self(void *context, const char *address)
{
    struct group *group = context;
    char *self = strdup(address);
    if (!self)
        return FLOCK_ERR_ALLOCATION;
    lock(group);
    bool moved = flk_swim_move(group->swim, dango_clock_ns(), address);
    char *unused = moved ? group->self : self;
    if (moved)
        group->self = self;
    note_progress(group);
    unlock(group);
    free(unused);
    flk_events_report(&group->events);
    return moved ? FLOCK_SUCCESS : FLOCK_ERR_INVALID_ARGS;
}

void flk_swim_statistics(void *context, struct json_object *json)
{
    struct group *group = context;
    lock(group);
    const struct flk_swim_stats stats = *flk_swim_stats(group->swim);
    unlock(group);
    json_object_object_add(json, "rounds", json_object_new_uint64(stats.rounds));
    json_object_object_add(json, "pings", json_object_new_uint64(stats.pings));
    json_object_object_add(json, "pings_failed", json_object_new_uint64(stats.pings_failed));
    json_object_object_add(json, "suspicions", json_object_new_uint64(stats.suspicions));
    json_object_object_add(json, "refutations", json_object_new_uint64(stats.refutations));
    json_object_object_add(json, "deaths", json_object_new_uint64(stats.deaths));
    json_object_object_add(json, "syncs", json_object_new_uint64(stats.syncs));
}

flock_return_t flock_swim_set_crash_mode(flock_provider_t provider, bool crash)
{
    if (!provider || !provider->backend_context)
        return FLOCK_ERR_INVALID_ARGS;
    if (provider->backend != &flk_swim_backend)
        return FLOCK_ERR_INVALID_BACKEND;
    struct group *group = provider->backend_context;
    lock(group);
    group->crash = crash;
    unlock(group);
    return FLOCK_SUCCESS;
}

flock_backend_impl flk_swim_backend = {
    .name = "swim",
    .init_group = swim_init,
    .destroy_group = swim_destroy,
    .get_config = swim_get_config,
    .get_view = swim_get_view,
    .add_metadata = swim_add_metadata,
    .remove_metadata = swim_remove_metadata,
};
