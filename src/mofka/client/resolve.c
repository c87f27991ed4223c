/*
 * Where a partition is now. The group file names the servers (one that was restarted has written its new address there),
 * one of them has the master database, and that has the address of the server that keeps the partition.
 *
 * The file is as good as who writes it: a copy on another machine gets old. When nobody in it has the master database, the
 * members that a server knows that does answer are asked; when none does, those that were known at the last search.
 *
 * Who opens a driver asks all servers with a deadline that is short for a server that hangs, and if that was too short for
 * one that is only busy, again with longer ones; users are told at once whom they wait for. When something was lost, every
 * server is asked with a deadline of its own, so that one that hangs costs seconds and not the whole time that a link has.
 * Links that look at the same time share the search for the master database: one of them looks, and what it found, or that
 * it found nothing, holds for the others for a moment. So that they need not wait for many servers that hang, a search ends
 * when these have cost some seconds in all; the next one goes on behind them.
 */
#include "mofka/client/driver.h"
#include "mofka/registry/group.h"
#include "mofka/registry/master.h"
#include "util/clock.h"
#include "util/json.h"
#include "util/log.h"

#include <uuid/uuid.h>

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* How long the result of a search holds for others: longer if servers hang, which each of them would wait for in turn. */
#define FRESH_NS      (100 * DANGO_NS_PER_MS)
#define FRESH_HUNG_NS (1000 * DANGO_NS_PER_MS)
/* How long a server may take to answer; and when a driver is opened, in each round: as long as anywhere, in all. */
#define ASK_MS 2000.0
static const double opening_ms[] = {500.0, 4000.0, BEDROCK_CLIENT_TIMEOUT_MS - 500.0 - 4000.0};
#define ROUNDS (sizeof opening_ms / sizeof *opening_ms)
/* How long those that hang may keep up one search. */
#define HUNG_NS (4 * DANGO_NS_PER_S - DANGO_NS_PER_S / 10)

int mofka_search_init(struct mofka_driver *driver, struct dango_error *err)
{
    if (ABT_mutex_create(&driver->search_lock) != ABT_SUCCESS)
        return dango_error_set(err, DANGO_ERR_NO_MEMORY, "out of memory");
    int code = bedrock_client_create(mofka_engine_instance(driver->engine), &driver->prober, err);
    if (code == 0)
        bedrock_client_set_timeout(driver->prober, ASK_MS);
    return code;
}

void mofka_search_fini(struct mofka_driver *driver)
{
    dango_mofka_registry_close(atomic_load(&driver->registry));
    for (size_t i = 0; i < driver->retired_count; i++)
        dango_mofka_registry_close(driver->retired[i]);
    free(driver->retired);
    flock_group_view_clear(&driver->view);
    bedrock_client_destroy(driver->prober);
    if (driver->search_lock)
        ABT_mutex_free(&driver->search_lock);
}

/* ---- the master database ---- */

/* Takes the view of the first server that answers, and that of the one with the master database. A view that cannot be had
 * leaves the one from before. */
static void remember_members(struct mofka_driver *driver, struct json_object *config, const char *address)
{
    flock_group_view_t view = FLOCK_GROUP_VIEW_INITIALIZER;
    int id = dango_mofka_find_provider(config, "flock");
    if (id >= 0 &&
        dango_mofka_fetch_view(mofka_engine_instance(driver->engine), address, (uint16_t)id, &view) == FLOCK_SUCCESS) {
        flock_group_view_clear(&driver->view);
        FLOCK_GROUP_VIEW_MOVE(&view, &driver->view);
        driver->view_is_new = true;
    }
    flock_group_view_clear(&view);
}

/* Asks one server; *id: of its master database, or -1. */
static int ask(struct mofka_driver *driver, const char *address, int *id, struct dango_error *err)
{
    struct bedrock_service *service;
    char *text;
    *id = -1;
    int code = bedrock_service_open(driver->prober, address, 0, &service, err);
    if (code != 0)
        return code;
    code = bedrock_service_get_config(service, &text, err);
    bedrock_service_close(service);
    if (code != 0)
        return code;
    struct json_object *config = dango_json_parse(text, strlen(text), err);
    free(text);
    if (!config)
        return err ? err->code : DANGO_ERR_PROTOCOL;
    *id = dango_mofka_find_master(config);
    if (*id >= 0 || !driver->view_is_new)
        remember_members(driver, config, address);
    json_object_put(config);
    return 0;
}

/* Keeps `old` until the driver is closed, since it may be in use, and gives back the one that was kept of the same place as
 * `*registry`, if there is one: as many are kept as there have been places, of some hundred bytes each. */
