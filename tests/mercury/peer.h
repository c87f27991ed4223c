/*
 * Fixture for tests between two processes: a server with a set of RPCs, forked before this process has any thread, and
 * helpers that progress a client's context until something has happened.
 *
 * The server exits when this process ends or asks for it. peer_start waits until the server has told its address.
 */
#ifndef DANGO_TESTS_MERCURY_PEER_H
#define DANGO_TESTS_MERCURY_PEER_H

#include "tests/support/protocol.h"
#include "tests/support/test.h"

#include "mercury.h"
#include "mercury/dango_hg.h"
#include "mercury_macros.h"
#include "mercury_proc_string.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <sys/types.h>

/* How long anything may take before a test fails. */
#define PEER_LIMIT_MS 20000

MERCURY_GEN_PROC(sum_in_t, ((int32_t)(x))((int32_t)(y)))
MERCURY_GEN_PROC(sum_out_t, ((int32_t)(sum)))
MERCURY_GEN_PROC(text_t, ((hg_string_t)(text)))
/* What allocates comes last, so that an input which is cut off leaves nothing behind. */
MERCURY_GEN_PROC(bulk_in_t, ((uint64_t)(offset))((uint64_t)(size))((uint32_t)(segments))((hg_bulk_t)(bulk)))
MERCURY_GEN_PROC(bulk_out_t, ((uint32_t)(ret))((uint64_t)(checksum)))

/* The ids of the RPCs that every class of these tests registers. */
struct peer_rpcs {
    hg_id_t sum;    /* sum_in_t -> sum_out_t */
    hg_id_t echo;   /* text_t -> text_t */
    hg_id_t null;   /* nothing -> nothing */
    hg_id_t notify; /* text_t, one-way: counted by `count` */
    hg_id_t count;  /* nothing -> sum_out_t: notifications so far */
    hg_id_t hang;   /* never answered, until the server goes away */
    hg_id_t pull;   /* bulk_in_t -> bulk_out_t: the server pulls, and computes a checksum */
    hg_id_t push;   /* bulk_in_t -> bulk_out_t: the server pushes a pattern */
    hg_id_t die;    /* the server exits at once, without answering */
};

struct peer {
    pid_t pid;
    char address[256];
};

/* A side of the tests: class, context, RPCs. */
struct side {
    hg_class_t *hg_class;
    hg_context_t *context;
    struct peer_rpcs rpcs;
};

void side_open(struct side *side, const char *protocol, bool listen, const struct hg_init_info *info);
void side_close(struct side *side);

void peer_start(struct peer *peer, const struct hg_init_info *info);
/* SIGKILL, and another server at the same address; not over na+sm. */
void peer_restart(struct peer *peer);
/* Lets the server open no further descriptor, or as many as it could before. */
void peer_starve(struct peer *peer, bool starve);
/* How many descriptors it has open, up to the lowest number that is free. */
size_t peer_descriptors(const struct peer *peer);
/* No more than these: others only when some of them are closed. peer_starve ends it. */
void peer_limit_descriptors(struct peer *peer);
/* SIGKILL and wait. */
void peer_kill(struct peer *peer);

/* What most tests begin and end with: a server, a client (that listens, or not), and the server's address. */
void pair_start(struct peer *peer, struct side *client, bool listen, hg_addr_t *server);
void pair_stop(struct peer *peer, struct side *client, hg_addr_t server);

/* Outcome of one forward. */
struct call {
    _Atomic bool done;
    hg_return_t ret;
};

/* A callback for HG_Forward and HG_Bulk_transfer; `arg` is a struct call. */
hg_return_t call_done(const struct hg_cb_info *info);

/* Progresses and triggers until `*flag` is true; fails the test after PEER_LIMIT_MS. */
void side_until(struct side *side, _Atomic bool *flag);

/* Forwards and waits; returns the outcome of the call. */
hg_return_t side_call(struct side *side, hg_handle_t handle, void *in);

hg_addr_t side_lookup(struct side *side, const char *address);

uint64_t checksum(uint64_t sum, const void *bytes, size_t size);
/* The byte that `push` writes at a position. */
static inline unsigned char pattern(uint64_t position)
{
    return (unsigned char)(position * 7 + (position >> 8));
}

#endif
