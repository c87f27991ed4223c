/*
 * Bulk transfers over libfabric by remote memory access: that it is used, and what happens when it is not possible, or
 * goes wrong. Both sides are in this process (but for the one that is killed), so that the endpoints can be looked
 * into, and so that one of them stands still unless it is progressed.
 */
#include "tests/mercury/peer.h"

#include "mercury/hg.h"
#include "mercury/na/ofi/ofi.h"
#include "util/clock.h"

#include <endian.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define PLAIN_SIZE(COUNT) (32 + 16 * (COUNT)) /* of a flat handle without access */
#define FLAGS_AT          4                   /* in a flat handle */
#define ACCESS_SIZE_AT    6
#define SEGMENTS_MAX      64

static struct side owner, user;
static hg_addr_t owner_addr; /* as the user knows it */

static struct ofi_domain *domain_of(const struct side *side)
{
    return (struct ofi_domain *)side->context->na->domain;
}

static uint64_t accesses(const struct side *side)
{
    return atomic_load(&domain_of(side)->accesses_started);
}

static void poll_side(struct side *side)
{
    unsigned count;

    HG_Progress(side->context, 0);
    HG_Trigger(side->context, 0, 64, &count);
}

/* Progresses both sides until the call is over. */
static hg_return_t until_done(struct call *call)
{
    int64_t deadline = dango_deadline_ns(PEER_LIMIT_MS);

    while (!atomic_load(&call->done)) {
        poll_side(&owner);
        poll_side(&user);
        if (dango_clock_ns() > deadline)
            fail_msg("nothing happened within %d ms", PEER_LIMIT_MS);
    }
    return call->ret;
}

static hg_return_t rpc(struct side *side, hg_addr_t addr, hg_id_t id, void *in)
{
    struct call call = {0};
    hg_handle_t handle;

    assert_int_equal(HG_Create(side->context, addr, id, &handle), HG_SUCCESS);
    assert_int_equal(HG_Forward(handle, call_done, &call, in), HG_SUCCESS);
    until_done(&call);
    HG_Destroy(handle);
    return call.ret;
}

static hg_addr_t address_of(struct side *side)
{
    char text[256];
    hg_size_t size = sizeof text;
    hg_addr_t self;

    assert_int_equal(HG_Addr_self(side->hg_class, &self), HG_SUCCESS);
    assert_int_equal(HG_Addr_to_string(side->hg_class, text, &size, self), HG_SUCCESS);
    HG_Addr_free(side->hg_class, self);
    return side_lookup(&user, text);
}

/* Both sides, each with remote memory access or not; connected. */
static void open_sides(bool owner_has, bool user_has)
{
    setenv("DANGO_OFI_RMA", owner_has ? "1" : "0", 1);
    side_open(&owner, test_protocol(), true, NULL);
    setenv("DANGO_OFI_RMA", user_has ? "1" : "0", 1);
    side_open(&user, test_protocol(), false, NULL);
    owner_addr = address_of(&owner);
    assert_int_equal(rpc(&user, owner_addr, user.rpcs.null, NULL), HG_SUCCESS);
}

static void close_sides(void)
{
    HG_Addr_free(user.hg_class, owner_addr);
    side_close(&user);
    side_close(&owner);
}

static int setup(void **state)
{
    (void)state;
    open_sides(true, true);
    return 0;
}

/* What was registered is not any more; what stood for a large message, as soon as it has been acknowledged. */
static int teardown(void **state)
{
    int64_t deadline = dango_deadline_ns(PEER_LIMIT_MS);

    (void)state;
    while (atomic_load(&domain_of(&owner)->regions) + atomic_load(&domain_of(&user)->regions) > 0) {
        poll_side(&owner);
        poll_side(&user);
        assert_true(dango_clock_ns() < deadline);
    }
    close_sides();
    return 0;
}

/* ---- memory ---- */

struct memory {
    unsigned char *bytes;
    size_t size;
    hg_bulk_t bulk;
};

