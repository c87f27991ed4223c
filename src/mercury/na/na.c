/*
 * The table of built-in transports and the grammar of protocol strings:
 *
 *     [CLASS+]PROTOCOL[:[//HOST]]
 *
 * "na+sm", "sm", "sm:" and "sm://" mean the same. An unknown protocol is an error that lists what is built in.
 */
#include "mercury/na/na.h"

#include "mercury/na/sm/sm.h"
#include "mercury/na/tcp/tcp.h"
#include "util/suggest.h"

#include <assert.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#ifdef DANGO_WITH_OFI
#include "mercury/na/ofi/ofi.h"
#define NOT_BUILT_IN ""
#else
#define NOT_BUILT_IN "; this build has none of libfabric's: install libfabric-dev and build it again"
#endif

#define TRANSPORTS_MAX 16
#define NAMES_MAX      48 /* with other names; the rest is not suggested */

static const struct na_transport *transports[TRANSPORTS_MAX + 1];

static void collect(void)
{
    size_t count = 0;

    transports[count++] = &na_sm_transport;
    transports[count++] = &na_tcp_transport;
#ifdef DANGO_WITH_OFI
    for (const struct na_transport *const *ofi = na_ofi_transports(); *ofi; ofi++) {
        assert(count < TRANSPORTS_MAX);
        transports[count++] = *ofi;
    }
#endif
}

const struct na_transport *const *na_transports(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    pthread_once(&once, collect);
    return transports;
}

static bool transport_has_name(const struct na_transport *transport, const char *name, size_t length)
{
    if (strlen(transport->protocol) == length && memcmp(transport->protocol, name, length) == 0)
        return true;
    for (const char *const *alias = transport->aliases; *alias; alias++)
        if (strlen(*alias) == length && memcmp(*alias, name, length) == 0)
            return true;
    return false;
}

/* Splits "protocol://host"; the host is "" when absent. False if the text after the colon is not "//…". */
static bool split(const char *text, size_t *name_length, const char **host)
{
    const char *colon = strchr(text, ':');
    if (!colon) {
        *name_length = strlen(text);
        *host = "";
        return true;
    }
    *name_length = (size_t)(colon - text);
    if (colon[1] == '\0') {
        *host = "";
        return true;
    }
    if (colon[1] != '/' || colon[2] != '/')
        return false;
    *host = colon + 3;
    return true;
}

/* All names: first those of the transports, whose number is returned, then their other names. */
static size_t collect_names(const char **names, size_t max, size_t *count)
{
    size_t transport_count = 0;

    *count = 0;
    for (const struct na_transport *const *transport = na_transports(); *transport; transport++, transport_count++)
        names[(*count)++] = (*transport)->protocol;
    for (const struct na_transport *const *transport = na_transports(); *transport; transport++)
        for (const char *const *alias = (*transport)->aliases; *alias && *count < max; alias++)
            names[(*count)++] = *alias;
    return transport_count;
}

static int unknown_protocol(const char *text, size_t name_length, struct dango_error *err)
{
    const char *names[NAMES_MAX];
    char name[64], list[256], hint[96] = "";
    size_t count, transport_count = collect_names(names, NAMES_MAX, &count);

    snprintf(name, sizeof name, "%.*s", (int)(name_length < 63 ? name_length : 63), text);
    /* libfabric's shm has no descriptor to sleep on, and na+sm is there for the same. */
    if (strcmp(name, "ofi+shm") == 0 || strcmp(name, "shm") == 0 || strcmp(name, "ofi+sm") == 0)
        return dango_error_set(err, DANGO_ERR_UNSUPPORTED,
                               "no transport for protocol \"%s\": between processes of one node use na+sm", name);
    const char *best = dango_suggest(name, names, count);
    if (best)
        snprintf(hint, sizeof hint, "; did you mean \"%s\"?", best);
    return dango_error_set(err, DANGO_ERR_UNSUPPORTED, "no transport for protocol \"%s\"%s%s" NOT_BUILT_IN, name,
                           dango_suggest_list("built in", NULL, names, transport_count, list, sizeof list), hint);
}

int na_domain_open(const char *protocol, bool listen, const struct na_init_info_4_0 *options, struct na_domain **domain,
                   struct dango_error *err)
{
    struct na_open_info info = {.listen = listen, .options = options};
    size_t name_length;

    assert(protocol && options && domain);
    if (!split(protocol, &name_length, &info.host))
        return dango_error_set(err, DANGO_ERR_INVALID,
                               "\"%s\" is not a protocol string: expected PROTOCOL or PROTOCOL://HOST", protocol);
    for (const struct na_transport *const *transport = na_transports(); *transport; transport++)
        if (transport_has_name(*transport, protocol, name_length))
            return (*transport)->domain_open(*transport, &info, domain, err);
    return unknown_protocol(protocol, name_length, err);
}

void na_domain_close(struct na_domain *domain)
{
    assert(domain);
    domain->transport->domain_close(domain);
}

hg_return_t na_address_parse(const struct na_domain *domain, const char *address, char *host, size_t size)
{
    const char *text;
    size_t name_length;

    if (!split(address, &name_length, &text) || !*text)
        return HG_INVALID_ARG;
    if (!transport_has_name(domain->transport, address, name_length))
        return HG_PROTONOSUPPORT;
    return domain->transport->address_normalise(text, true, host, size);
}

void na_address_format(const struct na_transport *transport, const char *host, char *address, size_t size)
{
    int length = snprintf(address, size, "%s://%s", transport->protocol, host);
    assert(length > 0 && (size_t)length < size);
    (void)length;
}
