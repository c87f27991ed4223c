/*
 * Which address of this machine an endpoint binds to and publishes.
 *
 * The default route is found by connecting a datagram socket to an address that is documented to belong to nobody: the
 * kernel chooses the source address it would use, and nothing is sent.
 */
#include "mercury/na/address.h"

#include "util/suggest.h"

#include <arpa/inet.h>
#include <assert.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netdb.h>
#include <stdlib.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define INTERFACES_SHOWN 32 /* names in an error */

/* A part of the address space. */
struct subnet {
    union na_ip base;
    unsigned bits;
};

static const void *address_bytes(const union na_ip *ip)
{
    return ip->any.sa_family == AF_INET6 ? (const void *)&ip->v6.sin6_addr : (const void *)&ip->v4.sin_addr;
}

static int parse_subnet(const char *text, struct subnet *subnet, struct dango_error *err)
{
    char host[INET6_ADDRSTRLEN + 1];
    const char *slash = strchr(text, '/');
    size_t length = slash ? (size_t)(slash - text) : strlen(text);
    char *end;

    if (slash && slash[1] && length < sizeof host) {
        memcpy(host, text, length);
        host[length] = '\0';
        unsigned long bits = strtoul(slash + 1, &end, 10);
        if (na_ip_from_numeric(host, &subnet->base) && !*end &&
            bits <= (subnet->base.any.sa_family == AF_INET6 ? 128 : 32)) {
            subnet->bits = (unsigned)bits;
            return 0;
        }
    }
    return dango_error_set(err, DANGO_ERR_INVALID, "mercury.ip_subnet: \"%s\" is not ADDRESS/BITS, as 10.1.0.0/16",
                           text);
}

static bool in_subnet(const struct subnet *subnet, const union na_ip *ip)
{
    const unsigned char *base = address_bytes(&subnet->base), *address = address_bytes(ip);
    unsigned whole = subnet->bits / 8, rest = subnet->bits % 8;

    if (ip->any.sa_family != subnet->base.any.sa_family || memcmp(base, address, whole) != 0)
        return false;
    return rest == 0 || (base[whole] ^ address[whole]) >> (8 - rest) == 0;
}

/* What an address must be to be chosen. */
struct wish {
    int family;            /* AF_UNSPEC: any */
    const char *interface; /* NULL: any that is not loopback */
    const struct subnet *subnet;
};

/* An address with a scope (fe80::…) means nothing on another machine. */
static bool fits(const struct wish *wish, const struct ifaddrs *entry, union na_ip *ip)
{
    int family = entry->ifa_addr ? entry->ifa_addr->sa_family : AF_UNSPEC;

    if ((family != AF_INET && family != AF_INET6) || (wish->family != AF_UNSPEC && family != wish->family))
        return false;
    if (!(entry->ifa_flags & IFF_UP))
        return false;
    memset(ip, 0, sizeof *ip);
    memcpy(ip, entry->ifa_addr, family == AF_INET6 ? sizeof ip->v6 : sizeof ip->v4);
    if (family == AF_INET6 && IN6_IS_ADDR_LINKLOCAL(&ip->v6.sin6_addr))
        return false;
    if (wish->interface)
        return strcmp(wish->interface, entry->ifa_name) == 0;
    if (wish->subnet)
        return in_subnet(wish->subnet, ip);
    return !(entry->ifa_flags & IFF_LOOPBACK);
}

static bool find_in(const struct ifaddrs *list, const struct wish *wish, union na_ip *ip)
{
    for (const struct ifaddrs *entry = list; entry; entry = entry->ifa_next)
        if (fits(wish, entry, ip))
            return true;
    return false;
}

/* IPv4 first, unless the family is given. */
static bool find(const struct ifaddrs *list, struct wish wish, union na_ip *ip)
{
    if (wish.family != AF_UNSPEC)
        return find_in(list, &wish, ip);
    wish.family = AF_INET;
    if (find_in(list, &wish, ip))
        return true;
    wish.family = AF_INET6;
    return find_in(list, &wish, ip);
}

