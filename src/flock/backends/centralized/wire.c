/*
 * Messages of backend centralized on the wire: fields in the order of the structs. Decoders check what all handlers rely
 * on: that a request has a sender, and that type, status and update are known ones. Of what is refused nothing is left.
 */
#include "flock/backends/centralized/centralized.h"

#include <assert.h>

static bool is_update(uint8_t update)
{
    return update <= FLOCK_MEMBER_MOVED || update == CEN_NO_UPDATE || update == CEN_METADATA_SET;
}

static bool is_filled(const char *text)
{
    return text && *text;
}

/* An empty address would go into the views and files of all, where nobody reads it. */
static bool is_complete(const flk_cen_request_t *request)
{
    bool has_name = is_filled(request->name) && (request->update != FLOCK_MEMBER_MOVED || is_filled(request->value));
    return request->type < CEN_TYPES && is_filled(request->from) && is_update(request->update) &&
           (has_name || request->update == CEN_NO_UPDATE);
}

static void request_clear(flk_cen_request_t *request)
{
    free(request->from);
    free(request->to);
    free(request->name);
    free(request->value);
    flock_group_view_clear(&request->view);
    memset(request, 0, sizeof *request);
}

hg_return_t hg_proc_flk_cen_request_t(hg_proc_t proc, void *data)
{
    assert(data);
    flk_cen_request_t *request = data;
    bool decode = hg_proc_get_op(proc) == HG_DECODE;
    if (decode)
        memset(request, 0, sizeof *request);
    hg_return_t ret = hg_proc_uint8_t(proc, &request->type);
    if (ret == HG_SUCCESS)
        ret = hg_proc_hg_string_t(proc, &request->from);
    if (ret == HG_SUCCESS)
        ret = hg_proc_uint16_t(proc, &request->from_id);
    if (ret == HG_SUCCESS)
        ret = hg_proc_hg_string_t(proc, &request->to);
    if (ret == HG_SUCCESS)
        ret = hg_proc_uint64_t(proc, &request->term);
    if (ret == HG_SUCCESS)
        ret = hg_proc_uint64_t(proc, &request->version);
    if (ret == HG_SUCCESS)
        ret = hg_proc_uint8_t(proc, &request->update);
    if (ret == HG_SUCCESS)
        ret = hg_proc_hg_string_t(proc, &request->name);
    if (ret == HG_SUCCESS)
        ret = hg_proc_hg_string_t(proc, &request->value);
    if (ret == HG_SUCCESS)
        ret = hg_proc_uint16_t(proc, &request->id);
    if (ret == HG_SUCCESS)
        ret = hg_proc_flock_group_view_t(proc, &request->view);
    if (ret == HG_SUCCESS && decode && !is_complete(request))
        ret = HG_PROTOCOL_ERROR;
    if (ret != HG_SUCCESS && decode)
        request_clear(request);
    return ret;
}

hg_return_t hg_proc_flk_cen_answer_t(hg_proc_t proc, void *data)
{
    assert(data);
    flk_cen_answer_t *answer = data;
    bool decode = hg_proc_get_op(proc) == HG_DECODE;
    if (decode)
        memset(answer, 0, sizeof *answer);
    hg_return_t ret = hg_proc_uint8_t(proc, &answer->status);
    if (ret == HG_SUCCESS)
        ret = hg_proc_uint8_t(proc, &answer->reached);
    if (ret == HG_SUCCESS)
        ret = hg_proc_uint64_t(proc, &answer->term);
    if (ret == HG_SUCCESS)
        ret = hg_proc_uint64_t(proc, &answer->version);
    if (ret == HG_SUCCESS)
        ret = hg_proc_hg_string_t(proc, &answer->primary);
    if (ret == HG_SUCCESS)
        ret = hg_proc_uint16_t(proc, &answer->primary_id);
    if (ret == HG_SUCCESS)
        ret = hg_proc_flock_group_view_t(proc, &answer->view);
    if (ret == HG_SUCCESS && decode && (answer->status > CEN_FAILED || !answer->primary))
        ret = HG_PROTOCOL_ERROR;
    if (ret != HG_SUCCESS && decode)
        flk_cen_answer_free(answer);
    return ret;
}
