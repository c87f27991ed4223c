/*
 * One handler for all management RPCs: it decodes the request, calls the function that belongs to the RPC's name, and
 * sends back what that filled in. Nothing of a request is trusted: strings may be absent, numbers may be anything.
 */
#include "bedrock/rpc.h"
#include "bedrock/proto.h"
#include "bedrock/server_internal.h"
#include "margo/dango_margo.h"
#include "util/json.h"
#include "util/log.h"

#include <bedrock/server.h>

#include <stdlib.h>
#include <string.h>

struct request {
    const char *first, *second; /* never NULL */
    double number;
};

struct reply {
    char *value; /* malloc'ed, or NULL */
    uint16_t provider_id;
};

typedef int (*request_function)(struct bedrock_server *server, const struct request *request, struct reply *reply,
                                struct dango_error *err);

/* What the handler finds registered with the RPC id, once the server has got that far; freed with the registration. */
struct rpc_data {
    struct bedrock_server *server;
    request_function function;
};

static struct json_object *parse_json(const char *text, const char *what, struct dango_error *err)
{
    struct json_object *json = dango_json_parse(text, strlen(text), err);
    if (!json)
        dango_error_prefix(err, "%s", what);
    return json;
}

static int get_config(struct bedrock_server *server, const struct request *request, struct reply *reply,
                      struct dango_error *err)
{
    (void)request;
    return bedrock_server_get_config(server, &reply->value, err);
}

static int query_config(struct bedrock_server *server, const struct request *request, struct reply *reply,
                        struct dango_error *err)
{
    return bdk_server_query(server, request->first, &reply->value, err);
}

static int load_module(struct bedrock_server *server, const struct request *request, struct reply *reply,
                       struct dango_error *err)
{
    (void)reply;
    return bdk_server_load(server, request->first, err);
}

static int start_provider(struct bedrock_server *server, const struct request *request, struct reply *reply,
                          struct dango_error *err)
{
    struct json_object *json = parse_json(request->first, "provider", err);
    if (!json)
        return err->code;
    int status = bdk_server_start_provider(server, json, &reply->provider_id, err);
    json_object_put(json);
    return status;
}

static int remove_provider(struct bedrock_server *server, const struct request *request, struct reply *reply,
                           struct dango_error *err)
{
    (void)reply;
    return bdk_manager_remove(bdk_server_manager(server), request->first, err);
}

static int update_provider(struct bedrock_server *server, const struct request *request, struct reply *reply,
                           struct dango_error *err)
{
    (void)reply;
    struct json_object *config = parse_json(request->second, "config", err);
    if (!config)
        return err->code;
    int status = bdk_manager_update(bdk_server_manager(server), request->first, config, err);
    json_object_put(config);
    return status;
}

static int lookup_provider(struct bedrock_server *server, const struct request *request, struct reply *reply,
                           struct dango_error *err)
{
    struct bedrock_provider_info info;
    int status = bdk_manager_lookup(bdk_server_manager(server), request->first, request->number, &info, err);
    if (status < 0)
        return status;
    reply->provider_id = info.provider_id;
    if (asprintf(&reply->value, "%s %s", info.name, info.type) < 0)
        return dango_error_set(err, DANGO_ERR_NO_MEMORY, "out of memory");
    return 0;
}

typedef int (*element_function)(margo_instance_id mid, struct json_object *json, struct dango_error *err);

static int with_json(struct bedrock_server *server, const struct request *request, const char *what,
                     element_function function, struct dango_error *err)
{
    struct json_object *json = parse_json(request->first, what, err);
    if (!json)
        return err->code;
    int status = function(bedrock_server_instance(server, 0), json, err);
    json_object_put(json);
    return status;
}

static int do_add_pool(margo_instance_id mid, struct json_object *json, struct dango_error *err)
{
    return dango_margo_add_pool(mid, json, "pool", NULL, err);
}

static int do_add_xstream(margo_instance_id mid, struct json_object *json, struct dango_error *err)
{
    return dango_margo_add_xstream(mid, json, "xstream", NULL, err);
}

static int add_pool(struct bedrock_server *server, const struct request *request, struct reply *reply,
                    struct dango_error *err)
{
    (void)reply;
    return with_json(server, request, "pool", do_add_pool, err);
}

static int add_xstream(struct bedrock_server *server, const struct request *request, struct reply *reply,
                       struct dango_error *err)
{
    (void)reply;
    return with_json(server, request, "xstream", do_add_xstream, err);
}

static int remove_pool(struct bedrock_server *server, const struct request *request, struct reply *reply,
                       struct dango_error *err)
{
    (void)reply;
    return dango_margo_remove_pool(bedrock_server_instance(server, 0), request->first, err);
}