/* `count` segments of different sizes, the second of which is empty, in one block of memory. */
static void memory_create(struct memory *memory, struct side *side, size_t size, uint32_t count, uint8_t flags)
{
    void *pieces[SEGMENTS_MAX];
    hg_size_t sizes[SEGMENTS_MAX], used = 0;

    assert_true(count <= SEGMENTS_MAX);
    memory->bytes = malloc(size + 1);
    memory->size = size;
    for (uint32_t i = 0; i < count; i++) {
        pieces[i] = memory->bytes + used;
        sizes[i] = i == 1 ? 0 : size / count + i;
        if (sizes[i] > size - used || i + 1 == count)
            sizes[i] = size - used;
        used += sizes[i];
    }
    assert_int_equal(HG_Bulk_create(side->hg_class, count, pieces, sizes, flags, &memory->bulk), HG_SUCCESS);
}

static void memory_free(struct memory *memory)
{
    HG_Bulk_free(memory->bulk);
    free(memory->bytes);
}

static void fill(struct memory *memory, unsigned seed)
{
    for (size_t i = 0; i < memory->size; i++)
        memory->bytes[i] = pattern(i + seed);
}

/* The other side's view of a handle; `flat` gets the bytes that travel. */
static hg_bulk_t carry(hg_bulk_t bulk, unsigned char *flat, size_t capacity, size_t *size)
{
    hg_bulk_t seen;

    *size = HG_Bulk_get_serialize_size(bulk, 0);
    assert_true(*size <= capacity);
    assert_int_equal(HG_Bulk_serialize(flat, *size, 0, bulk), HG_SUCCESS);
    assert_int_equal(HG_Bulk_deserialize(user.hg_class, &seen, flat, *size), HG_SUCCESS);
    return seen;
}

static hg_bulk_t see(hg_bulk_t bulk)
{
    unsigned char flat[4096];
    size_t size;

    return carry(bulk, flat, sizeof flat, &size);
}

static void start(struct call *call, hg_bulk_op_t op, hg_bulk_t remote, size_t offset, struct memory *local,
                  size_t local_offset, size_t size, hg_op_id_t *id)
{
    *call = (struct call){0};
    assert_int_equal(HG_Bulk_transfer(user.context, call_done, call, op, owner_addr, remote, offset, local->bulk,
                                      local_offset, size, id),
                     HG_SUCCESS);
}

static hg_return_t move(hg_bulk_op_t op, hg_bulk_t remote, struct memory *local)
{
    struct call call;

    start(&call, op, remote, 0, local, 0, local->size, HG_OP_ID_IGNORE);
    return until_done(&call);
}

/* ---- it is used ---- */

/* A part of some memory here and there, each in so many segments. */
static void check_move(hg_bulk_op_t op, size_t size, uint32_t here, uint32_t there, size_t skip_here, size_t skip_there)
{
    struct memory remote, local;
    struct call call;

    memory_create(&remote, &owner, size + 100, there, HG_BULK_READWRITE);
    memory_create(&local, &user, size + 100, here, HG_BULK_READWRITE);
    fill(&remote, 1);
    fill(&local, 2);
    hg_bulk_t seen = see(remote.bulk);
    start(&call, op, seen, skip_there, &local, skip_here, size, HG_OP_ID_IGNORE);
    assert_int_equal(until_done(&call), HG_SUCCESS);
    struct memory *changed = op == HG_BULK_PULL ? &local : &remote, *other = op == HG_BULK_PULL ? &remote : &local;
    size_t at = op == HG_BULK_PULL ? skip_here : skip_there, from = op == HG_BULK_PULL ? skip_there : skip_here;
    assert_memory_equal(changed->bytes + at, other->bytes + from, size);
    for (size_t i = 0; i < changed->size; i++)
        if (i < at || i >= at + size)
            assert_int_equal(changed->bytes[i], pattern(i + (op == HG_BULK_PULL ? 2 : 1)));
    HG_Bulk_free(seen);
    memory_free(&remote);
    memory_free(&local);
}

