/*
 * Any bytes as a management request to, or an answer of, a daemon. Input: a byte that chooses, then the message.
 */
#include "tests/mercury/fuzz_proc.h"

#include "bedrock/proto.h"

const unsigned fuzz_rounds = 300000;

static void touch_in(const void *value)
{
    const bdk_in_t *in = value;
    fuzz_touch_text(in->first);
    fuzz_touch_text(in->second);
}

static void touch_out(const void *value)
{
    fuzz_touch_text(((const bdk_out_t *)value)->value);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    bdk_in_t in;
    bdk_out_t out;
    if (size > 0 && data[0] & 1)
        fuzz_proc_decode(hg_proc_bdk_out_t, &out, sizeof out, data + 1, size - 1, touch_out);
    else if (size > 0)
        fuzz_proc_decode(hg_proc_bdk_in_t, &in, sizeof in, data + 1, size - 1, touch_in);
    return 0;
}

void fuzz_corpus(void)
{
    fuzz_proc_begin();
    bdk_in_t in = {.first = "name", .second = "{\"type\":\"yokan\"}", .number_bits = 30};
    bdk_out_t out = {.value = "{\"providers\":[]}", .provider_id = 3};
    fuzz_proc_seed(0, hg_proc_bdk_in_t, &in);
    in.second = NULL;
    fuzz_proc_seed(0, hg_proc_bdk_in_t, &in);
    fuzz_proc_seed(1, hg_proc_bdk_out_t, &out);
    out.value = NULL;
    fuzz_proc_seed(1, hg_proc_bdk_out_t, &out);
}