static int remove_xstream(struct bedrock_server *server, const struct request *request, struct reply *reply,
                          struct dango_error *err)
{
    (void)reply;
    return dango_margo_remove_xstream(bedrock_server_instance(server, 0), request->first, err);
}

static const struct {
    const char *name;
    request_function function;
} rpcs[] = {
    {BDK_RPC_GET_CONFIG, get_config},           {BDK_RPC_QUERY_CONFIG, query_config},
    {BDK_RPC_LOAD_MODULE, load_module},         {BDK_RPC_START_PROVIDER, start_provider},
    {BDK_RPC_REMOVE_PROVIDER, remove_provider}, {BDK_RPC_UPDATE_PROVIDER, update_provider},
    {BDK_RPC_LOOKUP_PROVIDER, lookup_provider}, {BDK_RPC_ADD_POOL, add_pool},
    {BDK_RPC_REMOVE_POOL, remove_pool},         {BDK_RPC_ADD_XSTREAM, add_xstream},
    {BDK_RPC_REMOVE_XSTREAM, remove_xstream},
};

static void answer(hg_handle_t handle, const bdk_in_t *in)
{
    margo_instance_id mid = margo_hg_handle_get_instance(handle);
    struct rpc_data *data = margo_registered_data(mid, margo_get_info(handle)->id);
    struct request request = {.first = in->first ? in->first : "", .second = in->second ? in->second : ""};
    memcpy(&request.number, &in->number_bits, sizeof request.number);
    struct reply reply = {0};
    struct dango_error err = {0};
    int status = data ? data->function(data->server, &request, &reply, &err)
                      : dango_error_set(&err, DANGO_ERR_AGAIN, "the server is still starting");
    bdk_out_t out = {.code = status, .value = status < 0 ? err.text : reply.value, .provider_id = reply.provider_id};
    hg_return_t hret = margo_respond(handle, &out);
    if (hret != HG_SUCCESS)
        log_warning("bedrock", "cannot answer a management request: %s", HG_Error_to_string(hret));
    free(reply.value);
}

static void bdk_rpc(hg_handle_t handle)
{
    bdk_in_t in;
    hg_return_t hret = margo_get_input(handle, &in);
    if (hret == HG_SUCCESS) {
        answer(handle, &in);
        margo_free_input(handle, &in);
    } else {
        bdk_out_t out = {.code = DANGO_ERR_PROTOCOL, .value = "the request cannot be decoded"};
        margo_respond(handle, &out);
    }
    margo_destroy(handle);
}
static DEFINE_MARGO_RPC_HANDLER(bdk_rpc)

    /* Replaces Margo's own: the server ends its providers first, then the engines. The reply goes out before that. */
    static void bdk_shutdown_rpc(hg_handle_t handle)
{
    margo_instance_id mid = margo_hg_handle_get_instance(handle);
    struct rpc_data *data = margo_registered_data(mid, margo_get_info(handle)->id);
    int32_t result = data ? 0 : -1; /* as Margo's: refused, because the server is still starting */
    margo_respond(handle, &result);
    if (data)
        bedrock_server_request_stop(data->server);
    margo_destroy(handle);
}
static DEFINE_MARGO_RPC_HANDLER(bdk_shutdown_rpc)

    static int attach(struct bedrock_server *server, margo_instance_id mid, hg_id_t id, request_function function,
                      struct dango_error *err)
{
    struct rpc_data *data = malloc(sizeof *data);
    if (!data)
        return dango_error_set(err, DANGO_ERR_NO_MEMORY, "out of memory");
    *data = (struct rpc_data){.server = server, .function = function};
    if (id == 0 || margo_register_data(mid, id, data, free) != HG_SUCCESS) {
        free(data);
        return dango_error_set(err, DANGO_ERR_INTERNAL, "cannot register the management RPCs");
    }
    return 0;
}

int bdk_rpcs_register(struct bedrock_server *server, margo_instance_id mid, uint16_t provider_id, ABT_pool pool,
                      struct dango_error *err)
{
    int status = 0;
    for (size_t i = 0; i < sizeof rpcs / sizeof *rpcs && status == 0; i++) {
        hg_id_t id = MARGO_REGISTER_PROVIDER(mid, rpcs[i].name, bdk_in_t, bdk_out_t, bdk_rpc, provider_id, pool);
        status = attach(server, mid, id, rpcs[i].function, err);
    }
    if (status < 0)
        return status;
    hg_id_t id = MARGO_REGISTER(mid, BDK_RPC_SHUTDOWN, void, int32_t, bdk_shutdown_rpc);
    return attach(server, mid, id, NULL, err);
}
