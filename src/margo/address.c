/*
 * Addresses, and other calls that only add the instance's class to one of Mercury's.
 */
#include "margo/instance.h"

hg_return_t margo_addr_lookup(margo_instance_id mid, const char *name, hg_addr_t *addr)
{
    if (!mid || !name || !addr)
        return HG_INVALID_ARG;
    *addr = HG_ADDR_NULL;
    return HG_Addr_lookup2(mid->hg_class, name, addr);
}

hg_return_t margo_addr_free(margo_instance_id mid, hg_addr_t addr)
{
    if (addr == HG_ADDR_NULL)
        return HG_SUCCESS;
    return mid ? HG_Addr_free(mid->hg_class, addr) : HG_INVALID_ARG;
}

hg_return_t margo_addr_self(margo_instance_id mid, hg_addr_t *addr)
{
    return mid && addr ? HG_Addr_self(mid->hg_class, addr) : HG_INVALID_ARG;
}

hg_return_t margo_addr_dup(margo_instance_id mid, hg_addr_t addr, hg_addr_t *new_addr)
{
    return mid && addr && new_addr ? HG_Addr_dup(mid->hg_class, addr, new_addr) : HG_INVALID_ARG;
}

hg_bool_t margo_addr_cmp(margo_instance_id mid, hg_addr_t addr1, hg_addr_t addr2)
{
    if (!mid || !addr1 || !addr2)
        return mid && addr1 == addr2;
    return HG_Addr_cmp(mid->hg_class, addr1, addr2);
}

hg_return_t margo_addr_set_remove(margo_instance_id mid, hg_addr_t addr)
{
    return mid && addr ? HG_Addr_set_remove(mid->hg_class, addr) : HG_INVALID_ARG;
}

hg_return_t margo_addr_to_string(margo_instance_id mid, char *buf, hg_size_t *buf_size, hg_addr_t addr)
{
    return mid && buf_size && addr ? HG_Addr_to_string(mid->hg_class, buf, buf_size, addr) : HG_INVALID_ARG;
}

hg_return_t margo_bulk_create_attr(margo_instance_id mid, hg_uint32_t count, void **buf_ptrs,
                                   const hg_size_t *buf_sizes, hg_uint8_t flags, const struct hg_bulk_attr *attrs,
                                   hg_bulk_t *handle)
{
    return mid ? HG_Bulk_create_attr(mid->hg_class, count, buf_ptrs, buf_sizes, flags, attrs, handle) : HG_INVALID_ARG;
}

hg_return_t margo_bulk_create(margo_instance_id mid, hg_uint32_t count, void **buf_ptrs, const hg_size_t *buf_sizes,
                              hg_uint8_t flags, hg_bulk_t *handle)
{
    return mid ? HG_Bulk_create(mid->hg_class, count, buf_ptrs, buf_sizes, flags, handle) : HG_INVALID_ARG;
}

hg_return_t margo_bulk_free(hg_bulk_t handle)
{
    return handle ? HG_Bulk_free(handle) : HG_SUCCESS;
}

hg_return_t margo_bulk_deserialize(margo_instance_id mid, hg_bulk_t *handle, const void *buf, hg_size_t buf_size)
{
    return mid ? HG_Bulk_deserialize(mid->hg_class, handle, buf, buf_size) : HG_INVALID_ARG;
}

hg_class_t *margo_get_class(margo_instance_id mid)
{
    return mid ? mid->hg_class : NULL;
}

hg_context_t *margo_get_context(margo_instance_id mid)
{
    return mid ? mid->hg_context : NULL;
}

int margo_get_handler_pool(margo_instance_id mid, ABT_pool *pool)
{
    if (!mid || !pool)
        return -1;
    *pool = mid->rpc_pool->handle;
    return 0;
}

hg_bool_t margo_is_listening(margo_instance_id mid)
{
    return mid && mid->listening;
}
