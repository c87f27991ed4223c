/*
 * Serialisation: the generated serialisers, growth, open regions, errors that stick. Compiled as C and as C++.
 */
#include "tests/support/test.h"

#include "mercury_macros.h"
#include "mercury_proc_string.h"

#ifdef __cplusplus
#define TEST_NAME "mercury-proc-cxx"
#else
#define TEST_NAME "mercury-proc"
#endif

/* A type with a serialiser that is a macro, and a type that is one. */
typedef double real_t;
#define hg_proc_real_t(proc, data) hg_proc_memcpy(proc, data, sizeof(double))
#define alias_t                    int32_t

MERCURY_GEN_PROC(point_t, ((real_t)(x))((real_t)(y)))
MERCURY_GEN_PROC(shape_t, ((hg_string_t)(name))((point_t)(from))((point_t)(to))((alias_t)(color))((hg_size_t)(size))(
                              (hg_bool_t)(flag))((hg_bulk_t)(bulk))((uint8_t)(small)))
MERCURY_GEN_PROC(one_t, ((int8_t)(value)))

struct plain {
    uint16_t a;
    int64_t b;
};
typedef struct plain plain_t;
MERCURY_GEN_STRUCT_PROC(plain_t, ((uint16_t)(a))((int64_t)(b)))

/* ---- a call to ourselves carries a structure through encode and decode ---- */

static hg_class_t *hg_class;
static hg_context_t *context;
static hg_addr_t self;

static int setup(void **state)
{
    (void)state;
    hg_class = HG_Init("na+sm", HG_FALSE);
    assert_non_null(hg_class);
    context = HG_Context_create(hg_class);
    HG_Addr_self(hg_class, &self);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    HG_Addr_free(hg_class, self);
    HG_Context_destroy(context);
    assert_int_equal(HG_Finalize(hg_class), HG_SUCCESS);
    return 0;
}

static hg_handle_t received;

static hg_return_t keep(hg_handle_t handle)
{
    received = handle;
    return HG_SUCCESS;
}

/* Forwards `in`; the target's handle is then in `received`. Returns the result of the forward. */
static hg_return_t carry(hg_proc_cb_t in_proc, hg_proc_cb_t out_proc, void *in)
{
    hg_id_t id = HG_Register_name(hg_class, "carry", in_proc, out_proc, keep);
    hg_handle_t handle;
    unsigned count;
    hg_return_t ret;

    /* Decode with another serialiser than was used for encoding. */
    assert_int_equal(HG_Create(context, self, id, &handle), HG_SUCCESS);
    received = NULL;
    ret = HG_Forward(handle, NULL, NULL, in);
    if (ret == HG_SUCCESS)
        HG_Trigger(context, 0, 1, &count);
    HG_Cancel(handle);
    HG_Trigger(context, 0, 1, &count);
    HG_Destroy(handle);
    return ret;
}

static void test_generated(void **state)
{
    char name[] = "a shape";
    shape_t in, out;

    (void)state;
    memset(&in, 0, sizeof in);
    in.name = name;
    in.from.x = 1.5;
    in.to.y = -2;
    in.color = -7;
    in.size = UINT64_MAX;
    in.flag = HG_TRUE;
    in.small = 200;
    assert_int_equal(carry(hg_proc_shape_t, NULL, &in), HG_SUCCESS);
    assert_non_null(received);
    for (int i = 0; i < 2; i++) { /* may be decoded repeatedly */
        assert_int_equal(HG_Get_input(received, &out), HG_SUCCESS);
        assert_string_equal(out.name, name);
        assert_true(out.name != in.name);
        assert_true(out.from.x == 1.5 && out.to.y == -2 && out.to.x == 0);
        assert_int_equal(out.color, -7);
        assert_true(out.size == UINT64_MAX && out.flag && out.small == 200 && !out.bulk);
        assert_int_equal(HG_Free_input(received, &out), HG_SUCCESS);
    }
    HG_Destroy(received);
}

static void test_existing_struct(void **state)
{
    plain_t in, out;
    one_t one;

    (void)state;
    in.a = 65535;
    in.b = INT64_MIN;
    assert_int_equal(carry(hg_proc_plain_t, NULL, &in), HG_SUCCESS);
    assert_int_equal(HG_Get_input_payload_size(received), 10);
    assert_int_equal(HG_Get_input(received, &out), HG_SUCCESS);
    assert_true(out.a == 65535 && out.b == INT64_MIN);
    HG_Free_input(received, &out);
    HG_Destroy(received);
    one.value = -128;
    assert_int_equal(carry(hg_proc_one_t, NULL, &one), HG_SUCCESS);
    assert_int_equal(HG_Get_input(received, &one), HG_SUCCESS);
    assert_int_equal(one.value, -128);
    HG_Free_input(received, &one);
    HG_Destroy(received);
}

