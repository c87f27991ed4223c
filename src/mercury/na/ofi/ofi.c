/*
 * Domains and contexts of ofi: the objects of libfabric, completions, sleeping, and the table of protocols.
 */
#include "mercury/na/ofi/ofi.h"

#include "mercury/na/address.h"
#include "util/clock.h"
#include "util/log.h"
#include "util/plugin.h"
#include "util/signals.h"

#include <assert.h>
#include <dlfcn.h>
#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/timerfd.h>
#include <unistd.h>

#define OFI_VERSION      FI_VERSION(1, 11)
#define CQ_SIZE          4096
#define COMPLETION_BATCH 16
#define BATCHES_MAX      8   /* per poll, so that others get their turn */
#define GOODBYE_MS       200 /* for the last frames to leave */

/* ---- the library ---- */

/* The library, loaded once and never unloaded; NULL: it is not there. */
static const struct dango_libfabric *load_library(struct dango_error *err)
{
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    static const struct dango_libfabric *library;

    pthread_mutex_lock(&lock);
    if (!library) {
        struct dango_signal_actions actions;
        dango_signal_actions_get(&actions);
        void *plugin = dango_plugin_open("libdango-ofi.so", RTLD_NOW | RTLD_LOCAL, NULL, 0);
        dango_signal_actions_restore(&actions);
        const struct dango_libfabric *found = plugin ? dlsym(plugin, "dango_libfabric") : NULL;
        if (!plugin)
            dango_error_set(
                err, DANGO_ERR_UNSUPPORTED,
                "the libfabric plug-in is not installed or does not load: %s (on Debian it needs libfabric1, "
                "and is built when libfabric-dev is there)",
                dlerror());
        else if (!found || found->abi != DANGO_LIBFABRIC_ABI)
            dango_error_set(err, DANGO_ERR_UNSUPPORTED, "libdango-ofi.so belongs to another version of Dango");
        else
            library = found;
    }
    pthread_mutex_unlock(&lock);
    return library;
}

/* ---- addresses ---- */

static const struct ofi_transport *kind_of(const struct na_domain *domain)
{
    return container_of(domain->transport, struct ofi_transport, base);
}

static bool parse_hex(const char *text, unsigned char *bytes, size_t *size)
{
    size_t count = 0;
    const char *digits = strncmp(text, "0x", 2) == 0 ? text + 2 : "";

    for (; digits[0] && digits[1] && count < *size; digits += 2) {
        char pair[3] = {digits[0], digits[1], '\0'}, *end;
        bytes[count++] = (unsigned char)strtoul(pair, &end, 16);
        if (*end)
            return false;
    }
    *size = count;
    return count > 0 && !*digits;
}

static void format_hex(const unsigned char *bytes, size_t count, char *text, size_t size)
{
    assert(2 * count + 3 <= size);
    int length = snprintf(text, size, "0x");
    for (size_t i = 0; i < count; i++)
        length += snprintf(text + length, size - (size_t)length, "%02x", bytes[i]);
}

bool ofi_address_parse(const struct na_domain *domain, const char *host, void *address, size_t *size)
{
    if (!kind_of(domain)->has_ip) /* the provider reads as many bytes as all of its addresses have */
        return parse_hex(host, address, size) && *size == ((const struct ofi_domain *)domain)->address_size;
    union na_ip ip;
    if (na_ip_resolve(host, false, &ip, NULL) || *size < na_ip_size(&ip))
        return false;
    *size = na_ip_size(&ip);
    memcpy(address, &ip, *size);
    return true;
}

static hg_return_t ip_normalise(const char *host, bool resolve, char *canonical, size_t size)
{
    return na_ip_normalise("", host, resolve, canonical, size);
}

static hg_return_t hex_normalise(const char *host, bool resolve, char *canonical, size_t size)
{
    unsigned char bytes[OFI_ADDRESS_MAX - 2];
    size_t count = sizeof bytes;

    (void)resolve;
    if (!parse_hex(host, bytes, &count))
        return HG_INVALID_ARG;
    memset(canonical, 0, size);
    format_hex(bytes, count, canonical, size);
    return HG_SUCCESS;
}

/* ---- domain ---- */

