/*
 * Views on the wire: u64 number of members, u64 number of metadata, then members (u16 provider id, string address), then
 * metadata (string key, string value). The digest is not sent: it follows from the content.
 *
 * Nothing that arrives is trusted: counts are compared with the bytes that remain before anything is allocated, strings
 * must be there, addresses must not be empty, and items must come in the order of a view, without duplicates, so that
 * decoding takes linear time. The destination must be an initialised view; on any error it is empty.
 */
#include "flock/internal.h"

#include <assert.h>

/* Least bytes of an item on the wire; used to bound counts. */
#define MEMBER_BYTES_MIN   3
#define METADATA_BYTES_MIN 2

hg_return_t hg_proc_flock_member_t(hg_proc_t proc, flock_member_t *member)
{
    hg_return_t ret = hg_proc_uint16_t(proc, &member->provider_id);
    if (ret == HG_SUCCESS)
        ret = hg_proc_hg_string_t(proc, &member->address);
    if (hg_proc_get_op(proc) == HG_DECODE)
        memset(&member->extra, 0, sizeof member->extra);
    return ret;
}

hg_return_t hg_proc_flock_metadata_t(hg_proc_t proc, flock_metadata_t *metadata)
{
    hg_return_t ret = hg_proc_hg_string_t(proc, &metadata->key);
    return ret == HG_SUCCESS ? hg_proc_hg_string_t(proc, &metadata->value) : ret;
}

/* Fields in the order that decode_view reads. */
static hg_return_t encode_view(hg_proc_t proc, flock_group_view_t *view)
{
    assert(view->members.size <= view->members.capacity);
    hg_return_t ret = hg_proc_uint64_t(proc, &view->members.size);
    if (ret == HG_SUCCESS)
        ret = hg_proc_uint64_t(proc, &view->metadata.size);
    for (uint64_t i = 0; i < view->members.size && ret == HG_SUCCESS; i++)
        ret = hg_proc_flock_member_t(proc, &view->members.data[i]);
    for (uint64_t i = 0; i < view->metadata.size && ret == HG_SUCCESS; i++)
        ret = hg_proc_flock_metadata_t(proc, &view->metadata.data[i]);
    return ret;
}

/* Whether an item belongs behind all that are there. */
static bool member_is_next(const flock_group_view_t *view, flock_member_t *member)
{
    assert(member->address);
    return view->members.size == 0 || flock_member_cmp(&view->members.data[view->members.size - 1], member) < 0;
}

static bool metadata_is_next(const flock_group_view_t *view, const flock_metadata_t *metadata)
{
    assert(metadata->key);
    return view->metadata.size == 0 || strcmp(view->metadata.data[view->metadata.size - 1].key, metadata->key) < 0;
}

/* Strings are decoded into memory of their own and copied by the view; simple, and views are small. */
static hg_return_t decode_member(hg_proc_t proc, flock_group_view_t *view)
{
    flock_member_t member = {0};
    hg_return_t ret = hg_proc_flock_member_t(proc, &member);
    if (ret == HG_SUCCESS && (!member.address || !*member.address || !member_is_next(view, &member)))
        ret = HG_PROTOCOL_ERROR;
    if (ret == HG_SUCCESS && !flock_group_view_add_member(view, member.address, member.provider_id))
        ret = HG_NOMEM;
    free(member.address);
    return ret;
}

static hg_return_t decode_metadata(hg_proc_t proc, flock_group_view_t *view)
{
    flock_metadata_t metadata = {0};
    hg_return_t ret = hg_proc_flock_metadata_t(proc, &metadata);
    if (ret == HG_SUCCESS && (!metadata.key || !metadata.value || !metadata_is_next(view, &metadata)))
        ret = HG_PROTOCOL_ERROR;
    if (ret == HG_SUCCESS && !flock_group_view_add_metadata(view, metadata.key, metadata.value))
        ret = HG_NOMEM;
    free(metadata.key);
    free(metadata.value);
    return ret;
}

static hg_return_t decode_view(hg_proc_t proc, flock_group_view_t *view)
{
    uint64_t members = 0, metadata = 0;
    hg_return_t ret = hg_proc_uint64_t(proc, &members);
    if (ret == HG_SUCCESS)
        ret = hg_proc_uint64_t(proc, &metadata);
    if (ret != HG_SUCCESS)
        return ret;
    hg_size_t left = hg_proc_get_size_left(proc);
    if (members > left / MEMBER_BYTES_MIN || metadata > left / METADATA_BYTES_MIN)
        return HG_PROTOCOL_ERROR;
    for (uint64_t i = 0; i < members && ret == HG_SUCCESS; i++)
        ret = decode_member(proc, view);
    for (uint64_t i = 0; i < metadata && ret == HG_SUCCESS; i++)
        ret = decode_metadata(proc, view);
    return ret;
}

