/* mercury.h - remote procedure calls: classes, contexts, addresses, handles.
 *
 * A *class* is an endpoint: one transport, one address, a table of registered RPCs. A *context* of
 * the class owns connections and a queue of completions; HG_Progress() moves network events into
 * that queue and HG_Trigger() runs the queued callbacks in the calling thread. Callbacks never run
 * anywhere else.
 *
 * A *handle* is one call. The origin creates it, forwards it and, once the callback has run,
 * decodes the output; the target receives it as the argument of the RPC's callback, decodes the
 * input, responds and destroys it. Handles, addresses and bulk descriptions are reference counted.
 *
 * Threads: every function may be called by any thread at any time, except that one handle is used
 * by one thread at a time (HG_Cancel() and the reference functions excepted). Nothing but
 * HG_Progress() and HG_Trigger() with a timeout blocks.
 *
 * Errors: functions return HG_SUCCESS or a code of `hg_return_t`; a NULL argument that is not
 * allowed gives HG_INVALID_ARG. A peer that dies fails every call that waits for it at once.
 */
#ifndef MERCURY_H
#define MERCURY_H

#include "mercury_types.h"

#include <stdio.h>

HG_EXTERN_C_BEGIN

/* ---- errors, versions, logging ---- */

/* Name of a code, e.g. "HG_TIMEOUT"; never NULL. */
HG_PUBLIC const char *HG_Error_to_string(hg_return_t errnum);

HG_PUBLIC hg_return_t HG_Version_get(unsigned int *major, unsigned int *minor, unsigned int *patch);

/* Level of this library's messages: "none", "error", "warning", "info" or "debug". Process wide. */
HG_PUBLIC void HG_Set_log_level(const char *level);

/* Accepted for compatibility; messages carry the component's name instead. */
HG_PUBLIC void HG_Set_log_subsys(const char *subsys);

/* ---- class ---- */

/* Create a class for a protocol string such as "na+sm", "sm://" or "na+sm://name".
 * `listen` non-zero: other endpoints may connect. NULL on failure, with the reason logged. */
HG_PUBLIC hg_class_t *HG_Init(const char *na_info_string, uint8_t na_listen);
HG_PUBLIC hg_class_t *HG_Init_opt(const char *na_info_string, uint8_t na_listen,
                                  const struct hg_init_info *hg_init_info);
HG_PUBLIC hg_class_t *HG_Init_opt2(const char *na_info_string, uint8_t na_listen, unsigned int version,
                                   const struct hg_init_info *hg_init_info);

/* Destroy a class. HG_BUSY (and nothing happens) while contexts or addresses are in use. */
HG_PUBLIC hg_return_t HG_Finalize(hg_class_t *hg_class);

HG_PUBLIC const char *HG_Class_get_name(const hg_class_t *hg_class);     /* "na" */
HG_PUBLIC const char *HG_Class_get_protocol(const hg_class_t *hg_class); /* "sm" */
HG_PUBLIC uint8_t HG_Class_is_listening(const hg_class_t *hg_class);

/* Largest serialised input/output, in bytes, that travels inside the message itself. */
HG_PUBLIC hg_size_t HG_Class_get_input_eager_size(const hg_class_t *hg_class);
HG_PUBLIC hg_size_t HG_Class_get_output_eager_size(const hg_class_t *hg_class);

/* One pointer for the user of the class; `free_callback` (may be NULL) runs at HG_Finalize(). */
HG_PUBLIC hg_return_t HG_Class_set_data(hg_class_t *hg_class, void *data, void (*free_callback)(void *));
HG_PUBLIC void *HG_Class_get_data(const hg_class_t *hg_class);

/* ---- context ---- */

/* Context 0, or context `id` (below the class' max_contexts). NULL on failure. */
HG_PUBLIC hg_context_t *HG_Context_create(hg_class_t *hg_class);
HG_PUBLIC hg_context_t *HG_Context_create_id(hg_class_t *hg_class, uint8_t id);