static int failed(const struct ofi_domain *domain, int ret, const char *what, struct dango_error *err)
{
    return dango_error_set(err, DANGO_ERR_IO, "libfabric: %s: %s", what, domain->library->strerror(-ret));
}

/* Are bulk data to go by remote memory access? */
static bool wants_rma(const struct ofi_transport *kind)
{
    const char *choice = getenv("DANGO_OFI_RMA");

    return choice && *choice ? strcmp(choice, "0") != 0 : kind->rma;
}

/* What we need of a provider. The caller frees it. */
static struct fi_info *make_hints(const struct dango_libfabric *library, const struct ofi_transport *kind, int family,
                                  bool rma)
{
    struct fi_info *hints = library->dupinfo(NULL);

    if (!hints)
        return NULL;
    hints->caps = FI_MSG | FI_MULTI_RECV | (rma ? FI_RMA : 0);
    hints->mode = FI_CONTEXT | FI_CONTEXT2;
    hints->ep_attr->type = FI_EP_RDM;
    hints->domain_attr->threading = FI_THREAD_SAFE;
    hints->domain_attr->resource_mgmt = FI_RM_ENABLED;
    hints->domain_attr->mr_mode = FI_MR_LOCAL | FI_MR_VIRT_ADDR | FI_MR_ALLOCATED | FI_MR_PROV_KEY | FI_MR_ENDPOINT;
    hints->tx_attr->msg_order = hints->rx_attr->msg_order = FI_ORDER_SAS;
    hints->fabric_attr->prov_name = strdup(kind->provider);
    if (kind->has_ip && family != AF_UNSPEC)
        hints->addr_format = family == AF_INET6 ? FI_SOCKADDR_IN6 : FI_SOCKADDR_IN;
    return hints;
}

static int no_provider(const struct ofi_transport *kind, int ret, const struct dango_libfabric *library,
                       struct dango_error *err)
{
    if (ret == -FI_ENODATA)
        return dango_error_set(err, DANGO_ERR_UNSUPPORTED,
                               "this machine has no %s: libfabric finds no endpoint of its provider \"%s\" (fi_info -p "
                               "\"%s\" shows what there is)",
                               kind->hardware, kind->provider, kind->provider);
    return dango_error_set(err, DANGO_ERR_UNSUPPORTED, "libfabric's provider \"%s\" cannot be used: %s", kind->provider,
                           library->strerror(-ret));
}

/* What the text behind "://" says. */
struct place {
    char domain[NA_IP_NAME_MAX]; /* libfabric's name of it ("eth0", "mlx5_0", "cxi0"); "": any */
    char host
        [NA_IP_NAME_MAX]; /* for na_ip_choose; where addresses are not those of sockets the number behind the colon */
};

/* "[DOMAIN/][HOST][:PORT]", or "[DOMAIN][:NUMBER]" where addresses are not those of sockets. */
static int read_place(const struct ofi_transport *kind, const char *text, struct place *place, struct dango_error *err)
{
    const char *end = strchr(text, kind->has_ip ? '/' : ':'), *host = end ? end + 1 : kind->has_ip ? text : "";
    size_t length = end ? (size_t)(end - text) : kind->has_ip ? 0 : strlen(text);

    if (length >= sizeof place->domain || length + strlen(host) >= sizeof place->host)
        return dango_error_set(err, DANGO_ERR_INVALID, "the host has more than %zu characters", sizeof place->host - 1);
    memcpy(place->domain, text, length);
    place->domain[length] = '\0';
    if (kind->listens && *place->domain && if_nametoindex(place->domain) == 0) /* the provider would not mind */
        return dango_error_set(err, DANGO_ERR_NOT_FOUND, "\"%s\" is no network interface (ip address lists them)",
                               place->domain);
    /* The name of an interface says which address, too. */
    bool names_address = kind->has_ip && (*host == '\0' || *host == ':') && if_nametoindex(place->domain) != 0;
    snprintf(place->host, sizeof place->host, "%s%s", names_address ? place->domain : "", host);
    return 0;
}

