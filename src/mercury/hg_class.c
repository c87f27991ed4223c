/*
 * Classes: start, options, end.
 */
#include "mercury/hg.h"

#include "util/log.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Applies the options; "0 means default" throughout. */
static void apply_options(hg_class_t *hg_class, const struct hg_init_info *info)
{
    size_t largest = hg_class->domain->message_max - sizeof(struct hgi_header);
    size_t asked = info->na_init_info.max_unexpected_size;

    hg_class->eager_size = asked > 0 && asked < largest ? asked : largest;
    /* A message that stands for a larger payload must fit. */
    if (hg_class->eager_size < HGI_MORE_MESSAGE_MAX)
        hg_class->eager_size = HGI_MORE_MESSAGE_MAX;
    hg_class->max_contexts = info->na_init_info.max_contexts ? info->na_init_info.max_contexts : 1;
    hg_class->no_bulk_eager = info->no_bulk_eager;
    hg_class->no_loopback = info->no_loopback;
    hg_class->no_overflow = info->no_overflow;
    hg_class->busy_poll = info->na_init_info.progress_mode & NA_NO_BLOCK;
    atomic_init(&hg_class->payload_max, HGI_MESSAGE_DEFAULT);
}

static void locks_init(hg_class_t *hg_class)
{
    pthread_mutex_init(&hg_class->contexts_lock, NULL);
    pthread_mutex_init(&hg_class->rpcs_lock, NULL);
    pthread_mutex_init(&hg_class->addrs_lock, NULL);
    pthread_mutex_init(&hg_class->bulks_lock, NULL);
}

static void locks_fini(hg_class_t *hg_class)
{
    pthread_mutex_destroy(&hg_class->contexts_lock);
    pthread_mutex_destroy(&hg_class->rpcs_lock);
    pthread_mutex_destroy(&hg_class->addrs_lock);
    pthread_mutex_destroy(&hg_class->bulks_lock);
}

hg_class_t *dango_hg_init(const char *protocol, bool listen, const struct hg_init_info *info, struct dango_error *err)
{
    static const struct hg_init_info defaults;
    hg_class_t *hg_class;

    dango_error_clear(err);
    if (!protocol) {
        dango_error_set(err, DANGO_ERR_INVALID, "no protocol given");
        return NULL;
    }
    if (!info)
        info = &defaults;
    if (info->na_class) {
        dango_error_set(err, DANGO_ERR_UNSUPPORTED, "hg_init_info.na_class: existing transports cannot be passed in");
        return NULL;
    }
    hg_class = calloc(1, sizeof *hg_class);
    if (!hg_class) {
        dango_error_set(err, DANGO_ERR_NO_MEMORY, "out of memory");
        return NULL;
    }
    if (na_domain_open(protocol, listen, &info->na_init_info, &hg_class->domain, err)) {
        free(hg_class);
        return NULL;
    }
    locks_init(hg_class);
    apply_options(hg_class, info);
    snprintf(hg_class->protocol, sizeof hg_class->protocol, "%s", hg_class->domain->transport->protocol);
    hg_class->self = hgi_addr_intern(hg_class, hg_class->domain->host);
    if (!hg_class->self) {
        dango_error_set(err, DANGO_ERR_NO_MEMORY, "out of memory");
        na_domain_close(hg_class->domain);
        locks_fini(hg_class);
        free(hg_class);
        return NULL;
    }
    return hg_class;
}

hg_class_t *HG_Init_opt2(const char *na_info_string, uint8_t na_listen, unsigned int version,
                         const struct hg_init_info *hg_init_info)
{
    struct dango_error err;
    hg_class_t *hg_class = dango_hg_init(na_info_string, na_listen, hg_init_info, &err);

    (void)version; /* the structure has not changed since the version that these headers follow */
    if (!hg_class)
        log_error("mercury", "%s", err.text);
    return hg_class;
}

hg_class_t *HG_Init_opt(const char *na_info_string, uint8_t na_listen, const struct hg_init_info *hg_init_info)
{
    return HG_Init_opt2(na_info_string, na_listen, HG_VERSION(HG_VERSION_MAJOR, HG_VERSION_MINOR), hg_init_info);
}

hg_class_t *HG_Init(const char *na_info_string, uint8_t na_listen)
{
    return HG_Init_opt(na_info_string, na_listen, NULL);
}

/* What still keeps the class alive, as text; NULL if nothing. */
static const char *in_use(hg_class_t *hg_class)
{
    const char *what = NULL;

    pthread_mutex_lock(&hg_class->contexts_lock);
    for (unsigned i = 0; i < HGI_CONTEXTS_MAX; i++)
        if (hg_class->contexts[i])
            what = "contexts";
    if (!what && hg_class->zombies > 0)
        what = "handles";
    pthread_mutex_unlock(&hg_class->contexts_lock);

    pthread_mutex_lock(&hg_class->addrs_lock);
    bool only_self = HASH_COUNT(hg_class->addrs) == 1 && atomic_load(&hg_class->self->refs) == 1;
    pthread_mutex_unlock(&hg_class->addrs_lock);
    return what || only_self ? what : "addresses";
}

