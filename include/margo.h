/* margo.h - remote procedure calls for user-level threads.
 *
 * An *instance* (margo_instance_id) is one network endpoint with its progress loop, a list of pools and execution
 * streams (ESs), and a table of RPCs. On the target each RPC runs as a user-level thread (ULT) of a pool: the one given
 * at registration or the instance's handler pool. On the origin a call blocks the calling ULT, or the calling thread,
 * while others go on.
 *
 *     static void sum(hg_handle_t h)                       // runs as a ULT; owns one reference to h
 *     {
 *         sum_in_t in;
 *         margo_get_input(h, &in);
 *         sum_out_t out = {.ret = in.x + in.y};
 *         margo_respond(h, &out);
 *         margo_free_input(h, &in);
 *         margo_destroy(h);
 *     }
 *     DEFINE_MARGO_RPC_HANDLER(sum)
 *     ...
 *     margo_instance_id mid = margo_init("na+sm", MARGO_SERVER_MODE, 0, 0);
 *     MARGO_REGISTER(mid, "sum", sum_in_t, sum_out_t, sum);
 *     margo_wait_for_finalize(mid);
 *
 * Threads. Every function may be called from any ULT and from any other thread, unless it says otherwise. "Blocks"
 * means that the calling ULT is suspended (its ES goes on with others) or the calling thread sleeps. If the progress
 * loop is in pool __primary__, it advances only while the main thread blocks in a function of Margo or Argobots.
 *
 * Errors are codes of hg_return_t; HG_Error_to_string names them. NULL where an object is needed gives HG_INVALID_ARG.
 * Timeouts are in milliseconds from now; 0 or less means none.
 *
 * Ownership: handles, bulk handles and addresses are reference counted; what a function gives out has one reference
 * that the caller drops with margo_destroy, margo_bulk_free, margo_addr_free (all accept NULL).
 *
 * Configuration (JSON) is described in docs/reference; pools and ESs at run time in margo-config.h.
 */
#ifndef MARGO_H
#define MARGO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <mercury.h>
#include <mercury_bulk.h>
#include <mercury_macros.h>
#include <mercury_types.h>

#include <abt.h>

#include <margo-config.h>
#include <margo-logging.h>
#include <margo-monitoring.h>
#include <margo-version.h>

/* RPCs of an instance are registered with MARGO_REGISTER. */
#undef MERCURY_REGISTER

