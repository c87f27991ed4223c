/*
 * The state of a centralized group: who is the primary, and how the view changes. Everything here is called with the lock
 * held, notes events and reports nothing. At the primary every member other than itself has a struct flk_cen_ping.
 */
#include "flock/backends/centralized/centralized.h"

#include "util/clock.h"
#include "util/json.h"
#include "util/log.h"

#include <assert.h>
#include <inttypes.h>

bool flk_cen_is_self(const struct flk_cen_group *group, const char *address, uint16_t id)
{
    assert(address);
    return id == group->id && strcmp(address, group->self) == 0;
}

bool flk_cen_is_primary(const struct flk_cen_group *group)
{
    return group->primary && !group->is_dead && flk_cen_is_self(group, group->primary, group->primary_id);
}

bool flk_cen_is_out(const struct flk_cen_group *group)
{
    return group->is_dead || group->term == 0;
}

int flk_cen_rank(const struct flk_cen_group *group, uint64_t term, const char *primary, uint16_t primary_id)
{
    assert(primary && group->primary);
    if (term != group->term)
        return term < group->term ? -1 : 1;
    int order = strcmp(group->primary, primary);
    return order ? order : (int)group->primary_id - (int)primary_id;
}

bool flk_cen_is_plausible(struct flk_cen_group *group, uint64_t term, uint64_t version)
{
    bool far = (term > group->term && term - group->term > CEN_JUMP_MAX) ||
               (version > group->version && version - group->version > CEN_JUMP_MAX);
    if (far && !group->told_absurd)
        log_warning("flock",
                    "refused a view of term %" PRIu64 ", version %" PRIu64 " (ours are %" PRIu64 ", %" PRIu64
                    "): no group gets there. Its sender is broken or hostile; further ones are refused silently",
                    term, version, group->term, group->version);
    group->told_absurd |= far;
    return !far;
}

int64_t flk_cen_next_ping_ns(struct flk_cen_group *group, int64_t from_ns)
{
    const struct flk_cen_settings *settings = &group->settings;
    double range_ms = settings->interval_max_ms - settings->interval_min_ms;
    double part = (double)(flk_random_next(&group->random) >> 11) / (double)(UINT64_C(1) << 53);
    return from_ns + (int64_t)((settings->interval_min_ms + part * range_ms) * (double)DANGO_NS_PER_MS);
}

static bool track(struct flk_cen_group *group, flock_member_t *member)
{
    if (member->extra.data || flk_cen_is_self(group, member->address, member->provider_id))
        return true;
    struct flk_cen_ping *ping = calloc(1, sizeof *ping);
    if (!ping)
        return false;
    /* Members of an initial view may start later than the primary. */
    ping->next_ns = flk_cen_next_ping_ns(group, dango_clock_ns());
    member->extra.data = ping;
    member->extra.free = free;
    return true;
}

/* A primary pings everybody, a secondary nobody. */
static bool track_all(struct flk_cen_group *group)
{
    flock_group_view_clear_extra(&group->view);
    bool tracked = true;
    for (uint64_t i = 0; flk_cen_is_primary(group) && i < group->view.members.size; i++)
        tracked &= track(group, &group->view.members.data[i]);
    return tracked;
}

bool flk_cen_set_primary(struct flk_cen_group *group, const char *primary, uint16_t primary_id)
{
    assert(primary);
    char *copy = strdup(primary);
    if (!copy)
        return false;
    free(group->primary);
    group->primary = copy;
    group->primary_id = primary_id;
    group->heard_ns = dango_clock_ns();
    flk_events_writer(&group->events);
    struct json_object *config = flk_cen_settings_dump(&group->settings, primary, primary_id);
    const char *text = json_object_to_json_string_ext(config, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE);
    const char *old = flock_group_view_find_metadata(&group->view, "__config__");
    bool changed = !old || strcmp(old, text) != 0;
    bool set = flock_group_view_add_metadata(&group->view, "__config__", text) != NULL;
    if (set && changed)
        flk_events_metadata(&group->events, "__config__", text);
    json_object_put(config);
    return track_all(group) && set;
}

void flk_cen_forget_lost(struct flk_cen_group *group, const char *address, uint16_t id)
{
    flock_member_t *lost = flock_group_view_find_member(&group->lost, address, id);
    if (lost)
        flock_group_view_remove_member(&group->lost, lost);
}

bool flk_cen_add(struct flk_cen_group *group, const char *address, uint16_t id)
{
    assert(address);
    if (flock_group_view_find_member(&group->view, address, id))
        return false;
    flock_member_t *member = flock_group_view_add_member(&group->view, address, id);
    if (!member)
        return false;
    if (flk_cen_is_primary(group) && !track(group, member)) {
        flock_group_view_remove_member(&group->view, member);
        return false;
    }
    flk_cen_forget_lost(group, address, id);
    flk_events_member(&group->events, FLOCK_MEMBER_JOINED, address, id);
    return true;
}

bool flk_cen_remove(struct flk_cen_group *group, flock_update_t kind, const char *address, uint16_t id)
{
    assert(kind == FLOCK_MEMBER_LEFT || kind == FLOCK_MEMBER_DIED);
    flock_member_t *member = flock_group_view_find_member(&group->view, address, id);
    if (!member)
        return false;
    /* Before: `address` may be the member's own. */
    flk_events_member(&group->events, kind, address, id);
    if (kind == FLOCK_MEMBER_DIED && group->lost.members.size < CEN_LOST_MAX)
        flock_group_view_add_member(&group->lost, address, id);
    return flock_group_view_remove_member(&group->view, member);
}

