/*
 * Backend "centralized" as Flock sees it: its life, its RPC, its timer. See centralized.h.
 *
 * The struct lives until margo is finalised, since a request that arrives while the group ends may still find it; the gate
 * keeps it from being used.
 */
#include "flock/backends/centralized/centralized.h"

#include "util/clock.h"
#include "util/json.h"
#include "util/log.h"

#include <assert.h>

/* ---- calls and background work ---- */

void flk_cen_request_init(struct flk_cen_group *group, flk_cen_request_t *request, enum flk_cen_type type)
{
    memset(request, 0, sizeof *request);
    request->type = (uint8_t)type;
    request->from_id = group->id;
    request->update = CEN_NO_UPDATE;
    flk_cen_lock(group);
    request->from = group->self;
    request->term = group->term;
    request->version = group->version;
    flk_cen_unlock(group);
}

/* The decoded answer belongs to the handle, which ends here: what it holds is moved out. */
bool flk_cen_call(struct flk_cen_group *group, const char *address, uint16_t id, flk_cen_request_t *request,
                  double timeout_ms, flk_cen_answer_t *answer)
{
    struct flk_call call;
    flk_cen_answer_t out = {0};
    memset(answer, 0, sizeof *answer);
    request->to = (char *)(uintptr_t)address; /* only read */
    if (flk_call_start(&call, group->mid, group->rpc, address, id, request, timeout_ms) != HG_SUCCESS)
        return false;
    hg_return_t ret = flk_call_wait(&call, &out);
    if (ret == HG_SUCCESS) {
        *answer = out;
        answer->primary = strdup(out.primary);
        memset(&answer->view, 0, sizeof answer->view);
        FLOCK_GROUP_VIEW_MOVE(&out.view, &answer->view);
        margo_free_output(call.handle, &out);
        if (!answer->primary) {
            flk_cen_answer_free(answer);
            ret = HG_NOMEM;
        }
    }
    flk_call_end(&call);
    return ret == HG_SUCCESS;
}

bool flk_cen_is_primary_of(const flk_cen_answer_t *answer, const char *address, uint16_t id)
{
    return answer->status != CEN_FAILED && strcmp(answer->primary, address) == 0 && answer->primary_id == id;
}

void flk_cen_answer_free(flk_cen_answer_t *answer)
{
    free(answer->primary);
    answer->primary = NULL;
    flock_group_view_clear(&answer->view);
}

bool flk_cen_others(struct flk_cen_group *group, const char *except, uint16_t except_id, flock_group_view_t *others)
{
    flk_cen_lock(group);
    bool copied = flock_group_view_copy(&group->view, others);
    flock_member_t *self = flock_group_view_find_member(others, group->self, group->id);
    if (self)
        flock_group_view_remove_member(others, self);
    flk_cen_unlock(group);
    flock_member_t *excepted = except ? flock_group_view_find_member(others, except, except_id) : NULL;
    if (excepted)
        flock_group_view_remove_member(others, excepted);
    return copied;
}

struct work {
    struct flk_cen_group *group;
    void (*body)(struct flk_cen_group *group, void *arg);
    void *arg;
};

static void run_work(void *arg)
{
    struct work *work = arg;
    struct flk_cen_group *group = work->group;
    work->body(group, work->arg);
    free(work);
    dango_gate_leave(&group->gate);
}

bool flk_cen_spawn(struct flk_cen_group *group, void (*body)(struct flk_cen_group *group, void *arg), void *arg)
{
    assert(body);
    struct work *work = malloc(sizeof *work);
    if (!work)
        return false;
    *work = (struct work){group, body, arg};
    bool started = flk_spawn(&group->gate, group->pool, run_work, work);
    if (!started)
        free(work);
    return started;
}

/* ---- the RPC ---- */

static void answer(struct flk_cen_group *group, hg_handle_t handle)
{
    flk_cen_request_t request = {0};
    flk_cen_answer_t out = {.status = CEN_FAILED};
    struct flk_cen_follow_up next = {0};
    bool valid = margo_get_input(handle, &request) == HG_SUCCESS;
    if (valid) {
        out.status = CEN_OK;
        next = flk_cen_handle(group, &request, &out);
    }
    margo_respond(handle, &out);
    flk_cen_answer_free(&out);
    if (valid) {
        flk_cen_follow(group, &request, &next);
        margo_free_input(handle, &request);
    }
}

