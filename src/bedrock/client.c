/*
 * The client of single daemons, see bedrock/client.h; groups of them are in group.c.
 *
 * Every operation is a forward of bdk_in_t and an answer of bdk_out_t (proto.h). A call is split into its start and its
 * end, so that a group can start many before it waits for the first.
 */
#include "bedrock/client_internal.h"
#include "mercury/dango_hg.h"
#include "util/json.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { RPC_COUNT = 11 };

static const char *const rpc_names[RPC_COUNT] = {
    BDK_RPC_GET_CONFIG,      BDK_RPC_QUERY_CONFIG,    BDK_RPC_LOAD_MODULE,     BDK_RPC_START_PROVIDER,
    BDK_RPC_REMOVE_PROVIDER, BDK_RPC_UPDATE_PROVIDER, BDK_RPC_LOOKUP_PROVIDER, BDK_RPC_ADD_POOL,
    BDK_RPC_REMOVE_POOL,     BDK_RPC_ADD_XSTREAM,     BDK_RPC_REMOVE_XSTREAM,
};

struct bedrock_client {
    margo_instance_id mid;
    hg_id_t ids[RPC_COUNT]; /* by position in rpc_names */
    double timeout_ms;
};

struct bedrock_service {
    struct bedrock_client *client;
    char *address;
    hg_addr_t addr;
    uint16_t provider_id;
};

/* ---- client and service ---- */

/* A server of the same process may have registered the RPC with its handler: that is left as it is. */
static hg_id_t register_rpc(margo_instance_id mid, const char *name)
{
    hg_id_t id;
    hg_bool_t known = 0;
    if (margo_provider_registered_name(mid, name, MARGO_DEFAULT_PROVIDER_ID, &id, &known) == HG_SUCCESS && known)
        return id;
    return margo_provider_register_name(mid, name, hg_proc_bdk_in_t, hg_proc_bdk_out_t, NULL, MARGO_DEFAULT_PROVIDER_ID,
                                        ABT_POOL_NULL);
}

int bedrock_client_create(margo_instance_id mid, struct bedrock_client **client, struct dango_error *err)
{
    assert(mid && client);
    struct bedrock_client *new_client = calloc(1, sizeof *new_client);
    if (!new_client)
        return dango_error_set(err, DANGO_ERR_NO_MEMORY, "out of memory");
    new_client->mid = mid;
    new_client->timeout_ms = BEDROCK_CLIENT_TIMEOUT_MS;
    for (size_t i = 0; i < RPC_COUNT; i++) {
        new_client->ids[i] = register_rpc(mid, rpc_names[i]);
        if (new_client->ids[i] == 0) {
            free(new_client);
            return dango_error_set(err, DANGO_ERR_INTERNAL, "cannot register RPC \"%s\"", rpc_names[i]);
        }
    }
    *client = new_client;
    return 0;
}

void bedrock_client_destroy(struct bedrock_client *client)
{
    free(client);
}

void bedrock_client_set_timeout(struct bedrock_client *client, double timeout_ms)
{
    assert(timeout_ms > 0);
    client->timeout_ms = timeout_ms;
}

int bedrock_service_open(struct bedrock_client *client, const char *address, uint16_t provider_id,
                         struct bedrock_service **service, struct dango_error *err)
{
    assert(client && address && service);
    struct bedrock_service *new_service = calloc(1, sizeof *new_service);
    if (!new_service)
        return dango_error_set(err, DANGO_ERR_NO_MEMORY, "out of memory");
    new_service->client = client;
    new_service->provider_id = provider_id;
    new_service->address = strdup(address);
    if (!new_service->address)
        abort();
    hg_return_t hret = margo_addr_lookup(client->mid, address, &new_service->addr);
    if (hret != HG_SUCCESS) {
        bedrock_service_close(new_service);
        return dango_hg_explain_address(margo_get_class(client->mid), address, hret, err);
    }
    *service = new_service;
    return 0;
}

void bedrock_service_close(struct bedrock_service *service)
{
    if (!service)
        return;
    if (service->addr)
        margo_addr_free(service->client->mid, service->addr);
    free(service->address);
    free(service);
}

const char *bedrock_service_address(const struct bedrock_service *service)
{
    return service->address;
}

/* ---- calls ---- */