static void test_used(void **state)
{
    static const size_t sizes[] = {1, 20000, 100000, OFI_LOAN_MAX, OFI_LOAN_MAX + 1, (3 << 20) + 17};
    static const uint32_t counts[] = {1, 2, 3, 7};

    (void)state;
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++)
        for (int h = 0; h < 4; h++)
            for (int t = 0; t < 4; t++)
                for (int op = HG_BULK_PUSH; op <= HG_BULK_PULL; op++) {
                    const bool registered =
                        sizes[s] + 100 >= OFI_REGION_MIN && sizes[s] / counts[t] >= OFI_REGION_PIECE;
                    uint64_t before = accesses(&user);
                    check_move((hg_bulk_op_t)op, sizes[s], counts[h], counts[t], (size_t)h * 31, (size_t)t * 29);
                    assert_int_equal(accesses(&user) > before, registered);
                }
    assert_int_equal(accesses(&owner), 0);
}

/* Many pieces here: more than one access takes. */
static void test_scattered(void **state)
{
    (void)state;
    uint64_t before = accesses(&user);
    check_move(HG_BULK_PUSH, 100000, SEGMENTS_MAX, 1, 5, 0);
    check_move(HG_BULK_PULL, 100000, SEGMENTS_MAX, 1, 5, 0);
    assert_true(accesses(&user) > before);
    /* There, registering them would not be worth it. */
    before = accesses(&user);
    check_move(HG_BULK_PULL, 100000, 1, SEGMENTS_MAX, 0, 0);
    assert_int_equal(accesses(&user), before);
}

/* Large inputs of calls are fetched in the same way; the owner calls back on the connection that the user has made. */
static void test_large_input(void **state)
{
    char *text = malloc(200001);
    text_t in = {.text = text};

    (void)state;
    memset(text, 'x', 200000);
    text[200000] = '\0';
    uint64_t before = accesses(&owner);
    assert_int_equal(rpc(&user, owner_addr, user.rpcs.echo, &in), HG_SUCCESS);
    assert_true(accesses(&owner) > before);
    assert_true(accesses(&user) > 0); /* the answer */
    free(text);
}

static void test_size_zero(void **state)
{
    struct memory remote, local;
    struct call call;

    (void)state;
    memory_create(&remote, &owner, 100000, 1, HG_BULK_READWRITE);
    memory_create(&local, &user, 100000, 1, HG_BULK_READWRITE);
    hg_bulk_t seen = see(remote.bulk);
    start(&call, HG_BULK_PULL, seen, 100000, &local, 5, 0, HG_OP_ID_IGNORE);
    assert_int_equal(until_done(&call), HG_SUCCESS);
    assert_int_equal(accesses(&user), 0);
    HG_Bulk_free(seen);
    memory_free(&remote);
    memory_free(&local);
}

/* A handle that is passed on keeps its access. */
static void test_passed_on(void **state)
{
    struct memory remote, local;
    unsigned char first[256], second[256];
    size_t first_size, second_size;

    (void)state;
    memory_create(&remote, &owner, 100000, 1, HG_BULK_READWRITE);
    memory_create(&local, &user, 100000, 1, HG_BULK_READWRITE);
    fill(&remote, 3);
    hg_bulk_t seen = carry(remote.bulk, first, sizeof first, &first_size);
    hg_bulk_t again = carry(seen, second, sizeof second, &second_size);
    assert_true(first_size > PLAIN_SIZE(1));
    assert_int_equal(first_size, second_size);
    assert_memory_equal(first, second, first_size);
    assert_int_equal(move(HG_BULK_PULL, again, &local), HG_SUCCESS);
    assert_memory_equal(local.bytes, remote.bytes, 100000);
    assert_true(accesses(&user) > 0);
    for (size_t cut = PLAIN_SIZE(1); cut < first_size; cut++) {
        hg_bulk_t none;
        assert_int_equal(HG_Bulk_deserialize(user.hg_class, &none, first, cut), HG_PROTOCOL_ERROR);
    }
    HG_Bulk_free(seen);
    HG_Bulk_free(again);
    memory_free(&remote);
    memory_free(&local);
}

