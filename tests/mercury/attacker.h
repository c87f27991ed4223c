/*
 * A peer of tcp made by hand: a blocking socket, and functions that write the protocol byte by byte, so that a test can
 * break every rule of it.
 */
#ifndef DANGO_TESTS_MERCURY_ATTACKER_H
#define DANGO_TESTS_MERCURY_ATTACKER_H

#include "mercury/hg.h"
#include "mercury/na/tcp/tcp.h"

#include <stdbool.h>
#include <stddef.h>

/* A connected socket to "tcp://HOST:PORT"; reads and writes time out after some seconds. */
int attacker_connect(const char *address);
void attacker_send(int sock, const void *bytes, size_t size);
/* False if the other side has closed. Fails the test if nothing comes. */
bool attacker_read(int sock, void *bytes, size_t size);
/* Waits until the other side has closed. */
void attacker_expect_closed(int sock);

/* A good hello of an endpoint that calls itself "127.0.0.1:PORT of this socket". */
struct tcp_hello attacker_hello(int sock);
void attacker_send_hello(int sock, const struct tcp_hello *hello);
/* Connects and exchanges hellos. */
int attacker_open(const char *address);

/* A frame with a message of the RPC core: header, `extra`; then `payload_size` is announced, but nothing sent of it. */
void attacker_send_message(int sock, struct hgi_header header, const void *extra, size_t extra_size,
                           uint32_t payload_size);
/* Reads one frame without payload into `header`, what follows the header is thrown away. False: closed. */
bool attacker_read_message(int sock, struct hgi_header *header, uint32_t *payload_size);

#endif