bool flk_cen_move(struct flk_cen_group *group, const char *from, const char *to, uint16_t id)
{
    flock_member_t *old = flock_group_view_find_member(&group->view, from, id);
    if (!old || flock_group_view_find_member(&group->view, to, id))
        return false;
    flock_member_t *new = flock_group_view_add_member(&group->view, to, id);
    if (!new)
        return false;
    bool is_self = flk_cen_is_self(group, from, id);
    if (flk_cen_is_primary(group) && !is_self && !track(group, new)) {
        flock_group_view_remove_member(&group->view, new);
        return false;
    }
    flk_cen_forget_lost(group, to, id);
    flk_events_moved(&group->events, from, to, id);
    return flock_group_view_remove_member(&group->view, flock_group_view_find_member(&group->view, from, id));
}

bool flk_cen_set_metadata(struct flk_cen_group *group, const char *key, const char *value)
{
    if (strncmp(key, "__", 2) == 0)
        return false; /* each member's own */
    const char *old = flock_group_view_find_metadata(&group->view, key);
    if (old ? value && strcmp(old, value) == 0 : !value)
        return false;
    bool changed = value ? flock_group_view_add_metadata(&group->view, key, value) != NULL
                         : flock_group_view_remove_metadata(&group->view, key);
    if (changed)
        flk_events_metadata(&group->events, key, value);
    return changed;
}

/* Whether the cause of a change is that a member of the one view is in the other at another address. */
static bool is_move(const flk_cen_request_t *cause, flock_group_view_t *old, flock_group_view_t *new)
{
    return cause && cause->update == FLOCK_MEMBER_MOVED && flock_group_view_find_member(old, cause->value, cause->id) &&
           !flock_group_view_find_member(new, cause->value, cause->id) &&
           flock_group_view_find_member(new, cause->name, cause->id) &&
           !flock_group_view_find_member(old, cause->name, cause->id);
}

static bool has_moved(const flk_cen_request_t *move, const flock_member_t *member)
{
    return move && move->id == member->provider_id &&
           (strcmp(move->name, member->address) == 0 || strcmp(move->value, member->address) == 0);
}

/* Members of `from` that are not in `in`: an event each. */
static void note_missing(struct flk_cen_group *group, flock_group_view_t *from, flock_group_view_t *in,
                         flock_update_t kind, const flk_cen_request_t *cause, const flk_cen_request_t *move)
{
    for (uint64_t i = 0; i < from->members.size; i++) {
        const flock_member_t *member = &from->members.data[i];
        if (flock_group_view_find_member(in, member->address, member->provider_id) ||
            flk_cen_is_self(group, member->address, member->provider_id) || has_moved(move, member))
            continue;
        bool is_cause = kind != FLOCK_MEMBER_JOINED && cause && cause->update == FLOCK_MEMBER_LEFT &&
                        cause->id == member->provider_id && strcmp(cause->name, member->address) == 0;
        flk_events_member(&group->events, is_cause ? FLOCK_MEMBER_LEFT : kind, member->address, member->provider_id);
    }
}

/* "__config__" is not among them: every member writes its own. */
static void note_metadata(struct flk_cen_group *group, const flock_group_view_t *old, const flock_group_view_t *new)
{
    for (uint64_t i = 0; i < new->metadata.size; i++) {
        const flock_metadata_t *entry = &new->metadata.data[i];
        const char *before = flock_group_view_find_metadata(old, entry->key);
        if (strcmp(entry->key, "__config__") != 0 && (!before || strcmp(before, entry->value) != 0))
            flk_events_metadata(&group->events, entry->key, entry->value);
    }
    for (uint64_t i = 0; i < old->metadata.size; i++) {
        if (!flock_group_view_find_metadata(new, old->metadata.data[i].key))
            flk_events_metadata(&group->events, old->metadata.data[i].key, NULL);
    }
}

void flk_cen_adopt(struct flk_cen_group *group, uint64_t term, uint64_t version, const char *primary,
                   uint16_t primary_id, flock_group_view_t *view, const flk_cen_request_t *cause)
{
    assert(view && primary);
    int rank = flk_cen_rank(group, term, primary, primary_id);
    bool alone = flock_group_view_find_member(view, group->self, group->id) == NULL;
    if (rank < 0 || (rank == 0 && version < group->version) || alone)
        return;
    const flk_cen_request_t *move = is_move(cause, &group->view, view) ? cause : NULL;
    note_missing(group, &group->view, view, FLOCK_MEMBER_DIED, cause, move);
    note_missing(group, view, &group->view, FLOCK_MEMBER_JOINED, cause, move);
    if (move)
        flk_events_moved(&group->events, move->value, move->name, move->id);
    note_metadata(group, &group->view, view);
    const char *own = flock_group_view_find_metadata(&group->view, "__config__");
    char *config = own ? strdup(own) : NULL;
    flock_group_view_clear(&group->view);
    FLOCK_GROUP_VIEW_MOVE(view, &group->view);
    if (config)
        flock_group_view_add_metadata(&group->view, "__config__", config);
    free(config);
    group->term = term;
    group->version = version;
    group->is_dead = false;
    flk_cen_set_primary(group, primary, primary_id);
}