/* Cancel what is outstanding (callbacks run, with HG_CANCELED), close the connections, free.
 * Memory of handles that the user still holds stays valid until they are destroyed. */
HG_PUBLIC hg_return_t HG_Context_destroy(hg_context_t *context);

HG_PUBLIC hg_class_t *HG_Context_get_class(const hg_context_t *context);
HG_PUBLIC uint8_t HG_Context_get_id(const hg_context_t *context);
HG_PUBLIC hg_return_t HG_Context_set_data(hg_context_t *context, void *data, void (*free_callback)(void *));
HG_PUBLIC void *HG_Context_get_data(const hg_context_t *context);

/* Move network events to the completion queue. Blocks up to `timeout` ms (0: poll) unless there is
 * or comes a completion, also one made by another thread. HG_TIMEOUT if the queue is empty. */
HG_PUBLIC hg_return_t HG_Progress(hg_context_t *context, unsigned int timeout);

/* Run at most `max_count` queued callbacks here. HG_TIMEOUT if none came within `timeout` ms. */
HG_PUBLIC hg_return_t HG_Trigger(hg_context_t *context, unsigned int timeout, unsigned int max_count,
                                 unsigned int *actual_count);

/* ---- registration ---- */

/* Register an RPC under the hash of its name; 0 on failure. Registering an id again replaces its
 * callbacks and keeps its data. NULL serialisers: no input/output. NULL callback: origin only. */
HG_PUBLIC hg_id_t HG_Register_name(hg_class_t *hg_class, const char *func_name, hg_proc_cb_t in_proc_cb,
                                   hg_proc_cb_t out_proc_cb, hg_rpc_cb_t rpc_cb);
HG_PUBLIC hg_return_t HG_Register(hg_class_t *hg_class, hg_id_t id, hg_proc_cb_t in_proc_cb, hg_proc_cb_t out_proc_cb,
                                  hg_rpc_cb_t rpc_cb);
HG_PUBLIC hg_return_t HG_Deregister(hg_class_t *hg_class, hg_id_t id);
HG_PUBLIC hg_return_t HG_Registered(hg_class_t *hg_class, hg_id_t id, uint8_t *flag);
HG_PUBLIC hg_return_t HG_Registered_name(hg_class_t *hg_class, const char *func_name, hg_id_t *id, uint8_t *flag);

/* A pointer that goes with an RPC; freed by `free_callback` (may be NULL) when it is replaced, and
 * at deregistration or HG_Finalize(). */
HG_PUBLIC hg_return_t HG_Register_data(hg_class_t *hg_class, hg_id_t id, void *data, void (*free_callback)(void *));
HG_PUBLIC void *HG_Registered_data(hg_class_t *hg_class, hg_id_t id);

/* One-way RPCs: the forward completes when the request was sent, HG_Respond() is refused. To be
 * set on both sides. */
HG_PUBLIC hg_return_t HG_Registered_disable_response(hg_class_t *hg_class, hg_id_t id, uint8_t disable);
HG_PUBLIC hg_return_t HG_Registered_disabled_response(hg_class_t *hg_class, hg_id_t id, uint8_t *disabled);

/* ---- addresses ---- */

/* Look-ups are local: a well-formed address of this class' transport is accepted, and connected to
 * at first use. Others: HG_INVALID_ARG or HG_PROTONOSUPPORT. lookup1 delivers at HG_Trigger(). */
HG_PUBLIC hg_return_t HG_Addr_lookup1(hg_context_t *context, hg_cb_t callback, void *arg, const char *name,
                                      hg_op_id_t *op_id);
HG_PUBLIC hg_return_t HG_Addr_lookup2(hg_class_t *hg_class, const char *name, hg_addr_t *addr);
#ifndef HG_Addr_lookup
#define HG_Addr_lookup HG_Addr_lookup1
#endif

HG_PUBLIC hg_return_t HG_Addr_self(hg_class_t *hg_class, hg_addr_t *addr);
HG_PUBLIC hg_return_t HG_Addr_dup(hg_class_t *hg_class, hg_addr_t addr, hg_addr_t *new_addr);
HG_PUBLIC hg_return_t HG_Addr_free(hg_class_t *hg_class, hg_addr_t addr); /* NULL is allowed */

