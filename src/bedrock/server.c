/*
 * The daemon as a whole: from the text of a configuration to running providers and back.
 *
 *     document → config (checked) → libraries → config checked against the modules → engines → management RPCs
 *     → addresses of the launch exchanged → providers created in order → modules attached → providers ready
 *
 * Each stage is undone by bedrock_server_destroy if it was reached, in reverse. All checks that need no network come
 * before the engines; references to pools are checked for all providers before the first one is created.
 *
 * Threads: start, wait and destroy run in the primary ULT. RPC handlers are ULTs of the management pool and use the
 * manager, which has its own locks. `stop_requested` and `wake` are guarded by a pthread mutex, because a thread that
 * waits for signals sets them.
 */
#include "bedrock/server_internal.h"
#include "bedrock/document.h"
#include "bedrock/expression.h"
#include "bedrock/host.h"
#include "bedrock/output.h"
#include "bedrock/resolve.h"
#include "bedrock/rpc.h"
#include "flock/mpi.h"
#include "margo/dango_margo.h"
#include "util/json.h"
#include "util/log.h"

#include <assert.h>
#include <ctype.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define NAME_VARIABLE "DANGO_SERVER_NAME"

struct bedrock_server {
    struct dango_world world;
    struct json_object *addresses; /* of the processes of the launch, by rank; NULL: not known, */
    struct dango_error unknown;    /* and why */
    struct bdk_registry *registry;
    struct bdk_config config;
    struct bdk_engines engines;
    struct bdk_manager manager;
    bool manager_exists;
    struct bedrock_host *host;
    ABT_pool pool; /* of the management RPCs; NULL: the RPC pool of each engine */
    pthread_mutex_t stop_lock;
    bool stop_requested;
    bool running;             /* the thread runtime runs: `wake` may be used */
    ABT_eventual_memory wake; /* set when stop is requested */
};

struct bedrock_server *bedrock_server_create(void)
{
    struct bedrock_server *server = calloc(1, sizeof *server);
    if (!server)
        return NULL;
    server->wake = (ABT_eventual_memory)ABT_EVENTUAL_INITIALIZER;
    server->registry = bdk_registry_create();
    server->host = bdk_host_create(server);
    if (!server->registry || !server->host) {
        bdk_registry_destroy(server->registry);
        bdk_host_destroy(server->host);
        free(server);
        return NULL;
    }
    pthread_mutex_init(&server->stop_lock, NULL);
    return server;
}

/* ---- start ---- */

static int load_libraries(struct bedrock_server *server, struct dango_error *err)
{
    for (size_t i = 0; i < server->config.num_libraries; i++) {
        if (bdk_registry_load(server->registry, bdk_config_library(&server->config, i), err) < 0)
            return dango_error_prefix(err, "libraries[%zu]", i);
    }
    return 0;
}

/* What is known before the configuration is; NULL if nothing was given. */
static const char *given_name(const struct bedrock_server *server)
{
    const char *name = bedrock_host_name(server->host), *from_environment = getenv(NAME_VARIABLE);
    return name ? name : from_environment && *from_environment ? from_environment : NULL;
}

/* The first that says it: the caller, the environment, the configuration, the launcher. */
static int name_server(struct bedrock_server *server, struct dango_error *err)
{
    const char *name = given_name(server);
    char rank[16];
    if (bedrock_host_name(server->host))
        return 0;
    if (name)
        return bedrock_host_set_name(server->host, name, err) < 0 ? dango_error_prefix(err, NAME_VARIABLE) : 0;
    if (server->config.settings.name)
        return bedrock_host_set_name(server->host, server->config.settings.name, err) < 0
                   ? dango_error_prefix(err, "bedrock.name")
                   : 0;
    snprintf(rank, sizeof rank, "%d", server->world.rank);
    return server->world.launched ? bedrock_host_set_name(server->host, rank, err) : 0;
}

static int read_config(struct bedrock_server *server, const char *text, size_t length, struct dango_error *err)
{
    dango_world_read(&server->world);
    struct json_object *document = bdk_document_parse(text, length, &server->world, given_name(server), err);
    if (!document)
        return err->code;
    int status = bdk_config_parse(&server->config, document, err);
    json_object_put(document);
    if (status == 0)
        status = load_libraries(server, err);
    if (status == 0)
        status = bdk_config_check(&server->config, server->registry, err);
    return status < 0 ? status : name_server(server, err);
}

static int find_management_pool(struct bedrock_server *server, struct dango_error *err)
{
    if (!server->config.settings.pool)
        return 0;
    struct margo_pool_info info;
    struct json_object *name = json_object_new_string(server->config.settings.pool);
    int status = dango_margo_find_pool(server->engines.list[0].mid, name, "bedrock.pool", &info, err);
    json_object_put(name);
    if (status == 0)
        server->pool = info.pool;
    return status;
}