/* More than may be under way. */
static void test_many(void **state)
{
    enum { COUNT = 48, SIZE = (1 << 20) + 3 };
    struct memory remote, locals[COUNT];
    struct call calls[COUNT];

    (void)state;
    memory_create(&remote, &owner, SIZE, 3, HG_BULK_READ_ONLY);
    fill(&remote, 4);
    hg_bulk_t seen = see(remote.bulk);
    for (int i = 0; i < COUNT; i++) {
        memory_create(&locals[i], &user, SIZE, 1, HG_BULK_READWRITE);
        start(&calls[i], HG_BULK_PULL, seen, 0, &locals[i], 0, SIZE, HG_OP_ID_IGNORE);
    }
    assert_false(list_empty(&user.context->stalled));
    for (int i = 0; i < COUNT; i++) {
        assert_int_equal(until_done(&calls[i]), HG_SUCCESS);
        assert_memory_equal(locals[i].bytes, remote.bytes, SIZE);
        memory_free(&locals[i]);
    }
    assert_true(list_empty(&user.context->stalled));
    assert_int_equal(atomic_load(&domain_of(&user)->accesses), 0);
    HG_Bulk_free(seen);
    memory_free(&remote);
}

/* ---- it is not possible ---- */

/* A transfer each way, which goes by messages. */
static void check_messages(void)
{
    uint64_t before = accesses(&user);

    check_move(HG_BULK_PULL, 700000, 2, 3, 1, 2);
    check_move(HG_BULK_PUSH, 700000, 2, 3, 1, 2);
    assert_int_equal(accesses(&user), before);
}

static void test_without(void **state)
{
    struct memory memory;
    unsigned char flat[256];
    size_t size;

    (void)state;
    for (int who = 0; who < 3; who++) {
        open_sides(who & 1, who & 2);
        check_messages();
        if (!(who & 1)) {
            memory_create(&memory, &owner, 100000, 1, HG_BULK_READWRITE);
            HG_Bulk_free(carry(memory.bulk, flat, sizeof flat, &size));
            assert_int_equal(size, PLAIN_SIZE(1));
            memory_free(&memory);
        }
        close_sides();
    }
}

static int refuse_reg(struct fid *fid, const void *buf, size_t len, uint64_t access, uint64_t offset, uint64_t key,
                      uint64_t flags, struct fid_mr **mr, void *context)
{
    (void)fid, (void)buf, (void)len, (void)access, (void)offset, (void)key, (void)flags, (void)mr, (void)context;
    return -FI_ENOMEM;
}

/* The provider registers no more memory. */
static void test_registration_fails(void **state)
{
    struct fi_ops_mr *real = domain_of(&owner)->domain->mr, refusing = *real;

    (void)state;
    refusing.reg = refuse_reg;
    domain_of(&owner)->domain->mr = &refusing;
    check_messages();
    domain_of(&owner)->domain->mr = real;
    check_move(HG_BULK_PULL, 700000, 2, 3, 1, 2);
    assert_true(accesses(&user) > 0);
}

static struct fi_ops_rma *real_rma;
static ssize_t refusal;   /* what the provider says … */
static int refusals_left; /* … so many times */

static ssize_t readmsg(struct fid_ep *ep, const struct fi_msg_rma *msg, uint64_t flags)
{
    return refusals_left > 0 && refusals_left-- ? refusal : real_rma->readmsg(ep, msg, flags);
}

static ssize_t writemsg(struct fid_ep *ep, const struct fi_msg_rma *msg, uint64_t flags)
{
    return refusals_left > 0 && refusals_left-- ? refusal : real_rma->writemsg(ep, msg, flags);
}

static void check_refused(ssize_t how, int times)
{
    struct fi_ops_rma refusing = *domain_of(&user)->endpoint->rma;

    real_rma = domain_of(&user)->endpoint->rma;
    refusing.readmsg = readmsg;
    refusing.writemsg = writemsg;
    domain_of(&user)->endpoint->rma = &refusing;
    refusal = how;
    for (int op = HG_BULK_PUSH; op <= HG_BULK_PULL; op++) {
        refusals_left = times;
        check_move((hg_bulk_op_t)op, 3 << 20, 2, 3, 1, 2);
    }
    domain_of(&user)->endpoint->rma = real_rma;
}

static void test_provider_refuses(void **state)
{
    (void)state;
    check_refused(-FI_EOPNOTSUPP, INT32_MAX);
    assert_int_equal(accesses(&user), 0);
    check_refused(-FI_EAGAIN, 3);
    assert_true(accesses(&user) > 0);
    check_refused(-FI_EOPNOTSUPP, 1);
}

