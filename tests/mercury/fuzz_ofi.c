/*
 * Any bytes as a frame that an endpoint of libfabric receives: hellos of strangers, and whatever a connection may say
 * before and after it has proved itself.
 * Input: a byte that chooses what is there when the frame arrives, then the frame.
 */
#include "tests/support/fuzz.h"

#include "mercury/hg.h"
#include "mercury/na/ofi/ofi.h"
#include "util/log.h"

#include <assert.h>
#include <endian.h>
#include <stdlib.h>
#include <string.h>

enum {
    WITH_CONN = 1,
    PROVED = 2
}; /* bits of the first byte: the frame carries the token of a connection; which is open */

const unsigned fuzz_rounds = 20000;

static hg_class_t *hg_class;
static hg_context_t *context;

static struct ofi_context *endpoint(void)
{
    return (struct ofi_context *)context->na;
}

/* A frame as a good peer makes it; returns its size. */
static size_t make(unsigned char *to, enum ofi_kind kind, uint64_t token, const void *head, uint32_t head_size,
                   uint32_t payload_size)
{
    const struct ofi_frame frame = {.token = htole64(token),
                                    .kind = htole32(kind),
                                    .head_size = htole32(head_size),
                                    .payload_size = htole32(payload_size)};
    memcpy(to, &frame, sizeof frame);
    memcpy(to + sizeof frame, head, head_size);
    memset(to + sizeof frame + head_size, 'p', payload_size);
    return sizeof frame + head_size + payload_size;
}

/* The hello of a peer that has our own address: ours is one that can be reached. */
static size_t make_hello(unsigned char *to, enum ofi_kind kind, const char *host)
{
    struct ofi_hello hello = {.token = htole64(7), .epoch = 8};
    na_hello_fill(&hello.base, context->na, context->na->id);
    if (host) {
        memset(hello.base.host, 0, sizeof hello.base.host);
        strcpy(hello.base.host, host);
    }
    return make(to, kind, 0, &hello, sizeof hello, 0);
}

/* A stranger has said hello and, if `proved`, received the answer. Returns the token that we gave it. */
static uint64_t begin_conn(bool proved)
{
    unsigned char bytes[sizeof(struct ofi_frame) + sizeof(struct ofi_hello)];
    ofi_arrived(endpoint(), bytes, make_hello(bytes, OFI_HELLO, NULL));
    assert(endpoint()->tokens);
    uint64_t token = endpoint()->tokens->token;
    if (proved)
        ofi_arrived(endpoint(), bytes, make(bytes, OFI_PING, token, "", 0, 0));
    return token;
}

/* Whatever has come of it must come to an end. */
static void end_all(void)
{
    unsigned count = 0;
    while (!list_empty(&context->na->conns))
        na_conn_close(container_of(context->na->conns.next, struct na_conn, link), HG_CANCELED);
    assert(!endpoint()->tokens && endpoint()->half_open == 0);
    HG_Progress(context, 0);
    while (HG_Trigger(context, 0, 16, &count) == HG_SUCCESS && count > 0)
        ;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    unsigned char flags = size > 0 ? data[0] : 0;
    unsigned char *frame = malloc(size + 1);
    assert(frame);
    size -= size > 0;
    memcpy(frame, data + 1, size);
    if (flags & WITH_CONN) {
        uint64_t token = htole64(begin_conn(flags & PROVED));
        memcpy(frame, &token, size < sizeof token ? size : sizeof token);
    }
    unsigned char *exact = malloc(size); /* sanitizers see one byte too many */
    assert(exact || size == 0);
    memcpy(exact, frame, size);
    ofi_arrived(endpoint(), exact, size);
    free(exact);
    free(frame);
    end_all();
    return 0;
}

static void seed(unsigned char flags, const unsigned char *frame, size_t size)
{
    unsigned char bytes[4096] = {flags};
    assert(size < sizeof bytes);
    memcpy(bytes + 1, frame, size);
    fuzz_seed(bytes, size + 1);
}

static void end(void)
{
    HG_Context_destroy(context);
    HG_Finalize(hg_class);
}

void fuzz_corpus(void)
{
    unsigned char frame[2048];
    static const enum ofi_kind kinds[] = {OFI_MESSAGE, OFI_PING, OFI_BYE, OFI_GONE};
    static const unsigned char head[200] = {1};

    dango_log_set_level(DANGO_LOG_OFF);
    hg_class = HG_Init("ofi+tcp://127.0.0.1", HG_TRUE);
    assert(hg_class);
    context = HG_Context_create(hg_class);
    assert(context);
    atexit(end);
    seed(0, frame, make_hello(frame, OFI_HELLO, NULL));
    seed(0, frame, make_hello(frame, OFI_HELLO, "192.0.2.1:9"));
    seed(0, frame, make_hello(frame, OFI_HELLO, "[::1]:9"));
    seed(0, frame, make_hello(frame, OFI_HELLO, "0x0102"));
    seed(0, frame, make_hello(frame, OFI_PING, NULL));
    seed(WITH_CONN, frame, make_hello(frame, OFI_WELCOME, NULL));
    seed(WITH_CONN, frame, make_hello(frame, OFI_PING, NULL));
    seed(WITH_CONN | PROVED, frame, make_hello(frame, OFI_GONE, NULL));
    for (unsigned i = 0; i < sizeof kinds / sizeof *kinds; i++)
        for (unsigned proved = 0; proved <= PROVED; proved += PROVED) {
            seed((unsigned char)(WITH_CONN | proved), frame, make(frame, kinds[i], 0, head, 64, 0));
            seed((unsigned char)(WITH_CONN | proved), frame, make(frame, kinds[i], 0, head, sizeof head, 1000));
            seed((unsigned char)(WITH_CONN | proved), frame, make(frame, kinds[i], 0, head, 0, 0));
        }
}