/* Asks the provider for an endpoint with the chosen address. 0, or libfabric's code. */
static int get_info(struct ofi_domain *domain, const struct ofi_transport *kind, const struct place *place,
                    const union na_ip *ip, bool rma)
{
    struct fi_info *hints = make_hints(domain->library, kind, ip ? ip->any.sa_family : AF_UNSPEC, rma);
    char node[NA_IP_NAME_MAX], text[NA_ADDRESS_MAX], service[NA_IP_NAME_MAX];
    const char *from = NULL;
    int port = 0;

    if (!hints)
        return -FI_ENOMEM;
    if (*place->domain)
        hints->domain_attr->name = strdup(place->domain);
    snprintf(service, sizeof service, "%s", place->host);
    if (ip) {
        na_ip_format(ip, text, sizeof text);
        na_ip_split(text, node, sizeof node, &port, NULL);
        snprintf(service, sizeof service, "%d", port);
        from = node;
    } else if (*service && *place->domain) {
        from = place->domain;
    }
    int ret = domain->library->getinfo(OFI_VERSION, from, *service ? service : NULL,
                                       (*service ? FI_SOURCE : 0) | (ip ? FI_NUMERICHOST : 0), hints, &domain->info);
    domain->library->freeinfo(hints);
    return ret;
}

static int find_endpoint(struct ofi_domain *domain, const struct ofi_transport *kind, const struct place *place,
                         const union na_ip *ip, struct dango_error *err)
{
    bool rma = wants_rma(kind);
    int ret = get_info(domain, kind, place, ip, rma);

    if (ret == -FI_ENODATA && rma) {
        rma = false;
        ret = get_info(domain, kind, place, ip, rma);
    }
    if (ret)
        return no_provider(kind, ret, domain->library, err);
    if (domain->info->ep_attr->max_msg_size < OFI_FRAME_MAX)
        return dango_error_set(err, DANGO_ERR_UNSUPPORTED, "its messages are too small (%zu bytes)",
                               domain->info->ep_attr->max_msg_size);
    domain->base.access_max = rma ? OFI_LOAN_MAX : 0;
    return 0;
}

static int open_objects(struct ofi_domain *domain, struct dango_error *err)
{
    struct fi_av_attr av = {.type = FI_AV_UNSPEC};
    struct fi_cq_attr cq = {.size = CQ_SIZE, .format = FI_CQ_FORMAT_DATA, .wait_obj = FI_WAIT_FD};
    int ret;

    if ((ret = domain->library->fabric(domain->info->fabric_attr, &domain->fabric, NULL)))
        return failed(domain, ret, "fabric", err);
    if ((ret = fi_domain(domain->fabric, domain->info, &domain->domain, NULL)))
        return failed(domain, ret, "domain", err);
    if ((ret = fi_av_open(domain->domain, &av, &domain->av, NULL)))
        return failed(domain, ret, "address vector", err);
    if ((ret = fi_cq_open(domain->domain, &cq, &domain->cq, NULL)))
        return failed(domain, ret, "completion queue", err);
    if ((ret = fi_control(&domain->cq->fid, FI_GETWAIT, &domain->cq_fd)))
        return failed(domain, ret, "wait descriptor", err);
    if ((ret = fi_endpoint(domain->domain, domain->info, &domain->endpoint, NULL)))
        return failed(domain, ret, "endpoint", err);
    if ((ret = fi_ep_bind(domain->endpoint, &domain->av->fid, 0)) ||
        (ret = fi_ep_bind(domain->endpoint, &domain->cq->fid, FI_TRANSMIT | FI_RECV)) ||
        (ret = fi_enable(domain->endpoint)))
        return failed(domain, ret, "endpoint", err);
    return 0;
}

/* Hands a receive buffer to the provider. */
static ssize_t post(struct ofi_domain *domain, struct ofi_recv *recv)
{
    void *descriptor = recv->mr ? fi_mr_desc(recv->mr) : NULL;
    struct iovec piece = {.iov_base = recv->bytes, .iov_len = OFI_RECV_SIZE};
    struct fi_msg message = {
        .msg_iov = &piece, .desc = &descriptor, .iov_count = 1, .addr = FI_ADDR_UNSPEC, .context = &recv->context};

    return fi_recvmsg(domain->endpoint, &message, FI_MULTI_RECV);
}