/* ---- it goes wrong ---- */

/* The provider may end its connection to whom it refuses an access, and ours with it; a new one is as good. */
static bool is_refused(hg_return_t ret, hg_return_t why)
{
    return ret == why || ret == HG_NODEV || ret == HG_HOSTUNREACH;
}

/* Until the two talk to each other again. */
static void reconnect(void)
{
    int64_t deadline = dango_deadline_ns(PEER_LIMIT_MS);

    while (rpc(&user, owner_addr, user.rpcs.null, NULL) != HG_SUCCESS)
        assert_true(dango_clock_ns() < deadline);
}

/* The user believes to have rights that the owner has not given. */
static void test_rights(void **state)
{
    struct memory remote, local;
    unsigned char flat[256];
    size_t size;
    hg_bulk_t seen;

    (void)state;
    memory_create(&local, &user, 100000, 1, HG_BULK_READWRITE);
    for (int op = HG_BULK_PUSH; op <= HG_BULK_PULL; op++) {
        memory_create(&remote, &owner, 100000, 1, op == HG_BULK_PULL ? HG_BULK_WRITE_ONLY : HG_BULK_READ_ONLY);
        fill(&remote, 5);
        fill(&local, 6);
        HG_Bulk_free(carry(remote.bulk, flat, sizeof flat, &size));
        flat[FLAGS_AT] = HG_BULK_READWRITE;
        assert_int_equal(HG_Bulk_deserialize(user.hg_class, &seen, flat, size), HG_SUCCESS);
        uint64_t before = accesses(&user);
        assert_true(is_refused(move((hg_bulk_op_t)op, seen, &local), HG_PERMISSION));
        assert_true(accesses(&user) > before);
        for (size_t i = 0; i < 100000; i++) {
            assert_int_equal(remote.bytes[i], pattern(i + 5));
            assert_int_equal(local.bytes[i], pattern(i + 6));
        }
        HG_Bulk_free(seen);
        memory_free(&remote);
        reconnect();
        check_move(HG_BULK_PULL, 100000, 1, 1, 0, 0);
    }
    memory_free(&local);
}

static void test_freed_before(void **state)
{
    struct memory remote, local;

    (void)state;
    memory_create(&local, &user, 100000, 1, HG_BULK_READWRITE);
    memory_create(&remote, &owner, 100000, 1, HG_BULK_READWRITE);
    hg_bulk_t seen = see(remote.bulk);
    fill(&remote, 7);
    HG_Bulk_free(remote.bulk);
    for (int op = HG_BULK_PUSH; op <= HG_BULK_PULL; op++) {
        assert_true(is_refused(move((hg_bulk_op_t)op, seen, &local), HG_NOENTRY));
        reconnect();
    }
    for (size_t i = 0; i < 100000; i++)
        assert_int_equal(remote.bytes[i], pattern(i + 7));
    check_move(HG_BULK_PULL, 100000, 1, 1, 0, 0);
    HG_Bulk_free(seen);
    free(remote.bytes);
    memory_free(&local);
}

/* The owner frees the handle at any moment of the transfer, which ends, well or not; others are not harmed. */
static void test_freed_during(void **state)
{
    (void)state;
    for (int polls = 0; polls < 40; polls++) {
        struct memory remote, local;
        struct call call;
        memory_create(&remote, &owner, 4 << 20, 2, HG_BULK_READWRITE);
        memory_create(&local, &user, 4 << 20, 1, HG_BULK_READWRITE);
        hg_bulk_t seen = see(remote.bulk);
        start(&call, polls % 2 ? HG_BULK_PULL : HG_BULK_PUSH, seen, 0, &local, 0, local.size, HG_OP_ID_IGNORE);
        for (int i = 0; i < polls && !call.done; i++) {
            poll_side(&owner);
            poll_side(&user);
        }
        HG_Bulk_free(remote.bulk);
        hg_return_t ret = until_done(&call);
        assert_true(ret == HG_SUCCESS || is_refused(ret, HG_NOENTRY));
        HG_Bulk_free(seen);
        free(remote.bytes); /* only now: providers over TCP go on with what they have begun (ofi_rma.c) */
        memory_free(&local);
        reconnect();
        check_move(HG_BULK_PULL, 100000, 1, 1, 0, 0);
    }
}

