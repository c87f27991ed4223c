/*
 * A server process for tests of Margo: forked before anything is initialised in the test, told to stop by remote
 * shutdown, and checked for a clean exit.
 */
#ifndef DANGO_TESTS_MARGO_PEER_H
#define DANGO_TESTS_MARGO_PEER_H

#include <margo.h>
#include <sys/types.h>

struct peer {
    pid_t pid;
    char address[256];
};

/* Forks a server with this configuration (NULL: {}). In the child, `setup` registers RPCs. Must be called while the
 * test process runs neither Argobots nor threads. */
void peer_start(struct peer *peer, const char *config, void (*setup)(margo_instance_id mid));

/* Stops the server by remote shutdown and asserts that it exits with status 0. */
void peer_stop(struct peer *peer, margo_instance_id mid);

/* Asserts that the server exits with status 0, without telling it anything. */
void peer_join(struct peer *peer);

/* kill -9, and waits for its end. */
void peer_kill(struct peer *peer);

/* A client instance with this configuration, and the server's address looked up. */
margo_instance_id peer_connect(const struct peer *peer, const char *config, hg_addr_t *addr);

/* An instance, or the test fails. */
margo_instance_id start_instance(int mode, const char *config);

/* Calls an RPC without input and output. */
hg_return_t call_void(margo_instance_id mid, hg_addr_t addr, hg_id_t id, uint16_t provider_id, double timeout_ms);

/* Seconds on the monotonic clock. */
double now_s(void);

#endif