static void handle_ult(hg_handle_t handle)
{
    margo_instance_id mid = margo_hg_handle_get_instance(handle);
    struct flk_cen_group *group = margo_registered_data(mid, margo_get_info(handle)->id);
    if (group && dango_gate_enter(&group->gate)) {
        answer(group, handle);
        dango_gate_leave(&group->gate);
    } else {
        /* Incomplete on purpose: to the caller this is no answer. */
        margo_respond(handle, &(flk_cen_answer_t){.status = CEN_FAILED});
    }
    margo_destroy(handle);
}
static DEFINE_MARGO_RPC_HANDLER(handle_ult)

    /* ---- the timer ---- */

    /* Never later than an interval from now, whatever has changed meanwhile, and never at once. */
    static void tick(void *arg)
{
    struct flk_cen_group *group = arg;
    int64_t now_ns = dango_clock_ns();
    int64_t pings_ns = flk_cen_ping_all(group, now_ns), watch_ns = flk_cen_watch(group, now_ns);
    flk_cen_lock(group);
    double due_ms = (double)((flk_cen_is_primary(group) ? pings_ns : watch_ns) - now_ns) / (double)DANGO_NS_PER_MS;
    bool leaving = group->leaving;
    flk_cen_unlock(group);
    if (due_ms > group->settings.interval_max_ms)
        due_ms = group->settings.interval_max_ms;
    if (!leaving)
        margo_timer_start(group->timer, due_ms < 1 ? 1 : due_ms);
}

/* ---- life ---- */

/* What was not reached is NULL. */
static void release(struct flk_cen_group *group)
{
    if (group->rpc)
        margo_deregister(group->mid, group->rpc);
    if (group->timer)
        margo_timer_destroy(group->timer);
    flk_events_fini(&group->events);
    flock_group_view_clear(&group->view);
    flock_group_view_clear(&group->lost);
    flk_cen_settings_release(&group->settings);
    free(group->primary);
    flock_group_view_clear(&group->selves);
}

/* The configured primary, or the first member. */
static flock_return_t choose_primary(struct flk_cen_group *group, bool joins, struct dango_error *err)
{
    const struct flk_cen_settings *settings = &group->settings;
    const flock_member_t *first = flock_group_view_member_at(&group->view, 0);
    const char *address = settings->primary_address ? settings->primary_address : first->address;
    uint16_t id = settings->primary_address ? 0 : first->provider_id;
    if (settings->primary_provider_id)
        id = (uint16_t)json_object_get_int64(settings->primary_provider_id);
    if (joins && !settings->primary_address) {
        dango_error_set(err, DANGO_ERR_INVALID,
                        "the initial view does not say who the primary is: it is to be the "
                        "content of a group file of type centralized");
        return FLOCK_ERR_INVALID_CONFIG;
    }
    /* A joiner's file may be older than the last change of the primary: the members will say. */
    if (!joins && !flock_group_view_find_member(&group->view, address, id)) {
        dango_error_set(err, DANGO_ERR_INVALID, "group.config: the primary (%s, provider %u) is no member of the group",
                        address, id);
        return FLOCK_ERR_INVALID_CONFIG;
    }
    return flk_cen_set_primary(group, address, id) ? FLOCK_SUCCESS : FLOCK_ERR_ALLOCATION;
}

/* A group that starts again from its file goes on counting there: its file is not to look older than the one of its former
 * life. The primary has a new term, so that members that have lived on take over what it says. */
static void resume(struct flk_cen_group *group, const struct flk_resume *from)
{
    bool primary = flk_cen_is_primary(group);
    group->term = from->file.term + primary;
    group->version = primary ? from->file.change + 1 : from->same_view ? from->file.change : 0;
}

static flock_return_t init_state(struct flk_cen_group *group, flock_backend_init_args_t *args, struct dango_error *err)
{
    group->mid = args->mid;
    group->id = args->provider_id;
    group->pool = args->pool;
    group->random = flk_random_seed(group);
    flk_events_init(&group->events, args);
    if (flock_group_view_member_count(&args->initial_view) == 0) {
        dango_error_set(err, DANGO_ERR_INVALID, "the initial view is empty: somebody must be the primary");
        return FLOCK_ERR_INVALID_ARGS;
    }
    flock_return_t ret = flk_cen_settings_read(args->config, &args->initial_view, &group->settings, err);
    if (ret != FLOCK_SUCCESS)
        return ret;
    group->term = group->version = args->join ? 0 : 1;
    flock_member_t *self = flock_group_view_add_member(&group->selves, args->self_addr_str, group->id);
    group->self = self ? self->address : NULL;
    FLOCK_GROUP_VIEW_MOVE(&args->initial_view, &group->view);
    if (!group->self || !flock_group_view_add_metadata(&group->view, "__type__", "centralized"))
        return FLOCK_ERR_ALLOCATION;
    ret = choose_primary(group, args->join, err);
    const struct flk_resume *from = flk_backend_resumes(args);
    if (ret == FLOCK_SUCCESS && from && from->file.term > 0)
        resume(group, from);
    return ret;
}