/* The source address of the default route. */
static bool default_route(int family, union na_ip *ip)
{
    union na_ip nobody;
    socklen_t size = sizeof *ip;
    bool good = na_ip_from_numeric(family == AF_INET6 ? "2001:db8::1" : "198.51.100.1", &nobody);
    int sock = socket(family, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    assert(good);
    if (sock < 0)
        return false;
    na_ip_set_port(&nobody, 9);
    memset(ip, 0, sizeof *ip);
    good = connect(sock, &nobody.any, na_ip_size(&nobody)) == 0 && getsockname(sock, &ip->any, &size) == 0 &&
           !na_ip_is_loopback(ip) && !(family == AF_INET6 && IN6_IS_ADDR_LINKLOCAL(&ip->v6.sin6_addr));
    close(sock);
    na_ip_set_port(ip, 0);
    return good;
}

static int preferred_family(const struct na_init_info_4_0 *options)
{
    switch (options->addr_format) {
    case NA_ADDR_IPV4:
        return AF_INET;
    case NA_ADDR_IPV6:
        return AF_INET6;
    default:
        return AF_UNSPEC;
    }
}

/* An address to tell others, without any hint from the user but the options. */
static int pick(const struct ifaddrs *list, int family, const struct na_init_info_4_0 *options, union na_ip *ip,
                struct dango_error *err)
{
    struct subnet subnet;

    if (options->ip_subnet) {
        int rc = parse_subnet(options->ip_subnet, &subnet, err);
        if (rc)
            return rc;
        if (find(list, (struct wish){.family = family, .subnet = &subnet}, ip))
            return 0;
        return dango_error_set(err, DANGO_ERR_NOT_FOUND, "mercury.ip_subnet: no interface has an address in %s",
                               options->ip_subnet);
    }
    if (family != AF_INET6 && default_route(AF_INET, ip))
        return 0;
    if (family != AF_INET && default_route(AF_INET6, ip))
        return 0;
    if (find(list, (struct wish){.family = family}, ip))
        return 0;
    na_ip_from_numeric(family == AF_INET6 ? "::1" : "127.0.0.1", ip);
    return 0;
}

/* Is there an interface of that name, up or not? */
static bool is_interface(const struct ifaddrs *list, const char *name)
{
    for (const struct ifaddrs *entry = list; entry; entry = entry->ifa_next)
        if (strcmp(entry->ifa_name, name) == 0)
            return true;
    return false;
}

/* The host is none of the things that it could be. */
static int unknown_host(const struct ifaddrs *list, const char *host, int why, struct dango_error *err)
{
    const char *names[INTERFACES_SHOWN];
    char text[512];
    size_t count = 0;

    for (const struct ifaddrs *entry = list; entry && count < INTERFACES_SHOWN; entry = entry->ifa_next) {
        bool known = false;
        for (size_t i = 0; i < count; i++)
            known |= strcmp(names[i], entry->ifa_name) == 0;
        if (!known)
            names[count++] = entry->ifa_name;
    }
    return dango_error_set(err, DANGO_ERR_NOT_FOUND,
                           "\"%s\" is no address, no network interface%s, and no host name that can be found (%s)",
                           host, dango_suggest_list("interfaces", host, names, count, text, sizeof text),
                           gai_strerror(why));
}

/* A host name: the first of its addresses that belongs to the wished family, IPv4 before IPv6. */
static int resolve_own_name(const struct ifaddrs *list, const char *host, int family, union na_ip *ip,
                            struct dango_error *err)
{
    const struct addrinfo hints = {.ai_family = family, .ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL, *best;
    int rc = getaddrinfo(host, NULL, &hints, &found);

    if (rc)
        return unknown_host(list, host, rc, err);
    best = found;
    while (best && best->ai_family != AF_INET)
        best = best->ai_next;
    if (!best)
        best = found;
    memset(ip, 0, sizeof *ip);
    memcpy(ip, best->ai_addr, best->ai_addrlen);
    freeaddrinfo(found);
    return 0;
}

/* Anything but "" and the addresses that mean "all". */
static int choose_named(const struct ifaddrs *list, const char *host, int family, union na_ip *ip,
                        struct dango_error *err)
{
    if (na_ip_from_numeric(host, ip) && ip->any.sa_family == AF_INET6 && IN6_IS_ADDR_LINKLOCAL(&ip->v6.sin6_addr))
        return dango_error_set(err, DANGO_ERR_INVALID,
                               "this address has a scope, it means nothing on another machine: give another one");
    if (na_ip_from_numeric(host, ip))
        return 0;
    if (!is_interface(list, host))
        return resolve_own_name(list, host, family, ip, err);
    if (find(list, (struct wish){.family = family, .interface = host}, ip))
        return 0;
    return dango_error_set(err, DANGO_ERR_NOT_FOUND, "interface \"%s\" is down, or has no address of the wanted family",
                           host);
}

static bool means_all(const char *host)
{
    return strcmp(host, "*") == 0 || strcmp(host, "0.0.0.0") == 0 || strcmp(host, "::") == 0;
}

/* Binds to all addresses; IPv6 only if the user wrote it so. */
static void bind_all(const char *host, struct na_ip_choice *choice)
{
    bool v6 = strcmp(host, "::") == 0 || (*host == '*' && choice->publish.any.sa_family == AF_INET6);
    bool good = na_ip_from_numeric(v6 ? "::" : "0.0.0.0", &choice->bind);

    assert(good);
    (void)good;
}

int na_ip_choose(const char *text, const struct na_init_info_4_0 *options, struct na_ip_choice *choice,
                 struct dango_error *err)
{
    char host[NA_IP_NAME_MAX];
    int port, family = preferred_family(options), rc = na_ip_split(text, host, sizeof host, &port, err);
    struct ifaddrs *list = NULL;

    if (rc)
        return rc;
    if (getifaddrs(&list))
        list = NULL; /* then only numeric addresses and names can be chosen */
    if (means_all(host) && *host != '*')
        family = strcmp(host, "::") == 0 ? AF_INET6 : AF_INET;
    if (*host == '\0' || means_all(host))
        rc = pick(list, family, options, &choice->publish, err);
    else
        rc = choose_named(list, host, family, &choice->publish, err);
    if (rc == 0) {
        choice->bind = choice->publish;
        if (means_all(host))
            bind_all(host, choice);
        na_ip_set_port(&choice->bind, (uint16_t)(port > 0 ? port : 0));
    }
    freeifaddrs(list);
    return rc;
}
