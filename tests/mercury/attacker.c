#include "tests/mercury/attacker.h"

#include "tests/mercury/peer.h"

#include <endian.h>
#include <errno.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

int attacker_connect(const char *address)
{
    struct timeval limit = {.tv_sec = PEER_LIMIT_MS / 1000};
    union na_ip ip;
    int sock;

    assert_int_equal(na_ip_resolve(address + strlen("tcp://"), false, &ip, NULL), 0);
    sock = socket(ip.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(sock >= 0);
    setsockopt(sock, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    setsockopt(sock, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    assert_int_equal(connect(sock, &ip.any, na_ip_size(&ip)), 0);
    return sock;
}

void attacker_send(int sock, const void *bytes, size_t size)
{
    const char *at = bytes;

    while (size > 0) {
        ssize_t sent = send(sock, at, size, MSG_NOSIGNAL);
        if (sent < 0 && (errno == EPIPE || errno == ECONNRESET))
            return; /* thrown out already */
        assert_true(sent > 0);
        at += sent;
        size -= (size_t)sent;
    }
}

bool attacker_read(int sock, void *bytes, size_t size)
{
    char *at = bytes;

    while (size > 0) {
        ssize_t got = recv(sock, at, size, 0);
        if (got == 0 || (got < 0 && errno == ECONNRESET))
            return false;
        assert_true(got > 0);
        at += got;
        size -= (size_t)got;
    }
    return true;
}

void attacker_expect_closed(int sock)
{
    char byte;

    while (attacker_read(sock, &byte, 1))
        ;
}

struct tcp_hello attacker_hello(int sock)
{
    struct na_domain domain = {0};
    struct na_context context = {.domain = &domain};
    struct tcp_hello hello = {.epoch = 7};
    union na_ip self = {0};
    socklen_t size = sizeof self;

    assert_int_equal(getsockname(sock, &self.any, &size), 0);
    na_ip_format(&self, domain.host, sizeof domain.host);
    na_hello_fill(&hello.base, &context, 0);
    return hello;
}

void attacker_send_hello(int sock, const struct tcp_hello *hello)
{
    struct tcp_frame frame = {.head_size = htole32(sizeof *hello)};

    attacker_send(sock, &frame, sizeof frame);
    attacker_send(sock, hello, sizeof *hello);
}

int attacker_open(const char *address)
{
    int sock = attacker_connect(address);
    struct tcp_hello hello = attacker_hello(sock);
    char answer[sizeof(struct tcp_frame) + sizeof(struct tcp_hello)];

    attacker_send_hello(sock, &hello);
    assert_true(attacker_read(sock, answer, sizeof answer));
    return sock;
}

void attacker_send_message(int sock, struct hgi_header header, const void *extra, size_t extra_size,
                           uint32_t payload_size)
{
    char bytes[4096];
    struct tcp_frame frame = {.head_size = htole32((uint32_t)(sizeof header + extra_size)),
                              .payload_size = htole32(payload_size)};

    assert_true(sizeof frame + sizeof header + extra_size <= sizeof bytes);
    header.version = HGI_WIRE_VERSION;
    header.size = (uint32_t)extra_size + payload_size;
    memcpy(bytes, &frame, sizeof frame);
    memcpy(bytes + sizeof frame, &header, sizeof header);
    if (extra_size > 0)
        memcpy(bytes + sizeof frame + sizeof header, extra, extra_size);
    attacker_send(sock, bytes, sizeof frame + sizeof header + extra_size);
}

bool attacker_read_message(int sock, struct hgi_header *header, uint32_t *payload_size)
{
    struct tcp_frame frame;
    char rest[4096];

    if (!attacker_read(sock, &frame, sizeof frame))
        return false;
    assert_true(frame.head_size >= sizeof *header && frame.head_size <= sizeof rest);
    *payload_size = le32toh(frame.payload_size);
    if (!attacker_read(sock, header, sizeof *header))
        return false;
    return attacker_read(sock, rest, frame.head_size - sizeof *header);
}