/* Writes the beginning of a shape, reads a whole one. */
static hg_return_t half_shape_proc(hg_proc_t proc, void *data)
{
    shape_t *shape = (shape_t *)data;

    if (hg_proc_get_op(proc) != HG_ENCODE)
        return hg_proc_shape_t(proc, data);
    hg_proc_hg_string_t(proc, &shape->name);
    return hg_proc_point_t(proc, &shape->from);
}

/* What was decoded before the message ended is given back: who cannot decode does not free. */
static void test_undone(void **state)
{
    char name[] = "half a shape";
    shape_t in, out;

    (void)state;
    memset(&in, 0, sizeof in);
    memset(&out, 0xee, sizeof out);
    in.name = name;
    assert_int_equal(carry(half_shape_proc, NULL, &in), HG_SUCCESS);
    assert_int_equal(HG_Get_input(received, &out), HG_OVERFLOW);
    assert_null(out.name);
    HG_Destroy(received);
}

/* ---- a serialiser that reads more than was written, and ignores errors ---- */

static hg_return_t greedy_proc(hg_proc_t proc, void *data)
{
    uint64_t *values = (uint64_t *)data;
    size_t count = hg_proc_get_op(proc) == HG_ENCODE ? 3 : 5;

    for (size_t i = 0; i < count; i++)
        hg_proc_uint64_t(proc, &values[i]);
    if (hg_proc_get_op(proc) == HG_DECODE) {
        uint8_t byte = 9;
        /* It sticks: not even nothing can be read any more. */
        assert_int_equal(hg_proc_bytes(proc, &byte, 0), HG_OVERFLOW);
        assert_null(hg_proc_save_ptr(proc, 0));
        assert_int_equal(hg_proc_get_size_used(proc), 24);
    }
    return HG_SUCCESS;
}

static void test_sticky(void **state)
{
    uint64_t values[5] = {1, 2, 3, 4, 5};

    (void)state;
    assert_int_equal(carry(greedy_proc, NULL, values), HG_SUCCESS);
    memset(values, 0xee, sizeof values);
    assert_int_equal(HG_Get_input(received, values), HG_OVERFLOW);
    assert_true(values[2] == 3 && values[3] == UINT64_C(0xeeeeeeeeeeeeeeee));
    HG_Destroy(received);
}

/* ---- regions ---- */

#define REGION 100
#define TAIL   100000

/* An open region keeps its address while the stream grows manifold behind it. */
static hg_return_t region_proc(hg_proc_t proc, void *data)
{
    char *bytes = (char *)data, *region, *inner;

    switch (hg_proc_get_op(proc)) {
    case HG_ENCODE:
        region = (char *)hg_proc_save_ptr(proc, REGION);
        for (size_t i = 0; i < TAIL; i += 1000)
            hg_proc_memcpy(proc, bytes + i, 1000);
        inner = (char *)hg_proc_save_ptr(proc, 10);
        memset(region, 'r', REGION);
        memset(inner, 'i', 10);
        hg_proc_restore_ptr(proc, inner, 10);
        hg_proc_memcpy(proc, bytes, 1000);
        return hg_proc_restore_ptr(proc, region, REGION);
    case HG_DECODE:
        region = (char *)hg_proc_save_ptr(proc, REGION);
        assert_non_null(region);
        assert_true(region[0] == 'r' && region[REGION - 1] == 'r');
        hg_proc_restore_ptr(proc, region, REGION);
        hg_proc_memcpy(proc, bytes, TAIL);
        inner = (char *)hg_proc_save_ptr(proc, 10);
        assert_true(inner[0] == 'i' && inner[9] == 'i');
        assert_int_equal(hg_proc_get_size_left(proc), 1000);
        assert_null(hg_proc_save_ptr(proc, 1001));
        return HG_SUCCESS;
    default:
        assert_null(hg_proc_save_ptr(proc, REGION));
        return HG_SUCCESS;
    }
}

static void test_regions(void **state)
{
    char *in = (char *)malloc(TAIL), *out = (char *)malloc(TAIL);

    (void)state;
    for (size_t i = 0; i < TAIL; i++)
        in[i] = (char)(i * 17);
    assert_int_equal(carry(region_proc, NULL, in), HG_SUCCESS);
    assert_int_equal(HG_Get_input(received, out), HG_OVERFLOW); /* the last save_ptr asks for too much */
    assert_memory_equal(in, out, TAIL);
    HG_Destroy(received);
    free(in);
    free(out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_generated, setup, teardown),
        cmocka_unit_test_setup_teardown(test_existing_struct, setup, teardown),
        cmocka_unit_test_setup_teardown(test_undone, setup, teardown),
        cmocka_unit_test_setup_teardown(test_sticky, setup, teardown),
        cmocka_unit_test_setup_teardown(test_regions, setup, teardown),
    };
    return cmocka_run_group_tests_name(TEST_NAME, tests, NULL, NULL);
}