#ifdef __cplusplus
extern "C" {
#endif

/* ---- types and constants ---- */

typedef struct margo_request_struct *margo_request;
typedef void (*margo_finalize_callback_t)(void *arg);

#define MARGO_INSTANCE_NULL ((margo_instance_id)NULL)
#define MARGO_REQUEST_NULL  ((margo_request)NULL)

#define MARGO_CLIENT_MODE 0
#define MARGO_SERVER_MODE 1

/* A provider id tells several instances of one service in a process apart; it is the low 16 bits of an RPC's id. */
#define MARGO_DEFAULT_PROVIDER_ID 0xFFFF
#define MARGO_MAX_PROVIDER_ID     65535
#define __MARGO_PROVIDER_ID_SIZE  (sizeof(hg_id_t) / 4)
#define __MARGO_RPC_HASH_SIZE     (__MARGO_PROVIDER_ID_SIZE * 3)

/* Options of margo_init_ext; all zero means defaults. Nothing in it is needed after the call. */
struct margo_init_info {
    const char *json_config;           /* the instance's configuration; NULL: {} */
    ABT_pool progress_pool;            /* wins over the configuration */
    ABT_pool rpc_pool;                 /* default handler pool; wins over the configuration */
    hg_class_t *hg_class;              /* borrowed: not destroyed by us; the address is then not used */
    hg_context_t *hg_context;          /* borrowed; with hg_class only */
    struct hg_init_info *hg_init_info; /* base values of the "mercury" section */
    struct margo_logger *logger;       /* copied */
    struct margo_monitor *monitor;     /* see margo-monitoring.h */
    margo_instance_id parent_mid;      /* share this instance's pools and ESs */
};
#ifdef __cplusplus
#define MARGO_INIT_INFO_INITIALIZER                                                                                    \
    {                                                                                                                  \
    }
#else
#define MARGO_INIT_INFO_INITIALIZER                                                                                    \
    {                                                                                                                  \
        0                                                                                                              \
    }
#endif

typedef enum {
    MARGO_RESPONSE_REQUEST = 2,
    MARGO_FORWARD_REQUEST = 4,
    MARGO_BULK_REQUEST = 6,
    MARGO_INVALID_REQUEST = 8
} margo_request_type;

/* ---- initialisation and finalisation ---- */

/* Starts an instance on a protocol ("na+sm") or address. `use_progress_thread`: the progress loop gets an ES of its
 * own; `rpc_thread_count`: 0 = handlers run in __primary__, n > 0 = n ESs for them, < 0 = they share the progress pool.
 * Initialises Argobots if nobody did; the caller is then its main thread. MARGO_INSTANCE_NULL on failure, with the
 * reason logged. */
margo_instance_id margo_init(const char *addr_str, int mode, int use_progress_thread, int rpc_thread_count);
margo_instance_id margo_init_ext(const char *addr_str, int mode, const struct margo_init_info *args);

hg_bool_t margo_is_listening(margo_instance_id mid);

/* Stops the instance: new RPCs are refused; once running handlers have ended, prefinalize callbacks run (they may
 * still call others), progress stops, finalize callbacks run, waiters wake up, everything is released. Returns at once,
 * before that, while handlers are running: their last one finishes the work. So a handler may call it. Drops one
 * reference; `mid` is invalid afterwards unless others are held. */
void margo_finalize(margo_instance_id mid);

/* Blocks until somebody has finalised the instance. `mid` is invalid afterwards unless a reference is held. */
void margo_wait_for_finalize(margo_instance_id mid);

/* Finalises and blocks until it is done. Not from a handler. */
void margo_finalize_and_wait(margo_instance_id mid);

/* References keep the instance's memory and network class for use after finalisation. Releasing the last one
 * finalises. HG_OTHER_ERROR for one release too many. */
hg_return_t margo_instance_ref_incr(margo_instance_id mid);
hg_return_t margo_instance_release(margo_instance_id mid);
hg_return_t margo_instance_ref_count(margo_instance_id mid, unsigned *refcount);
hg_return_t margo_instance_is_finalized(margo_instance_id mid, bool *flag);

/* Callbacks run most recent first. They may push and pop others. `owner` is a tag to find them again; the functions
 * without it use NULL. pop removes the most recent one of the owner, top looks at it: 1, or 0 if there is none. */
void margo_push_prefinalize_callback(margo_instance_id mid, margo_finalize_callback_t cb, void *uargs);
int margo_pop_prefinalize_callback(margo_instance_id mid);
int margo_top_prefinalize_callback(margo_instance_id mid, margo_finalize_callback_t *cb, void **uargs);
void margo_provider_push_prefinalize_callback(margo_instance_id mid, const void *owner, margo_finalize_callback_t cb,
                                              void *uargs);
int margo_provider_pop_prefinalize_callback(margo_instance_id mid, const void *owner);
int margo_provider_top_prefinalize_callback(margo_instance_id mid, const void *owner, margo_finalize_callback_t *cb,
                                            void **uargs);
void margo_push_finalize_callback(margo_instance_id mid, margo_finalize_callback_t cb, void *uargs);
int margo_pop_finalize_callback(margo_instance_id mid);
int margo_top_finalize_callback(margo_instance_id mid, margo_finalize_callback_t *cb, void **uargs);
void margo_provider_push_finalize_callback(margo_instance_id mid, const void *owner, margo_finalize_callback_t cb,
                                           void *uargs);
int margo_provider_pop_finalize_callback(margo_instance_id mid, const void *owner);
int margo_provider_top_finalize_callback(margo_instance_id mid, const void *owner, margo_finalize_callback_t *cb,
                                         void **uargs);

/* Lets peers stop this instance with margo_shutdown_remote_instance (0, or -1 if refused or unreachable). Blocks. */
void margo_enable_remote_shutdown(margo_instance_id mid);
int margo_shutdown_remote_instance(margo_instance_id mid, hg_addr_t remote_addr);

/* ---- registration ---- */

/* Registers an RPC for one provider; 0 on failure. The id depends on name and provider only. `rpc_cb` is made by
 * DEFINE_MARGO_RPC_HANDLER, or NULL at an origin. NULL serialisers: no input/output. `pool` NULL: the default handler
 * pool. Registering again replaces handler, serialisers and pool; the RPC's data stay. */
hg_id_t margo_provider_register_name(margo_instance_id mid, const char *func_name, hg_proc_cb_t in_proc_cb,
                                     hg_proc_cb_t out_proc_cb, hg_rpc_cb_t rpc_cb, uint16_t provider_id, ABT_pool pool);

/* The same for provider 0. */
static inline hg_id_t margo_register_name(margo_instance_id mid, const char *func_name, hg_proc_cb_t in_proc_cb,
                                          hg_proc_cb_t out_proc_cb, hg_rpc_cb_t rpc_cb)
{
    return margo_provider_register_name(mid, func_name, in_proc_cb, out_proc_cb, rpc_cb, 0, ABT_POOL_NULL);
}

hg_return_t margo_deregister(margo_instance_id mid, hg_id_t id);

/* Whether an RPC is registered; `*id` is set in any case. The first form asks for the default provider. */
hg_return_t margo_registered_name(margo_instance_id mid, const char *func_name, hg_id_t *id, hg_bool_t *flag);
hg_return_t margo_provider_registered_name(margo_instance_id mid, const char *func_name, uint16_t provider_id,
                                           hg_id_t *id, hg_bool_t *flag);

/* A pointer that goes with an RPC, typically the provider; freed by `free_callback` (may be NULL) when replaced, and at
 * deregistration or finalisation. HG_OTHER_ERROR for an unknown id; NULL if there are no data. */
hg_return_t margo_register_data(margo_instance_id mid, hg_id_t id, void *data, void (*free_callback)(void *));
void *margo_registered_data(margo_instance_id mid, hg_id_t id);

/* One-way RPCs: the call completes when it was sent and nobody may respond. To be set on both sides. */
hg_return_t margo_registered_disable_response(margo_instance_id mid, hg_id_t id, int disable_flag);
hg_return_t margo_registered_disabled_response(margo_instance_id mid, hg_id_t id, int *disabled_flag);

/* The pool in which an RPC's handlers run; HG_NOENTRY for an unknown id. Setting ABT_POOL_NULL: the default one. */
hg_return_t margo_rpc_get_pool(margo_instance_id mid, hg_id_t id, ABT_pool *pool);
hg_return_t margo_rpc_set_pool(margo_instance_id mid, hg_id_t id, ABT_pool pool);
/* Names are valid as long as the RPC is registered; NULL if unknown. */
const char *margo_rpc_get_name(margo_instance_id mid, hg_id_t id);
const char *margo_handle_get_name(hg_handle_t handle);

/* A text by which clients check what kind of service a provider is. Local: NULL if there is none. Remote: *bufsize is
 * the size of `buf` and then the length with the final NUL; HG_NOENTRY (no such provider), HG_NOMEM (too small),
 * HG_TIMEOUT (no answer for 30 s). */
hg_return_t margo_provider_register_identity(margo_instance_id mid, uint16_t provider_id, const char *identity);
hg_return_t margo_provider_deregister_identity(margo_instance_id mid, uint16_t provider_id);
const char *margo_provider_registered_identity(margo_instance_id mid, uint16_t provider_id);
hg_return_t margo_provider_get_identity(margo_instance_id mid, hg_addr_t address, uint16_t provider_id, char *buffer,
                                        size_t *bufsize);

/* ---- addresses ---- */

/* Look-ups are local and do not block: a well-formed address is accepted, and connected to at first use. */
hg_return_t margo_addr_lookup(margo_instance_id mid, const char *name, hg_addr_t *addr);
hg_return_t margo_addr_free(margo_instance_id mid, hg_addr_t addr);
hg_return_t margo_addr_self(margo_instance_id mid, hg_addr_t *addr);
hg_return_t margo_addr_dup(margo_instance_id mid, hg_addr_t addr, hg_addr_t *new_addr);
hg_bool_t margo_addr_cmp(margo_instance_id mid, hg_addr_t addr1, hg_addr_t addr2);
/* Hint that the peer is gone. */
hg_return_t margo_addr_set_remove(margo_instance_id mid, hg_addr_t addr);
/* `buf` NULL: only the needed size, with the final NUL. */
hg_return_t margo_addr_to_string(margo_instance_id mid, char *buf, hg_size_t *buf_size, hg_addr_t addr);

/* ---- handles ---- */

hg_return_t margo_create(margo_instance_id mid, hg_addr_t addr, hg_id_t id, hg_handle_t *handle);
hg_return_t margo_destroy(hg_handle_t handle);
hg_return_t margo_ref_incr(hg_handle_t handle);
const struct hg_info *margo_get_info(hg_handle_t handle);
margo_instance_id margo_hg_handle_get_instance(hg_handle_t handle);
margo_instance_id margo_hg_info_get_instance(const struct hg_info *info);
ABT_pool margo_hg_handle_get_handler_pool(hg_handle_t handle);

/* Decode into `*in_struct`/`*out_struct`, which must be freed by the matching function. May be repeated. They do not
 * block. margo_get_output gives the code of a failed call; there is then nothing to free. */
hg_return_t margo_get_input(hg_handle_t handle, void *in_struct);
hg_return_t margo_free_input(hg_handle_t handle, void *in_struct);
hg_return_t margo_get_output(hg_handle_t handle, void *out_struct);
hg_return_t margo_free_output(hg_handle_t handle, void *out_struct);

/* ---- calls ---- */

/* Serialises `in_struct`, sends, and blocks until the response is there. HG_TIMEOUT; HG_NOENTRY: the target has no such
 * RPC or provider; HG_PERMISSION: it is finalising; transport errors: unreachable or gone. The handle may be used
 * again or destroyed afterwards whatever the result. */
hg_return_t margo_provider_forward_timed(uint16_t provider_id, hg_handle_t handle, void *in_struct, double timeout_ms);

/* Does not block. On HG_SUCCESS the request must be waited for, once. */
hg_return_t margo_provider_iforward_timed(uint16_t provider_id, hg_handle_t handle, void *in_struct, double timeout_ms,
                                          margo_request *req);

/* Does not block; on HG_SUCCESS `on_complete` runs once, in the progress loop: it must not block. */
hg_return_t margo_provider_cforward_timed(uint16_t provider_id, hg_handle_t handle, void *in_struct, double timeout_ms,
                                          void (*on_complete)(void *uargs, hg_return_t ret), void *uargs);

/* Answers, once per handle. Blocks until the response is in the hands of the network. */
hg_return_t margo_respond(hg_handle_t handle, void *out_struct);
hg_return_t margo_irespond(hg_handle_t handle, void *out_struct, margo_request *req);

/* Blocks until the request is complete, frees it, and returns its result. */
hg_return_t margo_wait(margo_request req);
/* Sets *flag to whether it is complete; frees nothing. */
int margo_test(margo_request req, int *flag);
/* Blocks until one of `count` requests (NULL ones are skipped) is complete, frees that one and returns its result; its
 * position is in *index: `count` if all were NULL. */
hg_return_t margo_wait_any(size_t count, margo_request *req, size_t *index);
hg_handle_t margo_request_get_handle(margo_request req);
margo_request_type margo_request_get_type(margo_request req);
margo_instance_id margo_request_get_instance(margo_request req);

/* ---- bulk transfer ---- */

/* Describes local memory for others to read or write; `buf_ptrs` NULL: memory is allocated. See mercury_bulk.h. */
hg_return_t margo_bulk_create(margo_instance_id mid, hg_uint32_t count, void **buf_ptrs, const hg_size_t *buf_sizes,
                              hg_uint8_t flags, hg_bulk_t *handle);
hg_return_t margo_bulk_create_attr(margo_instance_id mid, hg_uint32_t count, void **buf_ptrs,
                                   const hg_size_t *buf_sizes, hg_uint8_t flags, const struct hg_bulk_attr *attrs,
                                   hg_bulk_t *handle);
hg_return_t margo_bulk_free(hg_bulk_t handle);
hg_return_t margo_bulk_deserialize(margo_instance_id mid, hg_bulk_t *handle, const void *buf, hg_size_t buf_size);

/* HG_BULK_PULL: from `origin_handle` at `origin_addr` into `local_handle`; HG_BULK_PUSH: the other way. Blocks. */
hg_return_t margo_bulk_transfer_timed(margo_instance_id mid, hg_bulk_op_t op, hg_addr_t origin_addr,
                                      hg_bulk_t origin_handle, size_t origin_offset, hg_bulk_t local_handle,
                                      size_t local_offset, size_t size, double timeout_ms);
hg_return_t margo_bulk_itransfer_timed(margo_instance_id mid, hg_bulk_op_t op, hg_addr_t origin_addr,
                                       hg_bulk_t origin_handle, size_t origin_offset, hg_bulk_t local_handle,
                                       size_t local_offset, size_t size, double timeout_ms, margo_request *req);

static inline hg_return_t margo_bulk_ref_incr(hg_bulk_t handle)
{
    return HG_Bulk_ref_incr(handle);
}

static inline hg_return_t margo_bulk_access(hg_bulk_t handle, hg_size_t offset, hg_size_t size, hg_uint8_t flags,
                                            hg_uint32_t max_count, void **buf_ptrs, hg_size_t *buf_sizes,
                                            hg_uint32_t *actual_count)
{
    return HG_Bulk_access(handle, offset, size, flags, max_count, buf_ptrs, buf_sizes, actual_count);
}

static inline hg_size_t margo_bulk_get_size(hg_bulk_t handle)
{
    return HG_Bulk_get_size(handle);
}

static inline hg_uint32_t margo_bulk_get_segment_count(hg_bulk_t handle)
{
    return HG_Bulk_get_segment_count(handle);
}

static inline hg_size_t margo_bulk_get_serialize_size(hg_bulk_t handle, hg_bool_t request_eager)
{
    return HG_Bulk_get_serialize_size(handle, request_eager ? HG_BULK_EAGER : 0);
}

static inline hg_return_t margo_bulk_serialize(void *buf, hg_size_t buf_size, hg_bool_t request_eager, hg_bulk_t handle)
{
    return HG_Bulk_serialize(buf, buf_size, request_eager ? HG_BULK_EAGER : 0, handle);
}

/* ---- shorter forms ---- */

static inline hg_return_t margo_provider_forward(uint16_t provider_id, hg_handle_t handle, void *in_struct)
{
    return margo_provider_forward_timed(provider_id, handle, in_struct, 0);
}

static inline hg_return_t margo_forward(hg_handle_t handle, void *in_struct)
{
    return margo_provider_forward_timed(MARGO_DEFAULT_PROVIDER_ID, handle, in_struct, 0);
}

static inline hg_return_t margo_forward_timed(hg_handle_t handle, void *in_struct, double timeout_ms)
{
    return margo_provider_forward_timed(MARGO_DEFAULT_PROVIDER_ID, handle, in_struct, timeout_ms);
}

static inline hg_return_t margo_provider_iforward(uint16_t provider_id, hg_handle_t handle, void *in_struct,
                                                  margo_request *req)
{
    return margo_provider_iforward_timed(provider_id, handle, in_struct, 0, req);
}

static inline hg_return_t margo_iforward(hg_handle_t handle, void *in_struct, margo_request *req)
{
    return margo_provider_iforward_timed(MARGO_DEFAULT_PROVIDER_ID, handle, in_struct, 0, req);
}

static inline hg_return_t margo_iforward_timed(hg_handle_t handle, void *in_struct, double timeout_ms,
                                               margo_request *req)
{
    return margo_provider_iforward_timed(MARGO_DEFAULT_PROVIDER_ID, handle, in_struct, timeout_ms, req);
}

static inline hg_return_t margo_provider_cforward(uint16_t provider_id, hg_handle_t handle, void *in_struct,
                                                  void (*on_complete)(void *, hg_return_t), void *uargs)
{
    return margo_provider_cforward_timed(provider_id, handle, in_struct, 0, on_complete, uargs);
}

static inline hg_return_t margo_bulk_transfer(margo_instance_id mid, hg_bulk_op_t op, hg_addr_t origin_addr,
                                              hg_bulk_t origin_handle, size_t origin_offset, hg_bulk_t local_handle,
                                              size_t local_offset, size_t size)
{
    return margo_bulk_transfer_timed(mid, op, origin_addr, origin_handle, origin_offset, local_handle, local_offset,
                                     size, 0);
}

static inline hg_return_t margo_bulk_itransfer(margo_instance_id mid, hg_bulk_op_t op, hg_addr_t origin_addr,
                                               hg_bulk_t origin_handle, size_t origin_offset, hg_bulk_t local_handle,
                                               size_t local_offset, size_t size, margo_request *req)
{
    return margo_bulk_itransfer_timed(mid, op, origin_addr, origin_handle, origin_offset, local_handle, local_offset,
                                      size, 0, req);
}

/* ---- the instance ---- */

/* Suspends the caller for at least `timeout_ms`. */
void margo_thread_sleep(margo_instance_id mid, double timeout_ms);

hg_class_t *margo_get_class(margo_instance_id mid);
hg_context_t *margo_get_context(margo_instance_id mid);

/* 0, or -1 for MARGO_INSTANCE_NULL. */
int margo_get_handler_pool(margo_instance_id mid, ABT_pool *pool);
int margo_get_progress_pool(margo_instance_id mid, ABT_pool *pool);

/* Appends a readable description of the instance to `file_name`, "-" for standard output; a relative name is below
 * argobots.profiling_dir. `uniquify` adds host and process to the name; ".state.txt" is appended. `resolved_file_name`
 * (may be NULL) is to be freed by the caller. 0, or -1. */
int margo_state_dump(margo_instance_id mid, const char *file_name, int uniquify, char **resolved_file_name);

/* ---- handlers ---- */

/* Library side of the macros below; not for direct use. */
hg_return_t __margo_internal_dispatch(hg_handle_t handle, void (*wrapper)(hg_handle_t));
margo_instance_id __margo_internal_handler_begin(hg_handle_t handle);
void __margo_internal_handler_end(margo_instance_id mid);
hg_return_t __margo_respond_with_error(hg_handle_t handle, hg_return_t error);

/* What an RPC without a handler does: it answers HG_NOENTRY. */
hg_return_t _handler_for_NULL(hg_handle_t handle);

/* The body of the ULT that runs `void f(hg_handle_t)`. */
#define __MARGO_INTERNAL_RPC_WRAPPER(f)                                                                                \
    void _wrapper_for_##f(hg_handle_t handle)                                                                          \
    {                                                                                                                  \
        margo_instance_id __mid = __margo_internal_handler_begin(handle);                                              \
        if (__mid != MARGO_INSTANCE_NULL) {                                                                            \
            f(handle);                                                                                                 \
            __margo_internal_handler_end(__mid);                                                                       \
        }                                                                                                              \
    }

/* What the progress loop calls when a request arrives: creates that ULT. */
#define __MARGO_INTERNAL_RPC_HANDLER(f)                                                                                \
    hg_return_t _handler_for_##f(hg_handle_t handle)                                                                   \
    {                                                                                                                  \
        return __margo_internal_dispatch(handle, _wrapper_for_##f);                                                    \
    }

/* `f` is `void f(hg_handle_t)`, declared before. "static" in front makes the first of the two functions local. */
#define DEFINE_MARGO_RPC_HANDLER(f)                                                                                    \
    void _wrapper_for_##f(hg_handle_t handle);                                                                         \
    hg_return_t _handler_for_##f(hg_handle_t handle);                                                                  \
    __MARGO_INTERNAL_RPC_WRAPPER(f) __MARGO_INTERNAL_RPC_HANDLER(f)

#define DECLARE_MARGO_RPC_HANDLER(f) hg_return_t _handler_for_##f(hg_handle_t handle);

/* Both are expressions of type hg_id_t; `in_t` and `out_t` are types with a hg_proc_<type>, or void. */
#define MARGO_REGISTER(mid, func_name, in_t, out_t, handler)                                                           \
    margo_provider_register_name(mid, func_name, BOOST_PP_CAT(hg_proc_, in_t), BOOST_PP_CAT(hg_proc_, out_t),          \
                                 _handler_for_##handler, MARGO_DEFAULT_PROVIDER_ID, ABT_POOL_NULL);

#define MARGO_REGISTER_PROVIDER(mid, func_name, in_t, out_t, handler, provider_id, pool)                               \
    margo_provider_register_name(mid, func_name, BOOST_PP_CAT(hg_proc_, in_t), BOOST_PP_CAT(hg_proc_, out_t),          \
                                 _handler_for_##handler, provider_id, pool);

#ifdef __cplusplus
}
#endif

#endif