static ABT_eventual wake_of(struct bedrock_server *server)
{
    return ABT_EVENTUAL_MEMORY_GET_HANDLE(&server->wake);
}

/* A request to stop may have come before anybody could wait for it. */
static void arm_wake(struct bedrock_server *server)
{
    pthread_mutex_lock(&server->stop_lock);
    server->running = true;
    if (server->stop_requested)
        ABT_eventual_set(wake_of(server), NULL, 0);
    pthread_mutex_unlock(&server->stop_lock);
}

static int start_management(struct bedrock_server *server, struct dango_error *err)
{
    const struct bdk_settings *settings = &server->config.settings;
    arm_wake(server);
    bdk_manager_init(&server->manager, server->registry, &server->engines, settings);
    server->manager_exists = true;
    server->manager.unknown = &server->unknown;
    int status = find_management_pool(server, err);
    for (size_t i = 0; i < server->engines.count && status == 0; i++)
        status =
            bdk_rpcs_register(server, server->engines.list[i].mid, (uint16_t)settings->provider_id, server->pool, err);
    return status;
}

bool bdk_server_is_stopping(struct bedrock_server *server)
{
    pthread_mutex_lock(&server->stop_lock);
    bool requested = server->stop_requested;
    pthread_mutex_unlock(&server->stop_lock);
    return requested;
}

static int start_providers(struct bedrock_server *server, struct dango_error *err)
{
    struct bdk_config *config = &server->config;
    int status = 0;
    for (size_t i = 0; i < config->num_providers && status == 0; i++)
        status = bdk_resolve_check(&server->manager, &config->providers[i], err);
    for (size_t i = 0; i < config->num_providers && status == 0; i++) {
        uint16_t id;
        if (bdk_server_is_stopping(server))
            return dango_error_set(err, DANGO_ERR_CANCELED, "asked to stop while starting");
        status = bdk_manager_start(&server->manager, &config->providers[i], true, &id, err);
    }
    if (status == 0)
        status = bdk_host_attach(server->host, server->registry, err);
    return status < 0 ? status : bdk_manager_ready(&server->manager, err);
}

/* A reference to a provider on another rank: `@12"`. */
static bool mentions_rank(const char *text, size_t length)
{
    for (const char *end = text + length, *at = text; (at = memchr(at, '@', (size_t)(end - at)));) {
        const char *digit = ++at;
        while (at < end && isdigit((unsigned char)*at))
            at++;
        if (at > digit && at < end && *at == '"')
            return true;
    }
    return false;
}

/*
 * Whether some process of the launch may form a group by MPI, or refer to another by its rank: then all of them initialise
 * MPI, which knows only all or none, and exchange their addresses. Conditions leave different providers to different
 * processes; the text is the same for all.
 */
static void exchange_addresses(struct bedrock_server *server, const char *text, size_t length)
{
    static const char word[] = "\"mpi\"";
    if (memmem(text, length, word, sizeof word - 1) || mentions_rank(text, length))
        dango_flock_mpi_enter();
    server->addresses = dango_flock_mpi_addresses(server->engines.list[0].address, &server->unknown);
    server->manager.addresses = server->addresses;
}

int bedrock_server_set_name(struct bedrock_server *server, const char *name, struct dango_error *err)
{
    return bedrock_host_set_name(server->host, name, err);
}

int bedrock_server_start(struct bedrock_server *server, const char *address, const char *config, size_t length,
                         struct dango_error *err)
{
    assert(server->engines.count == 0 && config && err);
    int status;
    if ((status = read_config(server, config, length, err)) < 0 ||
        (status = bdk_engines_start(&server->engines, &server->config, address, err)) < 0)
        return status;
    /* In this order: who has our address may ask at once. */
    if ((status = start_management(server, err)) < 0)
        return status;
    exchange_addresses(server, config, length);
    if ((status = start_providers(server, err)) < 0)
        return status;
    dango_flock_mpi_leave();
    return 0;
}

/* ---- end ---- */

void bedrock_server_request_stop(struct bedrock_server *server)
{
    pthread_mutex_lock(&server->stop_lock);
    if (!server->stop_requested && server->running)
        ABT_eventual_set(wake_of(server), NULL, 0);
    server->stop_requested = true;
    pthread_mutex_unlock(&server->stop_lock);
}

void bedrock_server_wait(struct bedrock_server *server)
{
    assert(server->running);
    ABT_eventual_wait(wake_of(server), NULL);
}