hg_return_t hg_proc_flock_group_view_t(hg_proc_t proc, void *data)
{
    flock_group_view_t *view = data;
    assert(view);
    hg_return_t ret = HG_SUCCESS;
    switch (hg_proc_get_op(proc)) {
    case HG_ENCODE:
        return encode_view(proc, view);
    case HG_DECODE:
        flock_group_view_clear(view);
        ret = decode_view(proc, view);
        if (ret != HG_SUCCESS)
            flock_group_view_clear(view);
        return ret;
    default:
        flock_group_view_clear(view);
        return HG_SUCCESS;
    }
}

hg_return_t hg_proc_flock_protected_group_view_t(hg_proc_t proc, void *data)
{
    flock_group_view_t *view = data;
    if (!view)
        return HG_SUCCESS;
    FLOCK_GROUP_VIEW_LOCK(view);
    hg_return_t ret = hg_proc_flock_group_view_t(proc, view);
    FLOCK_GROUP_VIEW_UNLOCK(view);
    return ret;
}

hg_return_t hg_proc_flk_get_view_in_t(hg_proc_t proc, void *data)
{
    assert(data);
    flk_get_view_in_t *in = data;
    hg_return_t ret = hg_proc_uint64_t(proc, &in->version);
    return ret == HG_SUCCESS ? hg_proc_uint32_t(proc, &in->wait_ms) : ret;
}

hg_return_t hg_proc_flk_get_view_out_t(hg_proc_t proc, void *data)
{
    assert(data);
    flk_get_view_out_t *out = data;
    hg_return_t ret = hg_proc_int32_t(proc, &out->ret);
    if (ret == HG_SUCCESS)
        ret = hg_proc_uint64_t(proc, &out->version);
    if (ret == HG_SUCCESS)
        ret = hg_proc_uint8_t(proc, &out->unchanged);
    if (ret == HG_SUCCESS)
        ret = hg_proc_flock_group_view_t(proc, &out->view);
    if (ret == HG_SUCCESS)
        ret = hg_proc_flock_group_view_t(proc, &out->left);
    if (ret == HG_SUCCESS)
        ret = hg_proc_flock_group_view_t(proc, &out->moved);
    /* What has been read is nobody's if the rest cannot be. */
    if (ret != HG_SUCCESS && hg_proc_get_op(proc) == HG_DECODE) {
        flock_group_view_clear(&out->view);
        flock_group_view_clear(&out->left);
    }
    return ret;
}

hg_return_t hg_proc_flk_set_metadata_in_t(hg_proc_t proc, void *data)
{
    assert(data);
    flk_set_metadata_in_t *in = data;
    bool decode = hg_proc_get_op(proc) == HG_DECODE;
    if (decode)
        *in = (flk_set_metadata_in_t){NULL, NULL};
    hg_return_t ret = hg_proc_hg_string_t(proc, &in->key);
    if (ret == HG_SUCCESS)
        ret = hg_proc_hg_string_t(proc, &in->value);
    if (ret == HG_SUCCESS && decode && (!in->key || !in->value))
        ret = HG_PROTOCOL_ERROR;
    if (ret != HG_SUCCESS && decode) {
        free(in->key);
        free(in->value);
        *in = (flk_set_metadata_in_t){NULL, NULL};
    }
    return ret;
}

hg_return_t hg_proc_flk_set_metadata_out_t(hg_proc_t proc, void *data)
{
    assert(data);
    return hg_proc_int32_t(proc, &((flk_set_metadata_out_t *)data)->ret);
}

hg_return_t hg_proc_flk_statistics_out_t(hg_proc_t proc, void *data)
{
    assert(data);
    flk_statistics_out_t *out = data;
    hg_return_t ret = hg_proc_int32_t(proc, &out->ret);
    if (ret == HG_SUCCESS)
        ret = hg_proc_hg_string_t(proc, &out->text);
    if (ret == HG_SUCCESS && hg_proc_get_op(proc) == HG_DECODE && out->ret == FLOCK_SUCCESS && !out->text)
        ret = HG_PROTOCOL_ERROR;
    return ret;
}