/* Descriptions that lead nowhere cost no more than a connection; that of another process, nothing but the detour. */
static void test_wrong_description(void **state)
{
    static const size_t places[] = {0, 8, 16}; /* epoch, base, key */
    struct memory remote, local;
    unsigned char flat[256];
    size_t size;
    hg_bulk_t seen;

    (void)state;
    memory_create(&remote, &owner, 100000, 1, HG_BULK_READWRITE);
    memory_create(&local, &user, 100000, 1, HG_BULK_READWRITE);
    fill(&remote, 8);
    HG_Bulk_free(carry(remote.bulk, flat, sizeof flat, &size));
    for (int i = 0; i < 3; i++) {
        memset(local.bytes, 0, local.size);
        for (int byte = 0; byte < 8; byte++)
            flat[PLAIN_SIZE(1) + places[i] + (size_t)byte] ^= 0x5a;
        assert_int_equal(HG_Bulk_deserialize(user.hg_class, &seen, flat, size), HG_SUCCESS);
        hg_return_t ret = move(HG_BULK_PULL, seen, &local);
        assert_true(ret == HG_SUCCESS || (i > 0 && is_refused(ret, HG_SUCCESS)));
        if (ret == HG_SUCCESS)
            assert_memory_equal(local.bytes, remote.bytes, local.size);
        reconnect();
        for (int byte = 0; byte < 8; byte++)
            flat[PLAIN_SIZE(1) + places[i] + (size_t)byte] ^= 0x5a;
        HG_Bulk_free(seen);
    }
    memory_free(&remote);
    memory_free(&local);
}

/* Too short, too long, or for fewer segments than there are: messages. */
static void test_wrong_size(void **state)
{
    static const unsigned char sizes[] = {0, 1, 7, 8, 9, 23};
    struct memory remote, local;
    unsigned char flat[256];
    size_t size;
    hg_bulk_t seen;

    (void)state;
    memory_create(&remote, &owner, 100000, 1, HG_BULK_READWRITE);
    memory_create(&local, &user, 100000, 1, HG_BULK_READWRITE);
    fill(&remote, 8);
    HG_Bulk_free(carry(remote.bulk, flat, sizeof flat, &size));
    for (size_t i = 0; i < sizeof sizes; i++) {
        memset(local.bytes, 0, local.size);
        flat[ACCESS_SIZE_AT] = sizes[i];
        assert_int_equal(HG_Bulk_deserialize(user.hg_class, &seen, flat, size), HG_SUCCESS);
        assert_int_equal(move(HG_BULK_PULL, seen, &local), HG_SUCCESS);
        assert_memory_equal(local.bytes, remote.bytes, local.size);
        HG_Bulk_free(seen);
    }
    flat[ACCESS_SIZE_AT] = 25;
    assert_int_equal(HG_Bulk_deserialize(user.hg_class, &seen, flat, size), HG_PROTOCOL_ERROR);
    assert_int_equal(accesses(&user), 0);
    memory_free(&remote);
    memory_free(&local);
}

/* A peer that accesses our memory can have our endpoint tell us, unasked. */
static void test_announced(void **state)
{
    enum { SIZE = 32 };
    struct memory remote, local;
    struct ofi_region_info info = {0};
    unsigned char flat[256];
    size_t size;
    int64_t deadline = dango_deadline_ns(PEER_LIMIT_MS);

    (void)state;
    memory_create(&remote, &owner, 100000, 1, HG_BULK_READWRITE);
    memory_create(&local, &user, SIZE, 1, HG_BULK_READWRITE);
    fill(&local, 11);
    memset(remote.bytes, 0, remote.size);
    HG_Bulk_free(carry(remote.bulk, flat, sizeof flat, &size));
    memcpy(&info, flat + PLAIN_SIZE(1), size - PLAIN_SIZE(1));
    const struct ofi_conn *conn = container_of(user.context->na->conns.next, struct ofi_conn, base.link);
    assert_int_equal(fi_inject_writedata(domain_of(&user)->endpoint, local.bytes, SIZE, 1, conn->peer,
                                         le64toh(info.segments[0].base), le64toh(info.segments[0].key)),
                     0);
    while (memcmp(remote.bytes, local.bytes, SIZE) != 0) {
        poll_side(&owner);
        poll_side(&user);
        assert_true(dango_clock_ns() < deadline);
    }
    check_move(HG_BULK_PULL, 100000, 1, 1, 0, 0);
    memory_free(&remote);
    memory_free(&local);
}