void bedrock_server_destroy(struct bedrock_server *server)
{
    if (!server)
        return;
    if (server->manager_exists) {
        bdk_host_detach(server->host);
        bdk_manager_end(&server->manager);
    }
    /* Handlers that still run find a manager without providers; they have ended when the engines have stopped. */
    bdk_engines_stop(&server->engines);
    bdk_host_destroy(server->host);
    json_object_put(server->addresses);
    bdk_config_release(&server->config);
    bdk_registry_destroy(server->registry);
    pthread_mutex_destroy(&server->stop_lock);
    free(server);
}

/* ---- what runs ---- */

const char *bedrock_server_address(const struct bedrock_server *server)
{
    assert(server->engines.count > 0);
    return server->engines.list[0].address;
}

margo_instance_id bedrock_server_instance(const struct bedrock_server *server, size_t engine)
{
    return engine < server->engines.count ? server->engines.list[engine].mid : MARGO_INSTANCE_NULL;
}

struct bdk_manager *bdk_server_manager(struct bedrock_server *server)
{
    return &server->manager;
}

uint16_t bdk_server_management_id(const struct bedrock_server *server)
{
    return (uint16_t)server->config.settings.provider_id;
}

int bdk_server_load(struct bedrock_server *server, const char *library, struct dango_error *err)
{
    int status = bdk_registry_load(server->registry, library, err);
    return status < 0 ? status : bdk_host_attach(server->host, server->registry, err);
}

int bdk_server_start_provider(struct bedrock_server *server, struct json_object *description, uint16_t *provider_id,
                              struct dango_error *err)
{
    struct bdk_description parsed = {0};
    int status = bdk_description_parse(&parsed, description, "provider", err);
    if (status < 0)
        return status;
    status = bdk_manager_start(&server->manager, &parsed, false, provider_id, err);
    bdk_description_release(&parsed);
    return status;
}

/* Name of the pool that runs the management RPCs on engine 0. */
static struct json_object *management_pool_name(const struct bedrock_server *server)
{
    margo_instance_id mid = server->engines.list[0].mid;
    ABT_pool pool = server->pool;
    struct margo_pool_info info;
    if (!pool)
        margo_get_handler_pool(mid, &pool);
    return margo_find_pool_by_handle(mid, pool, &info) == HG_SUCCESS ? json_object_new_string(info.name) : NULL;
}

struct json_object *bdk_server_dump(struct bedrock_server *server)
{
    struct json_object *json = json_object_new_object();
    struct json_object *bedrock = dango_options_dump(bdk_settings_options, &server->config.settings);
    struct json_object *libraries = json_object_new_array();
    const char *library;
    json_object_object_add(bedrock, "pool", management_pool_name(server));
    json_object_object_del(bedrock, "name");
    if (bedrock_host_name(server->host))
        json_object_object_add(bedrock, "name", json_object_new_string(bedrock_host_name(server->host)));
    for (size_t i = 0; (library = bdk_registry_library(server->registry, i)); i++)
        json_object_array_add(libraries, json_object_new_string(library));
    json_object_object_add(json, "bedrock", bedrock);
    json_object_object_add(json, "libraries", libraries);
    json_object_object_add(json, "margo", bdk_engines_dump(&server->engines));
    json_object_object_add(json, "providers", bdk_manager_dump(&server->manager));
    struct json_object *sorted = bdk_json_sorted(json);
    json_object_put(json);
    return sorted;
}

int bedrock_server_get_config(struct bedrock_server *server, char **config, struct dango_error *err)
{
    if (server->engines.count == 0)
        return dango_error_set(err, DANGO_ERR_INVALID, "the server has not been started");
    struct json_object *json = bdk_server_dump(server);
    *config = dango_bedrock_json_text(json, false);
    json_object_put(json);
    return 0;
}

int bdk_server_query(struct bedrock_server *server, const char *expression, char **result, struct dango_error *err)
{
    struct json_object *variables = json_object_new_object(), *value;
    json_object_object_add(variables, "__config__", bdk_server_dump(server));
    struct json_object *world = dango_world_variable(&server->world);
    if (world)
        json_object_object_add(world, "addresses", json_object_get(server->addresses));
    json_object_object_add(variables, "MPI_COMM_WORLD", world);
    struct dango_error missing = {0};
    int status = bdk_expression_evaluate(expression, variables, &value, &missing, err);
    json_object_put(variables);
    if (status == 0 && !value && missing.code)
        status = dango_error_set(err, missing.code, "%s", missing.text);
    if (status < 0)
        return dango_error_prefix(err, "query");
    *result = dango_bedrock_json_text(value, false);
    json_object_put(value);
    return 0;
}