static int post_buffers(struct ofi_domain *domain, struct dango_error *err)
{
    size_t smallest = OFI_FRAME_MAX;
    int ret = fi_setopt(&domain->endpoint->fid, FI_OPT_ENDPOINT, FI_OPT_MIN_MULTI_RECV, &smallest, sizeof smallest);

    if (ret)
        return failed(domain, ret, "size of receive buffers", err);
    for (size_t i = 0; i < OFI_RECV_BUFFERS; i++) {
        struct ofi_recv *recv = &domain->recvs[i];
        recv->bytes = malloc(OFI_RECV_SIZE);
        if (!recv->bytes)
            return dango_error_set(err, DANGO_ERR_NO_MEMORY, "out of memory");
        if (domain->info->domain_attr->mr_mode & FI_MR_LOCAL &&
            (ret = fi_mr_reg(domain->domain, recv->bytes, OFI_RECV_SIZE, FI_RECV, 0, 0, 0, &recv->mr, NULL)))
            return failed(domain, ret, "registering memory", err);
        ssize_t posted = post(domain, recv);
        if (posted)
            return failed(domain, (int)posted, "receive buffer", err);
    }
    return 0;
}

/* The address that others use. */
static int publish(struct ofi_domain *domain, const struct na_ip_choice *choice, struct dango_error *err)
{
    union {
        union na_ip ip;
        unsigned char bytes[OFI_ADDRESS_MAX];
    } name = {0};
    size_t size = sizeof name;
    int ret = fi_getname(&domain->endpoint->fid, &name, &size);

    if (ret)
        return failed(domain, ret, "address of the endpoint", err);
    domain->address_size = size;
    if (choice) {
        union na_ip self = choice->publish;
        na_ip_set_port(&self, na_ip_port(&name.ip));
        na_ip_format(&self, domain->base.host, sizeof domain->base.host);
    } else {
        if (size > OFI_ADDRESS_MAX - 2)
            return dango_error_set(err, DANGO_ERR_UNSUPPORTED, "its addresses are too long (%zu bytes)", size);
        format_hex(name.bytes, size, domain->base.host, sizeof domain->base.host);
    }
    na_address_format(domain->base.transport, domain->base.host, domain->base.address, sizeof domain->base.address);
    return 0;
}

static void close_object(struct fid *fid)
{
    if (fid)
        fi_close(fid);
}

static void domain_close(struct na_domain *base)
{
    struct ofi_domain *domain = (struct ofi_domain *)base;

    if (domain->endpoint)
        close_object(&domain->endpoint->fid);
    ofi_tx_fini(domain);
    for (size_t i = 0; i < OFI_RECV_BUFFERS; i++) {
        if (domain->recvs[i].mr)
            close_object(&domain->recvs[i].mr->fid);
        free(domain->recvs[i].bytes);
    }
    if (domain->cq)
        close_object(&domain->cq->fid);
    if (domain->av)
        close_object(&domain->av->fid);
    if (domain->domain)
        close_object(&domain->domain->fid);
    if (domain->fabric)
        close_object(&domain->fabric->fid);
    if (domain->info)
        domain->library->freeinfo(domain->info);
    free(domain);
}

static int domain_open(const struct na_transport *transport, const struct na_open_info *info, struct na_domain **result,
                       struct dango_error *err)
{
    const struct ofi_transport *kind = container_of(transport, struct ofi_transport, base);
    struct ofi_domain *domain = calloc(1, sizeof *domain);
    struct na_ip_choice choice;
    struct place place;
    int rc = 0;

