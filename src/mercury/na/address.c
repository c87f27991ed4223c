/*
 * Texts and addresses, as address.h says. Choosing an address of this machine is in interface.c.
 */
#include "mercury/na/address.h"

#include "util/log.h"

#include <arpa/inet.h>
#include <assert.h>
#include <ctype.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

socklen_t na_ip_size(const union na_ip *ip)
{
    return ip->any.sa_family == AF_INET6 ? sizeof ip->v6 : sizeof ip->v4;
}

uint16_t na_ip_port(const union na_ip *ip)
{
    return ntohs(ip->any.sa_family == AF_INET6 ? ip->v6.sin6_port : ip->v4.sin_port);
}

void na_ip_set_port(union na_ip *ip, uint16_t port)
{
    if (ip->any.sa_family == AF_INET6)
        ip->v6.sin6_port = htons(port);
    else
        ip->v4.sin_port = htons(port);
}

/* The address as IPv6; IPv4 ones are mapped. */
static struct in6_addr as_v6(const union na_ip *ip)
{
    struct in6_addr mapped = {.s6_addr = {[10] = 0xff, [11] = 0xff}};

    if (ip->any.sa_family == AF_INET6)
        return ip->v6.sin6_addr;
    memcpy(&mapped.s6_addr[12], &ip->v4.sin_addr, sizeof ip->v4.sin_addr);
    return mapped;
}

bool na_ip_same_host(const union na_ip *a, const union na_ip *b)
{
    struct in6_addr one = as_v6(a), other = as_v6(b);
    return memcmp(&one, &other, sizeof one) == 0;
}

bool na_ip_is_loopback(const union na_ip *ip)
{
    struct in6_addr address = as_v6(ip);

    if (IN6_IS_ADDR_V4MAPPED(&address))
        return address.s6_addr[12] == 127;
    return IN6_IS_ADDR_LOOPBACK(&address);
}

void na_ip_format(const union na_ip *ip, char *text, size_t size)
{
    char host[INET6_ADDRSTRLEN];
    bool v6 = ip->any.sa_family == AF_INET6;
    const void *address = v6 ? (const void *)&ip->v6.sin6_addr : (const void *)&ip->v4.sin_addr;
    const char *good = inet_ntop(ip->any.sa_family, address, host, sizeof host);

    assert(good);
    (void)good;
    int length = snprintf(text, size, v6 ? "[%s]:%u" : "%s:%u", host, na_ip_port(ip));
    assert(length > 0 && (size_t)length < size);
    (void)length;
}

/* "1234" to 1234; -1 if it is no port. */
static int parse_port(const char *digits)
{
    char *end;

    if (!isdigit((unsigned char)*digits) || strlen(digits) > 5)
        return -1;
    long port = strtol(digits, &end, 10);
    return *end == '\0' && port <= UINT16_MAX ? (int)port : -1;
}

/* Where the host ends, and where the port begins (NULL: none). */
static int find_port(const char *text, const char **host, size_t *length, const char **port, struct dango_error *err)
{
    const char *colon = strrchr(text, ':'), *bracket = strchr(text, ']');

    *host = text;
    *length = strlen(text);
    *port = NULL;
    if (*text == '[') {
        if (!bracket || (bracket[1] != '\0' && bracket[1] != ':'))
            return dango_error_set(err, DANGO_ERR_INVALID, "\"%s\": expected [IPV6] or [IPV6]:PORT", text);
        *host = text + 1;
        *length = (size_t)(bracket - text - 1);
        *port = bracket[1] ? bracket + 2 : NULL;
    } else if (colon && strchr(text, ':') == colon) {
        *length = (size_t)(colon - text);
        *port = colon + 1;
    }
    return 0;
}

int na_ip_split(const char *text, char *host, size_t size, int *port, struct dango_error *err)
{
    const char *start, *digits;
    size_t length;
    int rc = find_port(text, &start, &length, &digits, err);

    *port = -1;
    if (rc)
        return rc;
    if (length >= size)
        return dango_error_set(err, DANGO_ERR_INVALID, "the host has more than %zu characters", size - 1);
    memcpy(host, start, length);
    host[length] = '\0';
    if (strchr(host, ':') && strchr(host, '%'))
        return dango_error_set(err, DANGO_ERR_INVALID,
                               "\"%s\": an address with a scope means nothing on another machine: give another one",
                               text);
    if (strchr(host, ':') && !na_ip_from_numeric(host, &(union na_ip){0}))
        return dango_error_set(err, DANGO_ERR_INVALID,
                               "\"%s\" is not an IPv6 address (with a port it is written [ADDRESS]:PORT)", text);
    if (!digits)
        return 0;
    *port = parse_port(digits);
    if (*port < 0)
        return dango_error_set(err, DANGO_ERR_INVALID, "\"%s\" is not a port (0 to 65535)", digits);
    return 0;
}

bool na_ip_from_numeric(const char *host, union na_ip *ip)
{
    memset(ip, 0, sizeof *ip);
    ip->any.sa_family = AF_INET;
    if (inet_pton(AF_INET, host, &ip->v4.sin_addr) == 1)
        return true;
    ip->any.sa_family = AF_INET6;
    return inet_pton(AF_INET6, host, &ip->v6.sin6_addr) == 1;
}

/* First address of a name, in the order that the system prefers. */
static int look_up(const char *host, union na_ip *ip, struct dango_error *err)
{
    const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG};
    struct addrinfo *list = NULL;
    int rc = getaddrinfo(host, NULL, &hints, &list);

    if (rc)
        return dango_error_set(err, rc == EAI_MEMORY ? DANGO_ERR_NO_MEMORY : DANGO_ERR_NOT_FOUND,
                               "cannot find the address of host \"%s\": %s", host, gai_strerror(rc));
    assert(list->ai_addrlen <= sizeof *ip);
    memset(ip, 0, sizeof *ip);
    memcpy(ip, list->ai_addr, list->ai_addrlen);
    freeaddrinfo(list);
    return 0;
}

int na_ip_resolve(const char *text, bool resolve, union na_ip *ip, struct dango_error *err)
{
    char host[NA_IP_NAME_MAX];
    int port, rc = na_ip_split(text, host, sizeof host, &port, err);

    if (rc)
        return rc;
    if (port <= 0 || !*host)
        return dango_error_set(err, DANGO_ERR_INVALID, "\"%s\": an address has a host and a port other than 0", text);
    if (!na_ip_from_numeric(host, ip)) {
        if (!resolve)
            return dango_error_set(err, DANGO_ERR_INVALID, "\"%s\" is not a numeric address", host);
        rc = look_up(host, ip, err);
        if (rc)
            return rc;
    }
    na_ip_set_port(ip, (uint16_t)port);
    return 0;
}

hg_return_t na_ip_normalise(const char *prefix, const char *text, bool resolve, char *canonical, size_t size)
{
    struct dango_error err;
    union na_ip ip;
    int rc = na_ip_resolve(text, resolve, &ip, &err);

    if (rc) {
        if (resolve)
            log_error("mercury", "%s%s: %s", prefix, text, err.text);
        return rc == DANGO_ERR_NOT_FOUND ? HG_HOSTUNREACH : HG_INVALID_ARG;
    }
    memset(canonical, 0, size);
    na_ip_format(&ip, canonical, size);
    return HG_SUCCESS;
}