static flock_return_t start(struct flk_cen_group *group, struct dango_error *err)
{
    group->rpc = MARGO_REGISTER_PROVIDER(group->mid, FLK_RPC_CENTRALIZED, flk_cen_request_t, flk_cen_answer_t,
                                         handle_ult, group->id, group->pool);
    return flk_serve(group->mid, group->rpc, group, group->pool, tick, &group->timer, err);
}

static void stop(struct flk_cen_group *group)
{
    flk_cen_lock(group);
    group->leaving = true;
    flk_cen_unlock(group);
    if (group->timer)
        margo_timer_cancel(group->timer);
}

static flock_return_t centralized_init(flock_backend_init_args_t *args, void **context)
{
    assert(args && args->config && context);
    struct dango_error *err = flk_backend_error(args);
    struct flk_cen_group *group = calloc(1, sizeof *group);
    if (!group)
        return FLOCK_ERR_ALLOCATION;
    margo_push_finalize_callback(args->mid, free, group);
    flock_return_t ret = init_state(group, args, err);
    if (ret == FLOCK_SUCCESS)
        ret = start(group, err);
    if (ret == FLOCK_SUCCESS && args->join)
        ret = flk_cen_join(group, dango_deadline_ns(group->settings.join_timeout_ms), err);
    if (ret != FLOCK_SUCCESS) {
        stop(group);
        dango_gate_close(&group->gate);
        release(group);
        return ret;
    }
    flk_events_discard(&group->events);
    margo_timer_start(group->timer, 1);
    *context = group;
    return FLOCK_SUCCESS;
}

static flock_return_t centralized_destroy(void *context)
{
    assert(context);
    struct flk_cen_group *group = context;
    stop(group);
    flk_cen_lock(group);
    bool primary = flk_cen_is_primary(group), alone = group->view.members.size < 2, dead = group->is_dead;
    flk_cen_unlock(group);
    if (primary && !alone)
        flk_cen_hand_over(group);
    else if (!primary && !dead)
        flk_cen_leave(group);
    dango_gate_close(&group->gate);
    release(group);
    return FLOCK_SUCCESS;
}

static flock_return_t centralized_get_config(void *context, void (*fn)(void *, const struct json_object *), void *uargs)
{
    struct flk_cen_group *group = context;
    flk_cen_lock(group);
    struct json_object *config = flk_cen_settings_dump(&group->settings, group->primary, group->primary_id);
    flk_cen_unlock(group);
    fn(uargs, config);
    json_object_put(config);
    return FLOCK_SUCCESS;
}

static flock_return_t centralized_get_view(void *context, void (*fn)(void *, const flock_group_view_t *), void *uargs)
{
    assert(context && fn);
    fn(uargs, &((struct flk_cen_group *)context)->view);
    return FLOCK_SUCCESS;
}

static flock_return_t centralized_add_metadata(void *context, const char *key, const char *value)
{
    return flk_cen_metadata(context, key, value);
}

static flock_return_t centralized_remove_metadata(void *context, const char *key)
{
    return flk_cen_metadata(context, key, NULL);
}

bool flk_cen_writes_file(void *context)
{
    struct flk_cen_group *group = context;
    flk_cen_lock(group);
    bool writes = flk_cen_is_primary(group) && !group->leaving;
    flk_cen_unlock(group);
    return writes;
}

bool flk_cen_stamp(void *context, struct flk_stamp *stamp)
{
    struct flk_cen_group *group = context;
    flk_cen_lock(group);
    *stamp = (struct flk_stamp){
        .term = group->term, .change = group->version, .owner = strdup(group->primary), .owner_id = group->primary_id};
    flk_cen_unlock(group);
    return stamp->owner != NULL;
}

void flk_cen_statistics(void *context, struct json_object *json)
{
    struct flk_cen_group *group = context;
    flk_cen_lock(group);
    json_object_object_add(json, "primary", json_object_new_boolean(flk_cen_is_primary(group)));
    json_object_object_add(json, "term", json_object_new_uint64(group->term));
    json_object_object_add(json, "version", json_object_new_uint64(group->version));
    json_object_object_add(json, "pings", json_object_new_uint64(group->stats.pings));
    json_object_object_add(json, "pings_failed", json_object_new_uint64(group->stats.pings_failed));
    json_object_object_add(json, "deaths", json_object_new_uint64(group->stats.deaths));
    flk_cen_unlock(group);
}

flock_backend_impl flk_centralized_backend = {
    .name = "centralized",
    .init_group = centralized_init,
    .destroy_group = centralized_destroy,
    .get_config = centralized_get_config,
    .get_view = centralized_get_view,
    .add_metadata = centralized_add_metadata,
    .remove_metadata = centralized_remove_metadata,
};
