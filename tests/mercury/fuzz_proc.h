/*
 * For fuzz targets of serialised structures: good messages made by their serialisers, and any bytes as a message.
 */
#ifndef DANGO_TESTS_MERCURY_FUZZ_PROC_H
#define DANGO_TESTS_MERCURY_FUZZ_PROC_H

#include "tests/support/fuzz.h"

#include "mercury/hg.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

static hg_class_t *fuzz_class;
static volatile uint64_t fuzz_total; /* keeps the reading */

static inline void fuzz_proc_end(void)
{
    HG_Finalize(fuzz_class);
}

/* The class that serialisers need; it goes when the program ends. */
static inline void fuzz_proc_begin(void)
{
    fuzz_class = HG_Init("na+sm", HG_FALSE);
    assert(fuzz_class);
    atexit(fuzz_proc_end);
}

/* A good input: a byte for the target, then the message. */
static inline void fuzz_proc_seed(unsigned char kind, hg_proc_cb_t proc, void *value)
{
    unsigned char bytes[2048] = {kind};
    struct hgi_buffer message;
    hgi_buffer_init(&message);
    hg_return_t status = hgi_encode(fuzz_class, proc, value, &message);
    assert(status == HG_SUCCESS && message.size < sizeof bytes);
    memcpy(bytes + 1, message.data, message.size);
    fuzz_seed(bytes, 1 + message.size);
    hgi_buffer_fini(&message);
}

/*
 * Decodes as the RPC core does: into memory with any content, freed only when decoding succeeds. `touch` looks at what
 * came of it, or is NULL.
 */
static inline void fuzz_proc_decode(hg_proc_cb_t proc, void *value, size_t value_size, const uint8_t *bytes,
                                    size_t size, void (*touch)(const void *value))
{
    struct hgi_buffer message;
    /* Not in the buffer's own memory: there a sanitizer would not see reading beyond the end. */
    char *exact = malloc(size ? size : 1);
    assert(exact);
    memcpy(exact, bytes, size);
    hgi_buffer_init(&message);
    message.data = exact;
    message.size = message.capacity = size;
    memset(value, 0, value_size);
    if (hgi_decode(fuzz_class, proc, HG_DECODE, value, &message) == HG_SUCCESS) {
        if (touch)
            touch(value);
        hgi_decode(fuzz_class, proc, HG_FREE, value, &message);
    }
    free(exact);
}

static inline void fuzz_touch(const void *bytes, uint64_t size)
{
    for (uint64_t i = 0; i < size; i++)
        fuzz_total += ((const unsigned char *)bytes)[i];
}

static inline void fuzz_touch_text(const char *text)
{
    if (text)
        fuzz_total += strlen(text);
}

#endif