    if (!domain)
        return dango_error_set(err, DANGO_ERR_NO_MEMORY, "out of memory");
    domain->base.transport = transport;
    domain->base.listening = info->listen;
    domain->base.message_max = OFI_MESSAGE_MAX;
    domain->base.loan_max = OFI_LOAN_MAX;
    ofi_tx_init(domain);
    domain->library = load_library(err);
    if (!domain->library)
        rc = err ? err->code : DANGO_ERR_UNSUPPORTED;
    else
        ofi_settings_apply(kind->provider);
    if (rc == 0)
        rc = read_place(kind, info->host, &place, err);
    if (rc == 0 && kind->has_ip)
        rc = na_ip_choose(place.host, info->options, &choice, err);
    if (rc == 0)
        rc = find_endpoint(domain, kind, &place, kind->has_ip ? &choice.bind : NULL, err);
    if (rc == 0)
        rc = open_objects(domain, err);
    if (rc == 0)
        rc = post_buffers(domain, err);
    if (rc == 0)
        rc = publish(domain, kind->has_ip ? &choice : NULL, err);
    if (rc == 0 && getrandom(&domain->epoch, sizeof domain->epoch, 0) != (ssize_t)sizeof domain->epoch)
        rc = dango_error_set_errno(err, errno, "no random numbers");
    if (rc) {
        dango_error_prefix(err, "%s://%s", transport->protocol, info->host);
        domain_close(&domain->base);
        return rc;
    }
    *result = &domain->base;
    return 0;
}

/* ---- completions ---- */

static struct ofi_recv *as_recv(struct ofi_domain *domain, void *object)
{
    struct ofi_recv *recv = object;
    return recv >= domain->recvs && recv < domain->recvs + OFI_RECV_BUFFERS ? recv : NULL;
}

static void repost(struct ofi_context *context)
{
    struct ofi_domain *domain = (struct ofi_domain *)context->base.domain;

    for (unsigned i = 0; i < OFI_RECV_BUFFERS; i++)
        if (context->unposted & 1u << i && post(domain, &domain->recvs[i]) == 0)
            context->unposted &= ~(1u << i);
    if (context->unposted)
        ofi_wake_in(context, OFI_RETRY_MS);
}

static void sent(struct ofi_context *context, struct ofi_tx *tx)
{
    if (tx->access.size > 0)
        ofi_accessed(context, tx, HG_SUCCESS);
    else
        ofi_sent((struct ofi_domain *)context->base.domain, tx);
}

static void take_completion(struct ofi_context *context, const struct fi_cq_data_entry *entry)
{
    struct ofi_domain *domain = (struct ofi_domain *)context->base.domain;
    struct ofi_recv *recv = as_recv(domain, entry->op_context);

    /* A peer has accessed our memory, and wants us to know: that is nothing of ours that has ended. */
    if (!entry->op_context || entry->flags & (FI_REMOTE_READ | FI_REMOTE_WRITE))
        return;
    if (!recv) {
        sent(context, entry->op_context);
        return;
    }
    if (entry->len > 0)
        ofi_arrived(context, entry->buf, entry->len);
    if (entry->flags & FI_MULTI_RECV) {
        context->unposted |= 1u << (recv - domain->recvs);
        repost(context);
    }
}

/* A frame that could not be sent ends its connection. An access may have failed because of what the peer does with its
 * memory: the core asks it by message. */
static void take_error(struct ofi_context *context)
{
    struct ofi_domain *domain = (struct ofi_domain *)context->base.domain;
    struct fi_cq_err_entry entry = {0};

    if (fi_cq_readerr(domain->cq, &entry, 0) != 1 || !entry.op_context)
        return;
    struct ofi_recv *recv = as_recv(domain, entry.op_context);
    if (recv) {
        context->unposted |= 1u << (recv - domain->recvs);
        repost(context);
        return;
    }
    struct ofi_tx *tx = entry.op_context;
    struct ofi_conn *conn = tx->conn;
    log_debug("mercury", "%s: %s", conn->base.peer, domain->library->strerror(entry.err));
    if (tx->access.size > 0) {
        ofi_accessed(context, tx, HG_NA_ERROR);
        return;
    }
    na_conn_ref(&conn->base);
    ofi_sent(domain, tx);
    if (!na_conn_is_closed(&conn->base))
        na_conn_close(&conn->base, conn->stage == OFI_STAGE_OPEN ? HG_NODEV : HG_HOSTUNREACH);
    na_conn_release(&conn->base);
}

