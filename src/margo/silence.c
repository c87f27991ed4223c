/*
 * Peers that do not answer, while there is still time: see dango_margo_on_silence.
 *
 * A forward with a deadline has a timer anyway; that fires once before (request.c). Many calls to one peer are silent
 * at the same time, and one message is enough: peers that were told of are remembered for a while, as many as there is
 * room for, the oldest making room. All of this runs on the one thread of the timers, and so needs no lock.
 */
#include "margo/dango_margo.h"
#include "margo/instance.h"
#include "util/clock.h"
#include "util/crc32c.h"

#include <assert.h>
#include <string.h>

#define REMEMBERED_NS (30 * DANGO_NS_PER_S)
#define PEERS_MAX     (sizeof(((struct mg_silence *)0)->peers) / sizeof(struct mg_silent_peer))

void dango_margo_on_silence(margo_instance_id mid, double after_ms, void (*told)(void *arg, const char *address),
                            void *arg)
{
    assert(mid && told && after_ms > 0);
    mid->silence.told = told;
    mid->silence.arg = arg;
    mid->silence.after_ms = after_ms;
}

int64_t mg_silence_ends_ns(margo_instance_id mid)
{
    return mid->silence.told ? dango_deadline_ns(mid->silence.after_ms) : DANGO_NEVER;
}

/* Whether this peer was told of lately; it is from now on. */
static bool remember(struct mg_silence *silence, const char *address)
{
    uint32_t checksum = dango_crc32c(0, address, strlen(address));
    int64_t now_ns = dango_clock_ns();
    struct mg_silent_peer *oldest = &silence->peers[0];
    for (size_t i = 0; i < PEERS_MAX; i++) {
        struct mg_silent_peer *peer = &silence->peers[i];
        if (peer->told_ns != 0 && peer->checksum == checksum && now_ns - peer->told_ns < REMEMBERED_NS)
            return true;
        if (peer->told_ns < oldest->told_ns)
            oldest = peer;
    }
    *oldest = (struct mg_silent_peer){checksum, now_ns};
    return false;
}

void mg_silence_tell(margo_instance_id mid, hg_handle_t handle)
{
    char address[256]; /* more than any transport has */
    hg_size_t size = sizeof address;
    if (margo_addr_to_string(mid, address, &size, HG_Get_info(handle)->addr) != HG_SUCCESS)
        return;
    if (!remember(&mid->silence, address))
        mid->silence.told(mid->silence.arg, address);
}