static int transport_error(const struct bedrock_service *service, hg_return_t hret, double timeout_ms,
                           struct dango_error *err)
{
    switch (hret) {
    case HG_TIMEOUT:
        return dango_error_set(err, DANGO_ERR_TIMEOUT,
                               "no answer from %s within %g s: it hangs, is stopped, or is busy", service->address,
                               timeout_ms / 1000);
    case HG_NOENTRY:
        return dango_error_set(err, DANGO_ERR_NOT_FOUND,
                               "%s is not a bedrock daemon, or not one with management provider id %u",
                               service->address, service->provider_id);
    case HG_PERMISSION:
        return dango_error_set(err, DANGO_ERR_CANCELED, "%s: the daemon is shutting down", service->address);
    case HG_PROTOCOL_ERROR:
        return dango_error_set(err, DANGO_ERR_DISCONNECTED,
                               "what answers at %s is no server of this kind, or a server that calls itself otherwise "
                               "(behind a forwarded port, for instance)",
                               service->address);
    default:
        return dango_error_set(err, DANGO_ERR_DISCONNECTED, "no reply from %s (%s): it has ended, or %s",
                               service->address, HG_Error_to_string(hret),
                               strncmp(service->address, "na+sm:", 6) == 0
                                   ? "belongs to another user, or runs on another machine"
                                   : "cannot be reached from here");
    }
}

static hg_id_t find_id(const struct bedrock_client *client, const char *name)
{
    size_t i = 0;
    while (i < RPC_COUNT && strcmp(rpc_names[i], name) != 0)
        i++;
    assert(i < RPC_COUNT);
    return client->ids[i];
}

/* Sends a request; `call` is zeroed when that fails. */
static int forward(struct bdk_call *call, struct bedrock_service *service, hg_id_t id, uint16_t provider_id, void *in,
                   double extra_timeout_ms, struct dango_error *err)
{
    const struct bedrock_client *client = service->client;
    *call = (struct bdk_call){.service = service, .timeout_ms = client->timeout_ms + extra_timeout_ms};
    hg_return_t hret = margo_create(client->mid, service->addr, id, &call->handle);
    if (hret == HG_SUCCESS)
        hret = margo_provider_iforward_timed(provider_id, call->handle, in, call->timeout_ms, &call->pending);
    if (hret == HG_SUCCESS)
        return 0;
    int status = transport_error(service, hret, call->timeout_ms, err);
    margo_destroy(call->handle);
    *call = (struct bdk_call){0};
    return status;
}

/* The other half of forward; the handle stays until `end`. */
static int wait_for(struct bdk_call *call, struct dango_error *err)
{
    assert(call->handle && call->service);
    hg_return_t hret = margo_wait(call->pending);
    return hret == HG_SUCCESS ? 0 : transport_error(call->service, hret, call->timeout_ms, err);
}

static void end(struct bdk_call *call)
{
    margo_destroy(call->handle);
    *call = (struct bdk_call){0};
}

int bdk_call_start(struct bdk_call *call, struct bedrock_service *service, const char *name,
                   const struct bdk_request *request, struct dango_error *err)
{
    bdk_in_t in = {.first = request->first, .second = request->second};
    memcpy(&in.number_bits, &request->number, sizeof in.number_bits);
    return forward(call, service, find_id(service->client, name), service->provider_id, &in, request->extra_timeout_ms,
                   err);
}

static int take_answer(struct bdk_call *call, char **value, uint16_t *provider_id, struct dango_error *err)
{
    bdk_out_t out;
    hg_return_t hret = margo_get_output(call->handle, &out);
    if (hret != HG_SUCCESS)
        return transport_error(call->service, hret, call->timeout_ms, err);
    int status = out.code < 0 ? out.code : 0;
    const char *text = out.value ? out.value : "";
    if (status < 0)
        dango_error_set(err, status, "%s: %s", call->service->address, text);
    if (status == 0 && value && !(*value = strdup(text)))
        abort();
    if (provider_id)
        *provider_id = out.provider_id;
    margo_free_output(call->handle, &out);
    return status;
}

int bdk_call_finish(struct bdk_call *call, char **value, uint16_t *provider_id, struct dango_error *err)
{
    int status = wait_for(call, err);
    if (status == 0)
        status = take_answer(call, value, provider_id, err);
    end(call);
    return status;
}

static int call_and_wait(struct bedrock_service *service, const char *name, const struct bdk_request *request,
                         char **value, uint16_t *provider_id, struct dango_error *err)
{
    struct bdk_call call;
    int status = bdk_call_start(&call, service, name, request, err);
    return status < 0 ? status : bdk_call_finish(&call, value, provider_id, err);
}

/* An RPC with one text and no result. */
static int send_text(struct bedrock_service *service, const char *name, const char *text, struct dango_error *err)
{
    return call_and_wait(service, name, &(struct bdk_request){.first = text}, NULL, NULL, err);
}

int bedrock_service_get_config(struct bedrock_service *service, char **config, struct dango_error *err)
{
    return call_and_wait(service, BDK_RPC_GET_CONFIG, &(struct bdk_request){0}, config, NULL, err);
}

int bedrock_service_query(struct bedrock_service *service, const char *expression, char **result,
                          struct dango_error *err)
{
    return call_and_wait(service, BDK_RPC_QUERY_CONFIG, &(struct bdk_request){.first = expression}, result, NULL, err);
}