static bool read_completions(struct ofi_context *context)
{
    struct ofi_domain *domain = (struct ofi_domain *)context->base.domain;
    bool any = false;

    for (int batch = 0; batch < BATCHES_MAX; batch++) {
        struct fi_cq_data_entry entries[COMPLETION_BATCH];
        ssize_t count = fi_cq_read(domain->cq, entries, COMPLETION_BATCH);
        if (count == -FI_EAVAIL)
            take_error(context);
        for (ssize_t i = 0; i < count; i++)
            take_completion(context, &entries[i]);
        if (count <= 0 && count != -FI_EAVAIL)
            break;
        any = true;
    }
    return any;
}

/* ---- context ---- */

static int watch(struct ofi_context *context, int fd)
{
    struct epoll_event event = {.events = EPOLLIN};
    return epoll_ctl(context->base.wait.epoll_fd, EPOLL_CTL_ADD, fd, &event);
}

static void context_free(struct ofi_context *context)
{
    if (context->timer_fd >= 0)
        close(context->timer_fd);
    pthread_mutex_destroy(&context->tokens_lock);
    free(context);
}

static hg_return_t context_open(struct na_domain *base, uint8_t id, const struct na_upcalls *upcalls, void *arg,
                                struct na_context **result)
{
    struct ofi_domain *domain = (struct ofi_domain *)base;
    struct ofi_context *context;

    if (domain->context) {
        log_error("mercury", "%s: over libfabric a class has one context only", base->address);
        return HG_OPNOTSUPPORTED;
    }
    context = calloc(1, sizeof *context);
    if (!context)
        return HG_NOMEM;
    pthread_mutex_init(&context->tokens_lock, NULL);
    context->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    if (context->timer_fd < 0 || na_context_init(&context->base, base, id, upcalls, arg, NULL)) {
        log_error("mercury", "%s: cannot create context %u: %s", base->address, id, strerror(errno));
        context_free(context);
        return HG_NA_ERROR;
    }
    if (watch(context, context->timer_fd) || watch(context, domain->cq_fd)) {
        na_context_fini(&context->base);
        context_free(context);
        return HG_NA_ERROR;
    }
    domain->context = context;
    *result = &context->base;
    return HG_SUCCESS;
}

/* Frames that were handed over are on their way, the last ones being goodbyes: gives them a moment. */
static void drain(struct ofi_context *context)
{
    struct ofi_domain *domain = (struct ofi_domain *)context->base.domain;
    int64_t end_ns = dango_clock_ns() + GOODBYE_MS * DANGO_NS_PER_MS;
    size_t left;

    do {
        read_completions(context);
        pthread_mutex_lock(&domain->tx_lock);
        left = domain->tx_bytes;
        pthread_mutex_unlock(&domain->tx_lock);
    } while (left > 0 && dango_clock_ns() < end_ns && usleep(50) == 0);
}

static void context_close(struct na_context *base)
{
    struct ofi_context *context = (struct ofi_context *)base;
    struct ofi_domain *domain = (struct ofi_domain *)base->domain;

    context->lonely = true;
    na_context_close_conns(base);
    drain(context);
    assert(!context->tokens);
    domain->context = NULL;
    na_context_fini(base);
    context_free(context);
}

/* ---- polling ---- */

static bool tick_if_due(struct ofi_context *context)
{
    int64_t when_ns = atomic_load_explicit(&context->tick_ns, memory_order_relaxed);
    const struct itimerspec off = {0};

    if (when_ns == 0 || dango_clock_ns() < when_ns)
        return false;
    pthread_mutex_lock(&context->base.conns_lock);
    context->tick_ns = 0;
    timerfd_settime(context->timer_fd, 0, &off, NULL); /* it may be about to ring, or have rung */
    pthread_mutex_unlock(&context->base.conns_lock);
    ofi_tick(context);
    return true;
}

/* The doorbell is edge-triggered: to be silent it must have been looked at. What else there is, we find without
 * epoll. */
static void answer_doorbell(struct ofi_context *context)
{
    struct epoll_event events[3];

    atomic_store_explicit(&context->base.wait.look_at_epoll, false, memory_order_relaxed);
    epoll_wait(context->base.wait.epoll_fd, events, 3, 0);
}

