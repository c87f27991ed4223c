/*
 * Remote memory access: regions of ours that peers read and write, and reading and writing theirs.
 *
 * A region is a bulk handle's memory, one registration per segment, with the rights of the handle. Its description (the
 * process that it belongs to, addresses and keys as libfabric wants them) travels inside the bulk handle. It comes back
 * from anywhere: lengths are checked here, and a description of another process than the one at the other end of the
 * connection is refused; what the numbers mean is the peer's own affair, for it is its memory that they lead to.
 *
 * The end of a region. Closing the registrations must end all access, for the user takes back the memory. Hardware sees
 * to that. Providers that emulate it look up the key when an access begins, and go on with what they have begun when
 * the registration is closed (seen with tcp and sockets: memory was written after it had been freed). That is why these
 * exchange messages, from which memory can be recalled (hg_loan.c), unless DANGO_OFI_RMA=1 says otherwise.
 *
 * The local side. An access that libfabric has been given cannot be taken back, and to a peer that is gone it may end
 * long after we have noticed, or never. Therefore the provider never gets the user's memory, but a buffer of ours
 * (those of frames, ofi_send.c): a put copies into it at the beginning, and of a get the core copies out of it at the
 * end, if it still waits. The buffer, the connection and the provider's address of the peer stay until the provider has
 * reported the end, or the endpoint is closed. While the connection is open that is told to the core, exactly once;
 * after it has closed, to nobody: the core has ended all transfers then.
 *
 * A peer that refuses an access may lose its connection to us by that: emulated, and on verbs, an invalid key ends the
 * provider's own connection, with whatever was under way on it.
 *
 * Limits. OFI_ACCESSES_MAX are under way at most, their bytes counting for OFI_TX_MAX. Beyond, and when the provider
 * says FI_EAGAIN, the access is refused, and the progress loop offers to try again.
 */
#include "mercury/na/ofi/ofi.h"

#include "mercury_bulk.h"
#include "util/log.h"

#include <assert.h>
#include <endian.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define KEY_TRIES 4 /* numbers drawn for one registration, before giving up */

/* ---- regions of ours ---- */

/* A key of our choice, as long as the provider takes; one that chooses keys itself ignores it. */
static uint64_t draw_key(const struct ofi_domain *domain)
{
    size_t size = domain->info->domain_attr->mr_key_size;
    uint64_t key = 0;

    if (getrandom(&key, sizeof key, 0) != (ssize_t)sizeof key)
        return 0;
    return size < sizeof key ? key & ((UINT64_C(1) << 8 * size) - 1) : key;
}

/* 0, or libfabric's code. */
static int register_segment(struct ofi_domain *domain, const struct na_segment *segment, uint64_t flags,
                            struct fid_mr **mr)
{
    int ret = -FI_ENOKEY;

    for (int i = 0; ret == -FI_ENOKEY && i < KEY_TRIES; i++)
        ret = fi_mr_reg(domain->domain, (void *)(uintptr_t)segment->address, segment->size, flags, 0, draw_key(domain),
                        0, mr, NULL);
    if (ret) {
        *mr = NULL;
        return ret;
    }
    if (domain->info->domain_attr->mr_mode & FI_MR_ENDPOINT) {
        ret = fi_mr_bind(*mr, &domain->endpoint->fid, 0);
        if (ret == 0)
            ret = fi_mr_enable(*mr);
    }
    return ret == 0 && fi_mr_key(*mr) == FI_KEY_NOTAVAIL ? -FI_ENOKEY : ret;
}

/* Registering costs more than it brings for little memory, or memory in small pieces. */
static bool is_worth_it(const struct na_segment *segments, uint32_t count)
{
    uint64_t size = 0;

    if (count > OFI_REGION_SEGMENTS)
        return false;
    for (uint32_t i = 0; i < count; i++)
        size += segments[i].size;
    return size >= OFI_REGION_MIN && size / count >= OFI_REGION_PIECE;
}

static void free_region(struct ofi_region *region)
{
    for (uint32_t i = 0; i < OFI_REGION_SEGMENTS; i++)
        if (region->mrs[i])
            fi_close(&region->mrs[i]->fid);
    free(region);
}

struct na_region *ofi_region_open(struct na_domain *base, const struct na_segment *segments, uint32_t count,
                                  uint8_t rights)
{
    struct ofi_domain *domain = (struct ofi_domain *)base;
    const uint64_t flags =
        (rights & HG_BULK_READ_ONLY ? FI_REMOTE_READ : 0) | (rights & HG_BULK_WRITE_ONLY ? FI_REMOTE_WRITE : 0);
    const bool by_address = domain->info->domain_attr->mr_mode & FI_MR_VIRT_ADDR;
    int ret = 0;

    if (base->access_max == 0 || !is_worth_it(segments, count))
        return NULL;
    struct ofi_region *region = calloc(1, sizeof *region);
    if (!region)
        return NULL;
    region->info.epoch = domain->epoch;
    for (uint32_t i = 0; ret == 0 && i < count; i++) {
        if (segments[i].size == 0)
            continue;
        ret = register_segment(domain, &segments[i], flags, &region->mrs[i]);
        if (ret == 0) {
            region->info.segments[i].base = htole64(by_address ? segments[i].address : 0);
            region->info.segments[i].key = htole64(fi_mr_key(region->mrs[i]));
        }
    }
    if (ret) {
        log_debug("mercury", "memory is not registered with libfabric: %s", domain->library->strerror(-ret));
        free_region(region);
        return NULL;
    }
    region->base.access = &region->info;
    region->base.size = (uint16_t)(sizeof region->info.epoch + count * sizeof *region->info.segments);
    atomic_fetch_add(&domain->regions, 1);
    return &region->base;
}

