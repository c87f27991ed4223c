/*
 * Internet addresses for transports that have them: the texts that users write, the addresses and interfaces of this
 * machine, and the canonical form that processes tell each other.
 *
 *     HOST  = "" | IPV4 | IPV6 | "[" IPV6 "]" | INTERFACE | NAME | "*"      (what an endpoint is opened on)
 *     text  = HOST | HOST ":" PORT | ":" PORT                               (an IPv6 address with a port needs brackets)
 *
 * The canonical form is numeric: "10.0.0.5:1234", "[fd00::2]:1234". Two endpoints are the same if their texts are.
 *
 * Blocking: na_ip_resolve() and na_ip_choose() ask the system's resolver if the host is a name, which can take seconds;
 * numeric addresses and interfaces cost at most one list of interfaces. The rest never blocks. All are thread-safe.
 */
#ifndef DANGO_MERCURY_NA_ADDRESS_H
#define DANGO_MERCURY_NA_ADDRESS_H

#include "mercury_core_types.h"
#include "na_types.h"

#include <dango/error.h>

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#define NA_IP_NAME_MAX 256

/* An address of a socket, IPv4 or IPv6, with its port. */
union na_ip {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
};

/* Bytes of the address, for bind() and connect(). */
socklen_t na_ip_size(const union na_ip *ip);
uint16_t na_ip_port(const union na_ip *ip);
void na_ip_set_port(union na_ip *ip, uint16_t port);
/* The same machine address, whatever the port; an IPv4 address in IPv6 clothes equals itself. */
bool na_ip_same_host(const union na_ip *a, const union na_ip *b);
bool na_ip_is_loopback(const union na_ip *ip);

/* The canonical form; fits NA_ADDRESS_MAX. */
void na_ip_format(const union na_ip *ip, char *text, size_t size);

/* Splits the text into host (without brackets) and port, -1 if there is none. */
int na_ip_split(const char *text, char *host, size_t size, int *port, struct dango_error *err);

/* "10.0.0.5" or "fd00::2" to an address without port. False: not numeric. */
bool na_ip_from_numeric(const char *host, union na_ip *ip);

/* A full address, "HOST:PORT" with a port that is not 0, to its sockets' address. With `resolve`, HOST may be a
 * name. */
int na_ip_resolve(const char *text, bool resolve, union na_ip *ip, struct dango_error *err);

/* The canonical form of a full address: the address_normalise of a transport whose addresses are these. What is wrong
 * is logged, behind `prefix`, if names were looked up. */
hg_return_t na_ip_normalise(const char *prefix, const char *text, bool resolve, char *canonical, size_t size);

/* What an endpoint binds to, and what it tells others. */
struct na_ip_choice {
    union na_ip bind;    /* may be "any" */
    union na_ip publish; /* an address of this machine; the port is to be filled in after binding if it is 0 */
};

/* Chooses for the text behind "protocol://". Without a host: an address inside options->ip_subnet if that is given,
 * else the one that leads to the default route, else that of the first interface that is up, else loopback; of the
 * family options->addr_format, preferably IPv4. */
int na_ip_choose(const char *text, const struct na_init_info_4_0 *options, struct na_ip_choice *choice,
                 struct dango_error *err);

#endif