/* ---- it ends early ---- */

static void until_quiet(void)
{
    int64_t deadline = dango_deadline_ns(PEER_LIMIT_MS);

    while (atomic_load(&domain_of(&user)->accesses) > 0) {
        poll_side(&owner);
        poll_side(&user);
        assert_true(dango_clock_ns() < deadline);
    }
}

/* What arrives later does not touch the memory. */
static void test_cancelled(void **state)
{
    struct memory remote, local;
    struct call call;
    hg_op_id_t id;

    (void)state;
    memory_create(&remote, &owner, 8 << 20, 1, HG_BULK_READ_ONLY);
    memory_create(&local, &user, 8 << 20, 1, HG_BULK_READWRITE);
    hg_bulk_t seen = see(remote.bulk);
    fill(&remote, 9);
    start(&call, HG_BULK_PULL, seen, 0, &local, 0, local.size, &id);
    assert_int_equal(HG_Bulk_cancel(id), HG_SUCCESS);
    fill(&local, 10);
    assert_int_equal(until_done(&call), HG_CANCELED);
    until_quiet();
    for (size_t i = 0; i < local.size; i++)
        assert_int_equal(local.bytes[i], pattern(i + 10));
    HG_Bulk_free(seen);
    memory_free(&remote);
    memory_free(&local);
}

/* So does the end of the context; and a handle may be freed after its class. */
static void test_context_destroyed(void **state)
{
    struct memory remote, local, late;
    struct call call;

    (void)state;
    open_sides(true, true);
    memory_create(&remote, &owner, 8 << 20, 1, HG_BULK_READ_ONLY);
    memory_create(&local, &user, 8 << 20, 1, HG_BULK_READWRITE);
    memory_create(&late, &user, 1 << 20, 1, HG_BULK_READWRITE);
    assert_true(HG_Bulk_get_serialize_size(late.bulk, 0) > PLAIN_SIZE(1));
    hg_bulk_t seen = see(remote.bulk);
    start(&call, HG_BULK_PULL, seen, 0, &local, 0, local.size, HG_OP_ID_IGNORE);
    HG_Addr_free(user.hg_class, owner_addr);
    HG_Bulk_free(seen);
    assert_int_equal(HG_Context_destroy(user.context), HG_SUCCESS);
    assert_true(call.done);
    assert_int_equal(call.ret, HG_CANCELED);
    memory_free(&local);
    assert_int_equal(HG_Finalize(user.hg_class), HG_SUCCESS);
    memory_free(&late);
    memory_free(&remote);
    side_close(&owner);
}

/* A process that lets us read its memory. */
struct told {
    char address[256];
    unsigned char flat[256];
    size_t size;
};

static void be_owner(int out)
{
    struct told told = {0};
    struct memory memory;
    hg_size_t size = sizeof told.address;
    hg_addr_t self;

    side_open(&owner, test_protocol(), true, NULL);
    memory_create(&memory, &owner, 8 << 20, 1, HG_BULK_READWRITE);
    HG_Addr_self(owner.hg_class, &self);
    HG_Addr_to_string(owner.hg_class, told.address, &size, self);
    told.size = HG_Bulk_get_serialize_size(memory.bulk, 0);
    HG_Bulk_serialize(told.flat, sizeof told.flat, 0, memory.bulk);
    if (write(out, &told, sizeof told) != (ssize_t)sizeof told)
        _exit(1);
    for (;;) {
        unsigned count;
        HG_Progress(owner.context, 1000);
        HG_Trigger(owner.context, 0, 64, &count);
    }
}