hg_return_t HG_Finalize(hg_class_t *hg_class)
{
    const char *what;

    if (!hg_class)
        return HG_SUCCESS;
    what = in_use(hg_class);
    if (what) {
        log_error("mercury", "%s: cannot finalize, %s are still in use", hg_class->domain->address, what);
        return HG_BUSY;
    }
    hgi_bulks_forget(hg_class);
    hgi_rpcs_clear(hg_class);
    hgi_addr_release(hg_class->self);
    na_domain_close(hg_class->domain);
    if (hg_class->free_data)
        hg_class->free_data(hg_class->data);
    locks_fini(hg_class);
    free(hg_class->peer_gone);
    free(hg_class);
    return HG_SUCCESS;
}

/* ---- accessors ---- */

const char *HG_Class_get_name(const hg_class_t *hg_class)
{
    return hg_class ? hg_class->domain->transport->class_name : NULL;
}

const char *HG_Class_get_protocol(const hg_class_t *hg_class)
{
    return hg_class ? hg_class->domain->transport->name : NULL;
}

const char *dango_hg_class_protocol(const hg_class_t *hg_class)
{
    assert(hg_class);
    return hg_class->protocol;
}

uint8_t HG_Class_is_listening(const hg_class_t *hg_class)
{
    return hg_class && hg_class->domain->listening;
}

hg_size_t HG_Class_get_input_eager_size(const hg_class_t *hg_class)
{
    return hg_class ? hg_class->eager_size : 0;
}

hg_size_t HG_Class_get_output_eager_size(const hg_class_t *hg_class)
{
    return hg_class ? hg_class->eager_size : 0;
}

hg_return_t HG_Class_set_data(hg_class_t *hg_class, void *data, void (*free_callback)(void *))
{
    if (!hg_class)
        return HG_INVALID_ARG;
    hg_class->data = data;
    hg_class->free_data = free_callback;
    return HG_SUCCESS;
}

void *HG_Class_get_data(const hg_class_t *hg_class)
{
    return hg_class ? hg_class->data : NULL;
}

void dango_hg_set_max_message_size(hg_class_t *hg_class, size_t size_bytes)
{
    assert(hg_class && size_bytes > 0);
    atomic_store(&hg_class->payload_max, size_bytes);
}

char *dango_hg_client_protocol(const char *address)
{
    const char *colon = strchr(address, ':'), *host = "";
    size_t length = colon ? (size_t)(colon - address) : strlen(address);
    char *protocol;

    /* Who is bound to the loopback address of IPv6 reaches nothing but that. */
    if (colon && strncmp(address, "ofi+", 4) == 0 && strncmp(colon, "://[", 4) == 0)
        host = strncmp(colon, "://[::1]", 8) == 0 ? "://[::1]" : "://[::]";
    return asprintf(&protocol, "%.*s%s", (int)length, address, host) < 0 ? NULL : protocol;
}

/* ---- peers that went away ---- */

/* A free slot; NULL without memory. contexts_lock held. */
static struct hgi_peer_gone *peer_gone_slot(hg_class_t *hg_class)
{
    unsigned count = hg_class->peer_gone_count;

    for (unsigned i = 0; i < count; i++)
        if (!hg_class->peer_gone[i].callback)
            return &hg_class->peer_gone[i];
    unsigned more = count > 0 ? 2 * count : 4;
    struct hgi_peer_gone *slots = realloc(hg_class->peer_gone, more * sizeof *slots);
    if (!slots)
        return NULL;
    memset(slots + count, 0, (more - count) * sizeof *slots);
    hg_class->peer_gone = slots;
    hg_class->peer_gone_count = more;
    return &slots[count];
}

hg_return_t dango_hg_set_peer_gone_cb(hg_class_t *hg_class, dango_hg_peer_gone_cb_t cb, void *arg)
{
    if (!hg_class || !cb)
        return HG_INVALID_ARG;
    pthread_mutex_lock(&hg_class->contexts_lock);
    struct hgi_peer_gone *slot = peer_gone_slot(hg_class);
    if (slot)
        *slot = (struct hgi_peer_gone){.callback = cb, .arg = arg};
    pthread_mutex_unlock(&hg_class->contexts_lock);
    return slot ? HG_SUCCESS : HG_NOMEM;
}

void dango_hg_unset_peer_gone_cb(hg_class_t *hg_class, dango_hg_peer_gone_cb_t cb, void *arg)
{
    if (!hg_class)
        return;
    pthread_mutex_lock(&hg_class->contexts_lock);
    for (unsigned i = 0; i < hg_class->peer_gone_count; i++)
        if (hg_class->peer_gone[i].callback == cb && hg_class->peer_gone[i].arg == arg)
            hg_class->peer_gone[i] = (struct hgi_peer_gone){0};
    pthread_mutex_unlock(&hg_class->contexts_lock);
}