int bedrock_service_load_module(struct bedrock_service *service, const char *library, struct dango_error *err)
{
    return send_text(service, BDK_RPC_LOAD_MODULE, library, err);
}

int bedrock_service_start_provider(struct bedrock_service *service, const char *description, uint16_t *provider_id,
                                   struct dango_error *err)
{
    return call_and_wait(service, BDK_RPC_START_PROVIDER, &(struct bdk_request){.first = description}, NULL,
                         provider_id, err);
}

int bedrock_service_remove_provider(struct bedrock_service *service, const char *spec, struct dango_error *err)
{
    return send_text(service, BDK_RPC_REMOVE_PROVIDER, spec, err);
}

int bedrock_service_update_provider(struct bedrock_service *service, const char *spec, const char *config,
                                    struct dango_error *err)
{
    return call_and_wait(service, BDK_RPC_UPDATE_PROVIDER, &(struct bdk_request){.first = spec, .second = config}, NULL,
                         NULL, err);
}

/* "name type" into the two fields. */
static bool split_info(const char *value, struct bedrock_provider_info *info)
{
    const char *space = strchr(value, ' ');
    if (!space || (size_t)(space - value) > BEDROCK_NAME_MAX || strlen(space + 1) > BEDROCK_NAME_MAX)
        return false;
    memcpy(info->name, value, (size_t)(space - value));
    info->name[space - value] = '\0';
    snprintf(info->type, sizeof info->type, "%s", space + 1);
    return true;
}

int bedrock_service_lookup_provider(struct bedrock_service *service, const char *spec, double timeout_s,
                                    struct bedrock_provider_info *info, struct dango_error *err)
{
    char *value = NULL;
    struct bdk_request request = {.first = spec, .number = timeout_s};
    request.extra_timeout_ms = timeout_s > 0 ? timeout_s * 1000 : 0;
    int status = call_and_wait(service, BDK_RPC_LOOKUP_PROVIDER, &request, &value, &info->provider_id, err);
    if (status == 0 && !(value && split_info(value, info)))
        status = dango_error_set(err, DANGO_ERR_PROTOCOL, "%s: malformed answer", service->address);
    free(value);
    return status;
}

int bedrock_service_add_pool(struct bedrock_service *service, const char *config, struct dango_error *err)
{
    return send_text(service, BDK_RPC_ADD_POOL, config, err);
}

int bedrock_service_remove_pool(struct bedrock_service *service, const char *name, struct dango_error *err)
{
    return send_text(service, BDK_RPC_REMOVE_POOL, name, err);
}

int bedrock_service_add_xstream(struct bedrock_service *service, const char *config, struct dango_error *err)
{
    return send_text(service, BDK_RPC_ADD_XSTREAM, config, err);
}

int bedrock_service_remove_xstream(struct bedrock_service *service, const char *name, struct dango_error *err)
{
    return send_text(service, BDK_RPC_REMOVE_XSTREAM, name, err);
}

/* ---- shutdown: Margo's own RPC ---- */

static hg_id_t shutdown_id(margo_instance_id mid)
{
    hg_id_t id;
    hg_bool_t known = 0;
    if (margo_registered_name(mid, BDK_RPC_SHUTDOWN, &id, &known) == HG_SUCCESS && known)
        return id;
    return margo_provider_register_name(mid, BDK_RPC_SHUTDOWN, NULL, hg_proc_int32_t, NULL, MARGO_DEFAULT_PROVIDER_ID,
                                        ABT_POOL_NULL);
}

int bdk_shutdown_start(struct bdk_call *call, struct bedrock_service *service, struct dango_error *err)
{
    return forward(call, service, shutdown_id(service->client->mid), MARGO_DEFAULT_PROVIDER_ID, NULL, 0, err);
}

static int take_acceptance(struct bdk_call *call, struct dango_error *err)
{
    int32_t accepted = -1;
    hg_return_t hret = margo_get_output(call->handle, &accepted);
    if (hret != HG_SUCCESS)
        return transport_error(call->service, hret, call->timeout_ms, err);
    margo_free_output(call->handle, &accepted);
    if (accepted != 0)
        return dango_error_set(err, DANGO_ERR_PERMISSION, "%s does not accept to be shut down", call->service->address);
    return 0;
}

int bdk_shutdown_finish(struct bdk_call *call, struct dango_error *err)
{
    int status = wait_for(call, err);
    if (status == 0)
        status = take_acceptance(call, err);
    end(call);
    return status;
}

int bedrock_service_shutdown(struct bedrock_service *service, struct dango_error *err)
{
    struct bdk_call call;
    int status = bdk_shutdown_start(&call, service, err);
    return status < 0 ? status : bdk_shutdown_finish(&call, err);
}