/* Non-zero if both name the same endpoint. */
HG_PUBLIC uint8_t HG_Addr_cmp(hg_class_t *hg_class, hg_addr_t addr1, hg_addr_t addr2);

/* Hint that this peer is gone: connections to it are dropped, the next use makes a new one. */
HG_PUBLIC hg_return_t HG_Addr_set_remove(hg_class_t *hg_class, hg_addr_t addr);

/* The text another process looks up. `buf` NULL: only set `*buf_size` (with the final NUL).
 * HG_OVERFLOW and the needed `*buf_size` if the buffer is too small. */
HG_PUBLIC hg_return_t HG_Addr_to_string(hg_class_t *hg_class, char *buf, hg_size_t *buf_size, hg_addr_t addr);

/* ---- handles ---- */

/* New handle with one reference. `addr` NULL or `id` 0 are allowed if HG_Reset() follows.
 * HG_NOENTRY for an unknown id. */
HG_PUBLIC hg_return_t HG_Create(hg_context_t *context, hg_addr_t addr, hg_id_t id, hg_handle_t *handle);

/* Drop a reference; at the last one the user data is freed and the handle recycled. NULL is allowed. */
HG_PUBLIC hg_return_t HG_Destroy(hg_handle_t handle);

/* Prepare a handle for another call; keeps the user data. HG_BUSY while it is in flight. */
HG_PUBLIC hg_return_t HG_Reset(hg_handle_t handle, hg_addr_t addr, hg_id_t id);

HG_PUBLIC hg_return_t HG_Ref_incr(hg_handle_t handle);
HG_PUBLIC int32_t HG_Ref_get(hg_handle_t handle);
HG_PUBLIC const struct hg_info *HG_Get_info(hg_handle_t handle);
HG_PUBLIC hg_return_t HG_Set_data(hg_handle_t handle, void *data, void (*free_callback)(void *));
HG_PUBLIC void *HG_Get_data(hg_handle_t handle);

/* Choose the context of the target that receives the call; default 0. */
HG_PUBLIC hg_return_t HG_Set_target_id(hg_handle_t handle, uint8_t id);

/* ---- calls ---- */

/* Serialise `in_struct` and send. The input may be reused at once. On success the callback runs
 * exactly once, with HG_SUCCESS, HG_CANCELED, what the target's runtime answered (HG_NOENTRY: no
 * such RPC), or a transport error. HG_BUSY if the handle is in flight already. */
HG_PUBLIC hg_return_t HG_Forward(hg_handle_t handle, hg_cb_t callback, void *arg, void *in_struct);

/* Serialise `out_struct` and answer, from any thread, once. The callback (may be NULL) tells that
 * the response was handed to the transport. HG_OPNOTSUPPORTED for one-way RPCs. */
HG_PUBLIC hg_return_t HG_Respond(hg_handle_t handle, hg_cb_t callback, void *arg, void *out_struct);

/* Complete a pending forward with HG_CANCELED, unless it completes first. */
HG_PUBLIC hg_return_t HG_Cancel(hg_handle_t handle);

/* Decode into a structure. Holds a reference until the matching HG_Free_*(). May be repeated. */
HG_PUBLIC hg_return_t HG_Get_input(hg_handle_t handle, void *in_struct);
HG_PUBLIC hg_return_t HG_Free_input(hg_handle_t handle, void *in_struct);
HG_PUBLIC hg_return_t HG_Get_output(hg_handle_t handle, void *out_struct);
HG_PUBLIC hg_return_t HG_Free_output(hg_handle_t handle, void *out_struct);

/* Size in bytes of the serialised input/output held by the handle. */
HG_PUBLIC hg_size_t HG_Get_input_payload_size(hg_handle_t handle);
HG_PUBLIC hg_size_t HG_Get_output_payload_size(hg_handle_t handle);

HG_EXTERN_C_END

#endif /* MERCURY_H */
