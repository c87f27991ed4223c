/*
 * Any bytes as the hello of a peer: of one that connects to us, and of one that we have connected to.
 * Input: a byte that chooses, then the hello; what is missing of it is zero.
 */
#include "tests/mercury/fuzz_proc.h"

#include "util/log.h"

const unsigned fuzz_rounds = 300000;

static hg_context_t *context;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct na_conn conn;
    struct na_hello *hello = calloc(1, sizeof *hello);
    assert(hello);
    if (size > 1)
        memcpy(hello, data + 1, size - 1 < sizeof *hello ? size - 1 : sizeof *hello);
    memset(&conn, 0, sizeof conn);
    conn.context = context->na;
    conn.incoming = size > 0 && data[0] & 1;
    strcpy(conn.peer, "somebody");
    conn.peer_context_id = 3;
    if (na_hello_accept(&conn, hello) == HG_SUCCESS) {
        /* What goes into messages and into the table of addresses is a clean text. */
        size_t length = strnlen(conn.peer, sizeof conn.peer);
        assert(length > 0 && length < sizeof conn.peer);
        for (size_t i = 0; i < length; i++)
            assert(conn.peer[i] > ' ' && conn.peer[i] != 0x7f);
        assert(conn.incoming || (strcmp(conn.peer, "somebody") == 0 && conn.peer_context_id == 3));
    }
    free(hello);
    return 0;
}

static void seed(unsigned char kind, const char *host, uint8_t source_id)
{
    unsigned char bytes[1 + sizeof(struct na_hello)] = {kind};
    struct na_hello hello;
    na_hello_fill(&hello, context->na, context->na->id);
    memset(hello.host, 0, sizeof hello.host);
    strcpy(hello.host, host);
    hello.source_id = source_id;
    memcpy(bytes + 1, &hello, sizeof hello);
    fuzz_seed(bytes, sizeof bytes);
}

static void end(void)
{
    HG_Context_destroy(context);
}

void fuzz_corpus(void)
{
    dango_log_set_level(DANGO_LOG_OFF);
    fuzz_proc_begin();
    context = HG_Context_create(fuzz_class);
    assert(context);
    atexit(end);
    seed(1, "4843-0", 0);
    seed(1, "a-name-that-the-user-chose", 255);
    seed(0, "somebody", 3);
}