static bool poll_all(struct na_context *base, bool all)
{
    struct ofi_context *context = (struct ofi_context *)base;
    bool any = false;

    (void)all;
    if (atomic_load_explicit(&base->wait.look_at_epoll, memory_order_relaxed))
        answer_doorbell(context);
    any |= na_context_attend(base);
    any |= tick_if_due(context);
    any |= read_completions(context);
    ofi_offer_room(context);
    return any;
}

/* Also makes the provider's descriptor good for sleeping on. */
static bool has_work(struct na_context *base)
{
    struct ofi_domain *domain = (struct ofi_domain *)base->domain;
    struct fid *queue = &domain->cq->fid;

    if (fi_trywait(domain->fabric, &queue, 1) != FI_SUCCESS)
        return true;
    return na_context_attend(base);
}

static hg_return_t recall(struct na_conn *conn, uint64_t loan_number)
{
    /* Loans are copied as soon as we get them. One that is being copied in comes back by itself. */
    (void)conn, (void)loan_number;
    return HG_SUCCESS;
}

/* ---- protocols ---- */

/* name, provider, addresses of sockets, listening there, memory access by hardware, what a machine without it lacks,
 * other names (NULL: none) */
#define OFI_PROTOCOLS(X)                                                                                               \
    X(tcp, "tcp;ofi_rxm", true, true, false, "network interface", "ofi+tcp;ofi_rxm", "ofi+tcp_rxm", "ofi+tcp_exp",     \
      "tcp;ofi_rxm", "tcp_rxm", "tcp_exp")                                                                             \
    X(sockets, "sockets", true, true, false, "network interface", "sockets", NULL)                                     \
    X(verbs, "verbs;ofi_rxm", true, false, true, "InfiniBand or RoCE device", "verbs", "ofi+verbs;ofi_rxm",            \
      "verbs;ofi_rxm")                                                                                                 \
    X(cxi, "cxi", false, false, true, "Slingshot network card", "cxi", NULL)                                           \
    X(psm2, "psm2", false, false, false, "Omni-Path network card", "psm2", NULL)                                       \
    X(opx, "opx", false, false, false, "Cornelis Omni-Path network card", "opx", NULL)                                 \
    X(gni, "gni", false, false, true, "Aries network card", "gni", NULL)

#define OFI_TRANSPORT(NAME, PROVIDER, HAS_IP, LISTENS, RMA, HARDWARE, ...)                                             \
    static const char *const NAME##_aliases[] = {__VA_ARGS__, NULL};                                                   \
    static const struct ofi_transport NAME##_transport = {                                                             \
        .base =                                                                                                        \
            {                                                                                                          \
                .class_name = "ofi",                                                                                   \
                .name = #NAME,                                                                                         \
                .protocol = "ofi+" #NAME,                                                                              \
                .aliases = NAME##_aliases,                                                                             \
                .domain_open = domain_open,                                                                            \
                .domain_close = domain_close,                                                                          \
                .address_normalise = HAS_IP ? ip_normalise : hex_normalise,                                            \
                .context_open = context_open,                                                                          \
                .context_close = context_close,                                                                        \
                .connect = ofi_connect,                                                                                \
                .poll = poll_all,                                                                                      \
                .has_work = has_work,                                                                                  \
                .conn_write = ofi_conn_write,                                                                          \
                .conn_recall = recall,                                                                                 \
                .region_open = ofi_region_open,                                                                        \
                .region_close = ofi_region_close,                                                                      \
                .conn_access = ofi_conn_access,                                                                        \
                .conn_shutdown = ofi_conn_shutdown,                                                                    \
                .conn_free = ofi_conn_free,                                                                            \
            },                                                                                                         \
        .provider = PROVIDER,                                                                                          \
        .hardware = HARDWARE,                                                                                          \
        .has_ip = HAS_IP,                                                                                              \
        .listens = LISTENS,                                                                                            \
        .rma = RMA,                                                                                                    \
    };

/* clang-format off */
OFI_PROTOCOLS(OFI_TRANSPORT)

#define OFI_ENTRY(NAME, ...) &NAME##_transport.base,
/* clang-format on */

const struct na_transport *const *na_ofi_transports(void)
{
    static const struct na_transport *const all[] = {OFI_PROTOCOLS(OFI_ENTRY) NULL};
    return all;
}
