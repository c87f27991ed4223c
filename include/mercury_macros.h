/* mercury_macros.h - generators for structures and their serialisers.
 *
 *     MERCURY_GEN_PROC(sum_in_t, ((int32_t)(x)) ((int32_t)(y)))
 *
 * defines `typedef struct { int32_t x; int32_t y; } sum_in_t;` and `hg_proc_sum_in_t()`, which
 * applies `hg_proc_int32_t` to each field in order and stops at the first error. A field that cannot
 * be decoded gives back what the fields before it have allocated: nobody frees what was not decoded.
 *
 * How the sequence is walked without Boost: two macros take one element each and leave the name of
 * the other behind, which meets the parentheses of the next element; pasting _END to the name that
 * remains after the last element makes it vanish. So the number of fields has no limit.
 */
#ifndef MERCURY_MACROS_H
#define MERCURY_MACROS_H

#include "mercury.h"
#include "mercury_bulk.h"
#include "mercury_proc.h"
#include "mercury_proc_bulk.h"

/* Same definition, to the letter, as Boost's: both may be included. */
/* clang-format off */
#ifndef BOOST_PP_CAT
#define BOOST_PP_CAT(a, b) BOOST_PP_CAT_I(a, b)
#define BOOST_PP_CAT_I(a, b) a ## b
#endif
/* clang-format on */

#define HG_GEN_CAT(a, b)   HG_GEN_CAT_I(a, b)
#define HG_GEN_CAT_I(a, b) a##b

/* (type)(name) -> type, name */
#define HG_GEN_PAIR(type)          type, HG_GEN_ID
#define HG_GEN_ID(name)            name
#define HG_GEN_APPLY(macro, pair)  HG_GEN_APPLY_I(macro, pair)
#define HG_GEN_APPLY_I(macro, ...) macro(__VA_ARGS__)

#define HG_GEN_FIELD(type, name) type name;
#define HG_GEN_FIELDS_A(field)   HG_GEN_APPLY(HG_GEN_FIELD, HG_GEN_PAIR field) HG_GEN_FIELDS_B
#define HG_GEN_FIELDS_B(field)   HG_GEN_APPLY(HG_GEN_FIELD, HG_GEN_PAIR field) HG_GEN_FIELDS_A
#define HG_GEN_FIELDS_A_END
#define HG_GEN_FIELDS_B_END

#define HG_GEN_STEP(type, name)                                                                                        \
    if (*hg_gen_done == hg_gen_limit)                                                                                  \
        return HG_SUCCESS;                                                                                             \
    hg_gen_ret = HG_GEN_CAT(hg_proc_, type)(proc, &hg_gen_data->name);                                                 \
    if (hg_gen_ret != HG_SUCCESS)                                                                                      \
        return hg_gen_ret;                                                                                             \
    ++*hg_gen_done;
#define HG_GEN_STEPS_A(field) HG_GEN_APPLY(HG_GEN_STEP, HG_GEN_PAIR field) HG_GEN_STEPS_B
#define HG_GEN_STEPS_B(field) HG_GEN_APPLY(HG_GEN_STEP, HG_GEN_PAIR field) HG_GEN_STEPS_A
#define HG_GEN_STEPS_A_END
#define HG_GEN_STEPS_B_END

/* The serialiser of an existing structure. */
#define MERCURY_GEN_STRUCT_PROC(struct_type, fields)                                                                   \
    static HG_INLINE hg_return_t BOOST_PP_CAT(hg_gen_fields_, struct_type)(                                            \
        hg_proc_t proc, struct_type * hg_gen_data, unsigned hg_gen_limit, unsigned *hg_gen_done)                       \
    {                                                                                                                  \
        hg_return_t hg_gen_ret = HG_SUCCESS;                                                                           \
        HG_GEN_CAT(HG_GEN_STEPS_A fields, _END)                                                                        \
        return hg_gen_ret;                                                                                             \
    }                                                                                                                  \
    static HG_INLINE hg_return_t BOOST_PP_CAT(hg_proc_, struct_type)(hg_proc_t proc, void *data)                       \
    {                                                                                                                  \
        unsigned hg_gen_done = 0, hg_gen_freed = 0;                                                                    \
        hg_return_t hg_gen_ret =                                                                                       \
            BOOST_PP_CAT(hg_gen_fields_, struct_type)(proc, (struct_type *)data, ~0u, &hg_gen_done);                   \
        if (hg_gen_ret != HG_SUCCESS && hg_gen_done > 0 && hg_proc_undo_begin(proc)) {                                 \
            BOOST_PP_CAT(hg_gen_fields_, struct_type)(proc, (struct_type *)data, hg_gen_done, &hg_gen_freed);          \
            hg_proc_undo_end(proc, hg_gen_ret);                                                                        \
        }                                                                                                              \
        return hg_gen_ret;                                                                                             \
    }

/* The structure and its serialiser. */
#define MERCURY_GEN_PROC(struct_type, fields)                                                                          \
    typedef struct {                                                                                                   \
        HG_GEN_CAT(HG_GEN_FIELDS_A fields, _END)                                                                       \
    } struct_type;                                                                                                     \
    MERCURY_GEN_STRUCT_PROC(struct_type, fields)

/* Register an RPC by name and types; a type may be `void`. */
#define MERCURY_REGISTER(hg_class, func_name, in_struct, out_struct, rpc_cb)                                           \
    HG_Register_name(hg_class, func_name, BOOST_PP_CAT(hg_proc_, in_struct), BOOST_PP_CAT(hg_proc_, out_struct), rpc_cb)

#endif /* MERCURY_MACROS_H */