static int retire(struct mofka_driver *driver, struct mofka_registry *old, struct mofka_registry **registry,
                  struct dango_error *err)
{
    const char *locator = dango_mofka_registry_locator(*registry);
    for (size_t i = 0; i < driver->retired_count; i++) {
        if (strcmp(dango_mofka_registry_locator(driver->retired[i]), locator) != 0)
            continue;
        dango_mofka_registry_close(*registry);
        *registry = driver->retired[i];
        driver->retired[i] = old;
        return 0;
    }
    struct mofka_registry **retired =
        reallocarray(driver->retired, driver->retired_count + 1, sizeof(struct mofka_registry *));
    if (!retired)
        return dango_error_set(err, DANGO_ERR_NO_MEMORY, "out of memory");
    driver->retired = retired;
    retired[driver->retired_count++] = old;
    return 0;
}

/* Takes over the registry at that place, unless it is the one that we have. */
static int use_master(struct mofka_driver *driver, const char *address, int id, struct dango_error *err)
{
    struct mofka_registry *registry, *old = atomic_load(&driver->registry);
    int code = dango_mofka_registry_open(mofka_engine_instance(driver->engine), address, (uint16_t)id, &registry, err);
    if (code != 0)
        return code;
    if (old && strcmp(dango_mofka_registry_locator(old), dango_mofka_registry_locator(registry)) == 0) {
        dango_mofka_registry_close(registry);
        return 0;
    }
    code = old ? retire(driver, old, &registry, err) : 0;
    if (code != 0) {
        dango_mofka_registry_close(registry);
        return code;
    }
    atomic_store(&driver->registry, registry);
    return 0;
}

/* Why there is no master database: `failure` is that of the first server that did not answer. */
static int explain_search(const struct dango_error *failure, size_t answers, size_t count, struct dango_error *err)
{
    if (failure->code == DANGO_ERR_DISCONNECTED && answers == 0)
        return dango_error_set(err, failure->code,
                               "nobody listed in it answers: the service has probably ended; start it again, or give "
                               "another file (%s)",
                               failure->text);
    if (failure->code != 0 && answers == 0)
        return dango_error_set(err, failure->code, "%s", failure->text);
    if (failure->code != 0)
        return dango_error_set(err, failure->code,
                               "none of the %zu servers that answer, of %zu, has the master database: %s", answers,
                               count, failure->text);
    return dango_error_set(err, DANGO_ERR_NOT_FOUND,
                           "no server of %zu has a master database (a yokan provider with the tag \"" MOFKA_MASTER_TAG
                           "\"), or the one that has it has left the group",
                           count);
}

struct inquiry {
    struct mofka_driver *driver;
    bool opening;
    bool tell; /* the user of servers that do not answer */
    size_t met, asked, answers;
    int64_t hung_ns;            /* what those that hang have cost */
    struct dango_error failure; /* of the first that did not answer */
};

/* Asks one server; *code: what came of it if it has the master database, which is the result. */
static bool inquire(struct inquiry *inquiry, const char *address, int *code, struct dango_error *err)
{
    struct dango_error mine = {0};
    int id;
    bool enough = !inquiry->opening && inquiry->hung_ns >= HUNG_NS;
    if (inquiry->met++ < inquiry->driver->search_skip || enough)
        return false;
    inquiry->asked++;
    int64_t began_ns = dango_clock_ns();
    if (ask(inquiry->driver, address, &id, &mine) == 0) {
        inquiry->answers++;
    } else {
        if (inquiry->tell)
            log_warning("mofka", "group file %s: %s; looking on without it", inquiry->driver->group_file, mine.text);
        if (inquiry->failure.code == 0)
            inquiry->failure = mine;
        if (mine.code == DANGO_ERR_TIMEOUT)
            inquiry->hung_ns += dango_clock_ns() - began_ns;
    }
    if (id >= 0)
        *code = use_master(inquiry->driver, address, id, err);
    return id >= 0;
}

static bool is_listed(char *const *addresses, size_t count, const char *address)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(addresses[i], address) == 0)
            return true;
    return false;
}

/* Those whom the file does not name. The first that answers may know others, which are asked, too. */
static bool inquire_members(struct inquiry *inquiry, char *const *addresses, size_t count, int *code,
                            struct dango_error *err)
{
    struct mofka_driver *driver = inquiry->driver;
    bool found = false, was_new;
    do {
        flock_group_view_t view = FLOCK_GROUP_VIEW_INITIALIZER;
        was_new = driver->view_is_new;
        if (!flock_group_view_copy(&driver->view, &view))
            break;
        for (size_t i = 0; !found && i < flock_group_view_member_count(&view); i++) {
            const char *address = flock_group_view_member_at(&view, i)->address;
            if (!is_listed(addresses, count, address))
                found = inquire(inquiry, address, code, err);
        }
        flock_group_view_clear(&view);
    } while (!found && !was_new && driver->view_is_new);
    return found;
}

/* Asks the servers of the group file, then other members, up to the one with the master database. */
static bool inquire_all(struct inquiry *inquiry, char *const *addresses, size_t count, int *code,
                        struct dango_error *err)
{
    bool found = false;
    inquiry->driver->view_is_new = false;
    for (size_t i = 0; i < count && !found; i++)
        found = inquire(inquiry, addresses[i], code, err);
    return found || inquire_members(inquiry, addresses, count, code, err);
}

