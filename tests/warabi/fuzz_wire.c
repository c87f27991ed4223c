/*
 * Any bytes as a request to, or an answer of, a Warabi provider. Input: a byte that chooses, then the message.
 */
#include "tests/mercury/fuzz_proc.h"

#include "warabi/wire.h"

const unsigned fuzz_rounds = 200000;

static void touch_in(const void *value)
{
    const wb_in_t *in = value;
    assert(!(in->fields & ~WB_ALL_FIELDS));
    for (size_t i = 0; i < in->segments.count; i++)
        fuzz_total += in->segments.offsets[i] + in->segments.sizes[i];
    fuzz_touch(in->bytes.data, in->bytes.size);
    fuzz_touch_text(in->memory.address);
}

static void touch_out(const void *value)
{
    const wb_out_t *out = value;
    if (out->code != WARABI_ERR_OK)
        fuzz_touch_text(out->message);
    else if (out->kind == WB_OUT_BYTES)
        fuzz_touch(out->bytes.data, out->bytes.size);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    wb_in_t in;
    wb_out_t out;
    if (size > 0 && data[0] & 1)
        fuzz_proc_decode(hg_proc_wb_out_t, &out, sizeof out, data + 1, size - 1, touch_out);
    else if (size > 0)
        fuzz_proc_decode(hg_proc_wb_in_t, &in, sizeof in, data + 1, size - 1, touch_in);
    return 0;
}

void fuzz_corpus(void)
{
    static char memory[64], address[] = "na+sm://1-0", text[] = "no such region";
    static const size_t offsets[] = {0, 20, 40}, sizes[] = {10, 5, 1};
    void *pointer = memory;
    hg_size_t size = sizeof memory;
    wb_in_t in = {.size = 10,
                  .segments = {.count = 3, .offsets = offsets, .sizes = sizes},
                  .bytes = {10, "0123456789"},
                  .memory = {.address = address, .offset = 7}};
    fuzz_proc_begin();
    hg_return_t status = HG_Bulk_create(fuzz_class, 1, &pointer, &size, HG_BULK_READWRITE, &in.memory.bulk);
    assert(status == HG_SUCCESS);
    for (int rpc = 0; rpc < WB_RPC_COUNT; rpc++) {
        in.fields = wb_rpcs[rpc].fields;
        fuzz_proc_seed(0, hg_proc_wb_in_t, &in);
    }
    in.fields = WB_ALL_FIELDS;
    fuzz_proc_seed(0, hg_proc_wb_in_t, &in);
    HG_Bulk_free(in.memory.bulk);
    wb_out_t out = {.kind = WB_OUT_BYTES, .bytes = {10, "0123456789"}};
    fuzz_proc_seed(1, hg_proc_wb_out_t, &out);
    out.kind = WB_OUT_REGION;
    fuzz_proc_seed(1, hg_proc_wb_out_t, &out);
    out = (wb_out_t){.code = WARABI_ERR_NOT_FOUND, .message = text};
    fuzz_proc_seed(1, hg_proc_wb_out_t, &out);
}