static pid_t start_owner(struct told *told)
{
    int fds[2];

    setenv("DANGO_OFI_RMA", "1", 1);
    assert_int_equal(pipe(fds), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        be_owner(fds[1]);
    }
    close(fds[1]);
    struct pollfd ready = {.fd = fds[0], .events = POLLIN};
    assert_int_equal(poll(&ready, 1, PEER_LIMIT_MS), 1);
    assert_int_equal(read(fds[0], told, sizeof *told), (ssize_t)sizeof *told);
    close(fds[0]);
    return pid;
}

/* The owner is stopped in the middle of transfers both ways, and dies: they end, soon and once. */
static void test_killed(void **state)
{
    enum { COUNT = 6 };
    struct call calls[COUNT], first = {0};
    struct memory locals[COUNT];
    struct told told;
    hg_handle_t handle;
    hg_bulk_t seen;

    (void)state;
    pid_t pid = start_owner(&told);
    side_open(&user, test_protocol(), false, NULL);
    owner_addr = side_lookup(&user, told.address);
    assert_int_equal(HG_Create(user.context, owner_addr, user.rpcs.null, &handle), HG_SUCCESS);
    assert_int_equal(HG_Forward(handle, call_done, &first, NULL), HG_SUCCESS);
    side_until(&user, &first.done);
    HG_Destroy(handle);
    assert_int_equal(HG_Bulk_deserialize(user.hg_class, &seen, told.flat, told.size), HG_SUCCESS);
    kill(pid, SIGSTOP);
    int status;
    assert_int_equal(waitpid(pid, &status, WUNTRACED), pid);
    for (int i = 0; i < COUNT; i++) {
        memory_create(&locals[i], &user, 8 << 20, 1, HG_BULK_READWRITE);
        start(&calls[i], i % 2 ? HG_BULK_PULL : HG_BULK_PUSH, seen, 0, &locals[i], 0, locals[i].size, HG_OP_ID_IGNORE);
    }
    assert_true(accesses(&user) > 0);
    for (int i = 0; i < 100; i++)
        poll_side(&user);
    for (int i = 0; i < COUNT; i++)
        assert_false(calls[i].done);
    int64_t start_ns = dango_clock_ns();
    kill(pid, SIGKILL);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    for (int i = 0; i < COUNT; i++) {
        side_until(&user, &calls[i].done);
        assert_int_not_equal(calls[i].ret, HG_SUCCESS);
        assert_int_not_equal(calls[i].ret, HG_CANCELED);
        memory_free(&locals[i]);
    }
    assert_true(dango_clock_ns() - start_ns < test_soon_ms() * DANGO_NS_PER_MS);
    for (int i = 0; i < 100; i++)
        poll_side(&user);
    HG_Bulk_free(seen);
    HG_Addr_free(user.hg_class, owner_addr);
    side_close(&user);
}

int main(void)
{
    setenv("DANGO_TEST_PROTOCOL", "ofi+tcp://127.0.0.1", 0);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_killed), /* before there are threads */
        cmocka_unit_test_setup_teardown(test_used, setup, teardown),
        cmocka_unit_test_setup_teardown(test_scattered, setup, teardown),
        cmocka_unit_test_setup_teardown(test_large_input, setup, teardown),
        cmocka_unit_test_setup_teardown(test_size_zero, setup, teardown),
        cmocka_unit_test_setup_teardown(test_passed_on, setup, teardown),
        cmocka_unit_test_setup_teardown(test_many, setup, teardown),
        cmocka_unit_test(test_without),
        cmocka_unit_test_setup_teardown(test_registration_fails, setup, teardown),
        cmocka_unit_test_setup_teardown(test_provider_refuses, setup, teardown),
        cmocka_unit_test_setup_teardown(test_rights, setup, teardown),
        cmocka_unit_test_setup_teardown(test_freed_before, setup, teardown),
        cmocka_unit_test_setup_teardown(test_freed_during, setup, teardown),
        cmocka_unit_test_setup_teardown(test_wrong_description, setup, teardown),
        cmocka_unit_test_setup_teardown(test_wrong_size, setup, teardown),
        cmocka_unit_test_setup_teardown(test_announced, setup, teardown),
        cmocka_unit_test_setup_teardown(test_cancelled, setup, teardown),
        cmocka_unit_test(test_context_destroyed),
    };
    return cmocka_run_group_tests_name("mercury-ofi-rma", tests, NULL, NULL);
}