void ofi_region_close(struct na_domain *base, struct na_region *region)
{
    atomic_fetch_sub(&((struct ofi_domain *)base)->regions, 1);
    free_region(container_of(region, struct ofi_region, base));
}

/* ---- regions of peers ---- */

/* Where the access leads; false if it is not to a region of that peer. */
static bool find_target(const struct ofi_conn *conn, const struct na_access *access, struct fi_rma_iov *target)
{
    struct ofi_region_info info;
    size_t size = access->access_size;

    if (size < sizeof info.epoch || size > sizeof info || (size - sizeof info.epoch) % sizeof *info.segments)
        return false;
    memcpy(&info, access->access, size);
    if (info.epoch != conn->epoch || access->segment >= (size - sizeof info.epoch) / sizeof *info.segments)
        return false;
    *target = (struct fi_rma_iov){.addr = le64toh(info.segments[access->segment].base) + access->offset,
                                  .len = access->size,
                                  .key = le64toh(info.segments[access->segment].key)};
    return true;
}

/* Hands the access over to the provider. */
static ssize_t start(struct ofi_domain *domain, struct ofi_tx *tx, const struct fi_rma_iov *target)
{
    void *descriptor = tx->mr ? fi_mr_desc(tx->mr) : NULL;
    const struct iovec piece = {.iov_base = tx->bytes, .iov_len = tx->size};
    const struct fi_msg_rma message = {.msg_iov = &piece,
                                       .desc = &descriptor,
                                       .iov_count = 1,
                                       .addr = tx->conn->peer,
                                       .rma_iov = target,
                                       .rma_iov_count = 1,
                                       .context = &tx->context};

    if (tx->access.op == NA_RMA_GET)
        return fi_readmsg(domain->endpoint, &message, FI_COMPLETION);
    /* Who hears of the end, from whomever, must find the bytes there. */
    return fi_writemsg(domain->endpoint, &message, FI_COMPLETION | FI_DELIVERY_COMPLETE);
}

/* Comes back to it when there may be room. */
static hg_return_t refuse(struct ofi_conn *conn)
{
    struct ofi_context *context = (struct ofi_context *)conn->base.context;

    atomic_store(&context->access_wanted, true);
    ofi_wake_in(context, OFI_RETRY_MS);
    return HG_AGAIN;
}

hg_return_t ofi_conn_access(struct na_conn *base, const struct na_access *access, const struct iovec *pieces, int count)
{
    struct ofi_conn *conn = (struct ofi_conn *)base;
    struct ofi_domain *domain = (struct ofi_domain *)base->context->domain;
    struct fi_rma_iov target;
    struct ofi_tx *tx;

    if (!find_target(conn, access, &target))
        return HG_OPNOTSUPPORTED;
    if (atomic_fetch_add(&domain->accesses, 1) >= OFI_ACCESSES_MAX) {
        atomic_fetch_sub(&domain->accesses, 1);
        return refuse(conn);
    }
    hg_return_t ret = ofi_tx_get(domain, access->size, false, &tx);
    if (ret != HG_SUCCESS) {
        atomic_fetch_sub(&domain->accesses, 1);
        return ret == HG_AGAIN ? refuse(conn) : ret;
    }
    tx->access = *access;
    tx->access.access = NULL; /* was valid until here */
    atomic_fetch_add(&conn->accesses, 1);
    ofi_tx_attach(tx, conn);
    if (access->op == NA_RMA_PUT)
        ofi_tx_fill(tx, 0, pieces, count);
    ssize_t started = start(domain, tx, &target);
    if (started == 0) {
        atomic_fetch_add(&domain->accesses_started, 1);
        return HG_SUCCESS;
    }
    ofi_sent(domain, tx);
    return started == -FI_EAGAIN ? refuse(conn) : HG_OPNOTSUPPORTED;
}

void ofi_accessed(struct ofi_context *context, struct ofi_tx *tx, hg_return_t ret)
{
    struct na_conn *conn = &tx->conn->base;

    tx->conn->heard |= ret == HG_SUCCESS;
    if (!na_conn_is_closed(conn))
        context->base.upcalls.accessed(context->base.upcall_arg, conn, &tx->access, tx->bytes, ret);
    ofi_sent((struct ofi_domain *)context->base.domain, tx);
}

void ofi_offer_room(struct ofi_context *context)
{
    if (atomic_load_explicit(&context->access_wanted, memory_order_relaxed) &&
        atomic_exchange(&context->access_wanted, false))
        context->base.upcalls.access_room(context->base.upcall_arg);
}
