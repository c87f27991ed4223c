/*
 * Addresses: interned by their canonical text, so that comparing is comparing pointers. The table holds no reference;
 * the last reference is dropped under the table's lock, which excludes that a look-up revives a dying entry.
 */
#include "mercury/hg.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

struct hg_addr *hgi_addr_intern(hg_class_t *hg_class, const char *host)
{
    struct hg_addr *addr;

    pthread_mutex_lock(&hg_class->addrs_lock);
    HASH_FIND_STR(hg_class->addrs, host, addr);
    if (addr) {
        hgi_addr_ref(addr);
    } else if ((addr = calloc(1, sizeof *addr))) {
        addr->hg_class = hg_class;
        atomic_init(&addr->refs, 1);
        strncpy(addr->host, host, sizeof addr->host - 1);
        HASH_ADD_STR(hg_class->addrs, host, addr);
    }
    pthread_mutex_unlock(&hg_class->addrs_lock);
    return addr;
}

void hgi_addr_ref(struct hg_addr *addr)
{
    atomic_fetch_add_explicit(&addr->refs, 1, memory_order_relaxed);
}

void hgi_addr_release(struct hg_addr *addr)
{
    hg_class_t *hg_class = addr->hg_class;
    unsigned refs = atomic_load_explicit(&addr->refs, memory_order_relaxed);

    assert(refs > 0);
    while (refs > 1)
        if (atomic_compare_exchange_weak_explicit(&addr->refs, &refs, refs - 1, memory_order_acq_rel,
                                                  memory_order_relaxed))
            return;
    pthread_mutex_lock(&hg_class->addrs_lock);
    if (atomic_fetch_sub_explicit(&addr->refs, 1, memory_order_acq_rel) == 1) {
        HASH_DEL(hg_class->addrs, addr);
        free(addr);
    }
    pthread_mutex_unlock(&hg_class->addrs_lock);
}

hg_return_t HG_Addr_lookup2(hg_class_t *hg_class, const char *name, hg_addr_t *addr)
{
    char host[NA_ADDRESS_MAX];
    hg_return_t ret;

    if (addr)
        *addr = HG_ADDR_NULL;
    if (!hg_class || !name || !addr)
        return HG_INVALID_ARG;
    ret = na_address_parse(hg_class->domain, name, host, sizeof host);
    if (ret != HG_SUCCESS)
        return ret;
    *addr = hgi_addr_intern(hg_class, host);
    return *addr ? HG_SUCCESS : HG_NOMEM;
}

int dango_hg_explain_address(const hg_class_t *hg_class, const char *address, hg_return_t ret, struct dango_error *err)
{
    const char *protocol = hg_class->protocol;
    int length = (int)strcspn(address, ":");

    switch (ret) {
    case HG_PROTONOSUPPORT:
        return dango_error_set(err, DANGO_ERR_UNSUPPORTED,
                               "the address is %s, but this process speaks %s: start it with \"%.*s\"", address,
                               protocol, length, address);
    case HG_INVALID_ARG:
        return dango_error_set(err, DANGO_ERR_INVALID, "\"%s\" is not an address of %s (such as %s)", address, protocol,
                               hg_class->domain->address);
    case HG_HOSTUNREACH:
        return dango_error_set(err, DANGO_ERR_NOT_FOUND, "the host of address \"%s\" cannot be found", address);
    default:
        return dango_error_set(err, DANGO_ERR_INTERNAL, "cannot use address \"%s\": %s", address,
                               HG_Error_to_string(ret));
    }
}

static void run_lookup(struct hgi_entry *entry)
{
    struct hgi_op *op = container_of(entry, struct hgi_op, entry);
    struct hg_cb_info info = {.arg = op->arg, .type = HG_CB_LOOKUP, .ret = op->ret};
    hg_cb_t callback = op->callback;

    info.info.lookup.addr = op->transfer.addr;
    op->transfer.addr = NULL; /* the callee's now */
    hgi_op_free(op);
    callback(&info);
}

hg_return_t HG_Addr_lookup1(hg_context_t *context, hg_cb_t callback, void *arg, const char *name, hg_op_id_t *op_id)
{
    struct hg_addr *addr;
    struct hgi_op *op;
    hg_return_t ret;

    if (!context || !callback)
        return HG_INVALID_ARG;
    ret = HG_Addr_lookup2(context->hg_class, name, &addr);
    if (ret != HG_SUCCESS)
        return ret;
    op = hgi_op_new(context);
    if (!op) {
        hgi_addr_release(addr);
        return HG_NOMEM;
    }
    op->callback = callback;
    op->arg = arg;
    op->transfer.addr = addr;
    op->entry.run = run_lookup;
    if (op_id && op_id != HG_OP_ID_IGNORE)
        *op_id = (hg_op_id_t)(void *)op;
    hgi_queue_push(&context->queue, &op->entry);
    na_wait_wake(&context->na->wait);
    return HG_SUCCESS;
}

hg_return_t HG_Addr_self(hg_class_t *hg_class, hg_addr_t *addr)
{
    if (!hg_class)
        return HG_INVALID_ARG;
    return HG_Addr_dup(hg_class, hg_class->self, addr);
}

hg_return_t HG_Addr_dup(hg_class_t *hg_class, hg_addr_t addr, hg_addr_t *new_addr)
{
    if (!hg_class || !addr || !new_addr)
        return HG_INVALID_ARG;
    hgi_addr_ref(addr);
    *new_addr = addr;
    return HG_SUCCESS;
}

hg_return_t HG_Addr_free(hg_class_t *hg_class, hg_addr_t addr)
{
    if (!hg_class)
        return HG_INVALID_ARG;
    if (addr)
        hgi_addr_release(addr);
    return HG_SUCCESS;
}

uint8_t HG_Addr_cmp(hg_class_t *hg_class, hg_addr_t addr1, hg_addr_t addr2)
{
    (void)hg_class;
    return addr1 == addr2;
}

hg_return_t HG_Addr_set_remove(hg_class_t *hg_class, hg_addr_t addr)
{
    if (!hg_class || !addr)
        return HG_INVALID_ARG;
    pthread_mutex_lock(&hg_class->contexts_lock);
    for (unsigned i = 0; i < HGI_CONTEXTS_MAX; i++)
        if (hg_class->contexts[i])
            hgi_peer_remove(hg_class->contexts[i], addr);
    pthread_mutex_unlock(&hg_class->contexts_lock);
    return HG_SUCCESS;
}

hg_return_t HG_Addr_to_string(hg_class_t *hg_class, char *buf, hg_size_t *buf_size, hg_addr_t addr)
{
    char text[NA_ADDRESS_MAX + 32];
    hg_size_t room, need;

    if (!hg_class || !buf_size || !addr)
        return HG_INVALID_ARG;
    na_address_format(hg_class->domain->transport, addr->host, text, sizeof text);
    need = strlen(text) + 1;
    room = *buf_size;
    *buf_size = need;
    if (!buf)
        return HG_SUCCESS;
    if (room < need)
        return HG_OVERFLOW;
    memcpy(buf, text, need);
    return HG_SUCCESS;
}
