/*
 * Asking a server for directories of partitions that nobody serves: which there are, or that one be removed. See
 * mofka/wire/directories.h.
 */
#include "mofka/client/driver.h"

#include "mofka/wire/directories.h"
#include "util/json.h"

#include <string.h>

static hg_id_t find_rpc(margo_instance_id mid)
{
    hg_id_t id;
    hg_bool_t known = 0;
    if (margo_provider_registered_name(mid, MOFKA_RPC_DIRECTORIES, MARGO_DEFAULT_PROVIDER_ID, &id, &known) ==
            HG_SUCCESS &&
        known)
        return id;
    return margo_provider_register_name(mid, MOFKA_RPC_DIRECTORIES, hg_proc_mofka_directories_in_t,
                                        hg_proc_mofka_directories_out_t, NULL, MARGO_DEFAULT_PROVIDER_ID,
                                        ABT_POOL_NULL);
}

static int take_answer(hg_handle_t handle, struct json_object **list, struct dango_error *err)
{
    mofka_directories_out_t out;
    if (margo_get_output(handle, &out) != HG_SUCCESS)
        return dango_error_set(err, DANGO_ERR_PROTOCOL, "the answer cannot be decoded");
    const char *text = out.text ? out.text : "";
    int code = out.code;
    if (code < 0)
        dango_error_set(err, code, "%s", text);
    else if (!(*list = dango_json_parse(text, strlen(text), err)))
        code = err->code;
    else if (!json_object_is_type(*list, json_type_array))
        code = dango_error_set(err, DANGO_ERR_PROTOCOL, "expected a list of partitions");
    margo_free_output(handle, &out);
    return code;
}

int mofka_ask_directories(struct mofka_driver *driver, const char *address, const mofka_directories_in_t *question,
                          struct json_object **list, struct dango_error *err)
{
    margo_instance_id mid = mofka_engine_instance(driver->engine);
    hg_addr_t addr = HG_ADDR_NULL;
    hg_handle_t handle = HG_HANDLE_NULL;
    *list = NULL;
    hg_return_t ret = margo_addr_lookup(mid, address, &addr);
    if (ret == HG_SUCCESS)
        ret = margo_create(mid, addr, find_rpc(mid), &handle);
    if (ret == HG_SUCCESS)
        ret = margo_provider_forward_timed(0, handle, (void *)question, MOFKA_CALL_MS);
    int code = ret == HG_SUCCESS
                   ? take_answer(handle, list, err)
                   : dango_error_set(err, DANGO_ERR_DISCONNECTED, "no answer: %s", HG_Error_to_string(ret));
    if (handle)
        margo_destroy(handle);
    if (addr)
        margo_addr_free(mid, addr);
    if (code < 0) {
        json_object_put(*list);
        *list = NULL;
        dango_error_prefix(err, "server %s", address);
    }
    return code;
}
