/*
 * The process as its modules see it, see host.h.
 *
 * The mutex covers the list of attached modules and is held while they attach and detach; they may call everything here
 * but what attaches. The name is written before `named` and never again, so that it can be read without a lock.
 */
#include "bedrock/host.h"
#include "bedrock/server_internal.h"

#include <abt.h>
#include <json-c/json.h>

#include <assert.h>
#include <ctype.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define ATTACHED_MAX 128

struct bedrock_host {
    struct bedrock_server *server;
    ABT_mutex_memory mutex;
    struct attached {
        const struct bedrock_module *module;
        void *state;
    } attached[ATTACHED_MAX];
    size_t count;
    bool ended; /* detached: nobody attaches any more */
    atomic_bool named;
    char name[BEDROCK_SERVER_NAME_MAX + 1];
};

struct bedrock_host *bdk_host_create(struct bedrock_server *server)
{
    struct bedrock_host *host = calloc(1, sizeof *host);
    if (!host)
        return NULL;
    host->server = server;
    host->mutex = (ABT_mutex_memory)ABT_MUTEX_INITIALIZER;
    return host;
}

void bdk_host_destroy(struct bedrock_host *host)
{
    assert(!host || host->count == 0);
    free(host);
}

/* ---- attaching ---- */

static ABT_mutex mutex_of(struct bedrock_host *host)
{
    return ABT_MUTEX_MEMORY_GET_HANDLE(&host->mutex);
}

static bool is_attached(const struct bedrock_host *host, const struct bedrock_module *module)
{
    for (size_t i = 0; i < host->count; i++)
        if (host->attached[i].module == module)
            return true;
    return false;
}

static int attach_module(struct bedrock_host *host, const struct bedrock_module *module, struct dango_error *err)
{
    struct attached *attached = &host->attached[host->count];
    if (host->count == ATTACHED_MAX)
        return dango_error_set(err, DANGO_ERR_RANGE, "more than %d modules", ATTACHED_MAX);
    attached->module = module;
    int status = module->attach(host, &attached->state, err);
    if (status < 0)
        return dango_error_prefix(err, "module \"%s\"", module->type);
    host->count++;
    return 0;
}

int bdk_host_attach(struct bedrock_host *host, struct bdk_registry *registry, struct dango_error *err)
{
    int status = 0;
    const struct bedrock_module *module;
    ABT_mutex_lock(mutex_of(host));
    for (size_t i = 0; status == 0 && !host->ended && (module = bdk_registry_module(registry, i)); i++)
        if (module->attach && !is_attached(host, module))
            status = attach_module(host, module, err);
    ABT_mutex_unlock(mutex_of(host));
    return status;
}

void bdk_host_detach(struct bedrock_host *host)
{
    ABT_mutex_lock(mutex_of(host));
    host->ended = true;
    while (host->count > 0) {
        struct attached *attached = &host->attached[--host->count];
        attached->module->detach(attached->state);
    }
    ABT_mutex_unlock(mutex_of(host));
}

/* ---- name ---- */

const char *bedrock_host_name(const struct bedrock_host *host)
{
    return atomic_load_explicit(&host->named, memory_order_acquire) ? host->name : NULL;
}

static bool is_name(const char *name)
{
    size_t length = strlen(name);
    for (size_t i = 0; i < length; i++)
        if (!isascii((unsigned char)name[i]) || (!isalnum((unsigned char)name[i]) && !strchr("._-", name[i])))
            return false;
    return length > 0 && length <= BEDROCK_SERVER_NAME_MAX;
}

int bedrock_host_set_name(struct bedrock_host *host, const char *name, struct dango_error *err)
{
    const char *present = bedrock_host_name(host);
    if (!is_name(name))
        return dango_error_set(err, DANGO_ERR_INVALID,
                               "\"%s\" cannot be the name of a server: 1 to %d letters, digits, '.', '_' or '-'", name,
                               BEDROCK_SERVER_NAME_MAX);
    if (present)
        return strcmp(present, name) == 0
                   ? 0
                   : dango_error_set(err, DANGO_ERR_EXISTS, "the server is called \"%s\" already", present);
    strcpy(host->name, name);
    atomic_store_explicit(&host->named, true, memory_order_release);
    return 0;
}

/* ---- what modules may do ---- */

margo_instance_id bedrock_host_instance(const struct bedrock_host *host)
{
    return bedrock_server_instance(host->server, 0);
}

const char *bedrock_host_address(const struct bedrock_host *host)
{
    return bedrock_server_address(host->server);
}

uint16_t bedrock_host_management_id(const struct bedrock_host *host)
{
    return bdk_server_management_id(host->server);
}

struct json_object *bedrock_host_config(struct bedrock_host *host)
{
    return bdk_server_dump(host->server);
}

int bedrock_host_start_provider(struct bedrock_host *host, struct json_object *description, uint16_t *provider_id,
                                struct dango_error *err)
{
    return bdk_server_start_provider(host->server, description, provider_id, err);
}

bool bedrock_host_is_stopping(struct bedrock_host *host)
{
    return bdk_server_is_stopping(host->server);
}