/* In rounds, as long as some server has not answered in time. */
static bool inquire_patiently(struct inquiry *inquiry, char *const *addresses, size_t count, int *code,
                              struct dango_error *err)
{
    struct mofka_driver *driver = inquiry->driver;
    bool found = false;
    for (size_t round = 0; !found && round < ROUNDS && (round == 0 || inquiry->hung_ns > 0); round++) {
        *inquiry = (struct inquiry){.driver = driver, .opening = true, .tell = round == 0};
        bedrock_client_set_timeout(driver->prober, opening_ms[round]);
        found = inquire_all(inquiry, addresses, count, code, err);
    }
    bedrock_client_set_timeout(driver->prober, ASK_MS);
    return found;
}

static int search_servers(struct mofka_driver *driver, bool opening, struct dango_error *err)
{
    struct inquiry inquiry = {.driver = driver};
    char **addresses;
    size_t count;
    int code = bedrock_group_file_read(driver->group_file, &addresses, &count, err);
    if (code != 0)
        return code;
    /* The part of a search that has ended early does not make that one good. */
    if (driver->search_skip > 0)
        inquiry.failure = driver->search_result;
    bool found = opening ? inquire_patiently(&inquiry, addresses, count, &code, err)
                         : inquire_all(&inquiry, addresses, count, &code, err);
    bedrock_addresses_free(addresses, count);
    size_t passed = driver->search_skip + inquiry.asked;
    driver->search_skip = !found && passed < inquiry.met ? passed : 0;
    return found ? code : explain_search(&inquiry.failure, inquiry.answers, inquiry.asked, err);
}

int mofka_find_master(struct mofka_driver *driver, bool opening, struct dango_error *err)
{
    ABT_mutex_lock(driver->search_lock);
    int64_t fresh_ns = driver->search_result.code == DANGO_ERR_TIMEOUT ? FRESH_HUNG_NS : FRESH_NS;
    if (driver->searched_ns == 0 || dango_clock_ns() - driver->searched_ns > fresh_ns) {
        struct dango_error found = {0};
        search_servers(driver, opening, &found);
        driver->search_result = found;
        driver->searched_ns = dango_clock_ns();
    }
    const struct dango_error result = driver->search_result;
    ABT_mutex_unlock(driver->search_lock);
    return result.code == 0 ? 0 : dango_error_set(err, result.code, "%s", result.text);
}

bool mofka_master_moved(struct mofka_driver *driver, struct mofka_registry **registry, int code)
{
    struct dango_error err;
    if (!mofka_is_absence(code))
        return false;
    if (mofka_find_master(driver, false, &err) != 0)
        return false; /* the first failure says more */
    struct mofka_registry *before = *registry;
    *registry = atomic_load(&driver->registry);
    return *registry != before;
}

/* ---- the partition ---- */

struct search {
    struct mofka_driver *driver;
    const uint8_t *uuid;
    struct mofka_target *target;
    bool found;
};

/* Is this it? */
static int look_at(void *arg, const struct mofka_partition_record *record, struct dango_error *err)
{
    struct search *search = arg;
    const char *uuid = dango_json_get_string(record->json, "uuid");
    const char *address = dango_json_get_string(record->json, "address");
    const char *problem = dango_json_get_string(record->json, "error");
    struct json_object *id = dango_json_get(record->json, "provider_id");
    int64_t provider_id = json_object_is_type(id, json_type_int) ? json_object_get_int64(id) : -1;
    uuid_t parsed;
    if (search->found || !uuid || uuid_parse(uuid, parsed) != 0 || memcmp(parsed, search->uuid, sizeof parsed) != 0)
        return 0;
    if (problem)
        return dango_error_set(err, DANGO_ERR_DISCONNECTED, "its server does not serve it: %s", problem);
    if (!address || provider_id < 0 || provider_id > UINT16_MAX)
        return dango_error_set(err, DANGO_ERR_CORRUPT, "the master database has no sound record of it");
    int code = mofka_target_init(search->target, search->driver->engine, address, (uint16_t)provider_id, err);
    search->found = code == 0;
    return code;
}

int mofka_resolve(struct mofka_driver *driver, const char *topic, const uint8_t uuid[16], struct mofka_target *target,
                  struct dango_error *err)
{
    struct search search = {.driver = driver, .uuid = uuid, .target = target};
    int code = mofka_find_master(driver, false, err);
    if (code == 0)
        code = dango_mofka_registry_partitions(atomic_load(&driver->registry), topic, look_at, &search, err);
    if (code != 0 && search.found)
        mofka_target_fini(target);
    if (code == 0 && !search.found)
        code = dango_error_set(err, DANGO_ERR_NOT_FOUND, "the master database does not know the partition (any more)");
    return code;
}
