/* dango_hg.h - what the RPC core offers to the layers above beyond mercury.h.
 *
 * One way to sleep. A layer that runs its own event loop (Margo) blocks in one epoll that covers the
 * transport together with its own wake-ups. The protocol, for one thread at a time per context:
 *
 *     if (dango_hg_try_wait(context)) {      // declared asleep, and really nothing to do
 *         epoll_wait(... dango_hg_get_wait_fd(context) ..., timeout);
 *         dango_hg_wait_done(context);       // always, also when the loop woke for another reason
 *     }
 *     HG_Progress(context, 0); HG_Trigger(...);
 *
 * While the declaration stands, peers and local completers (HG_Cancel, self calls, responses)
 * write to an event descriptor; otherwise nobody makes a system call to notify anybody.
 * HG_Progress() with a timeout does the same inside.
 *
 * Synchronous short cuts. HG_Respond() with a NULL callback does not touch the completion queue at
 * all: when it returns HG_SUCCESS, the response is in the hands of the transport.
 * dango_hg_bulk_transfer_now() finishes transfers that need no waiting in the calling thread.
 *
 * Timers are not here: a deadline is HG_Cancel() called from the timer; exactly one of response,
 * cancel and error wins, and a late response finds no handle.
 */
#ifndef DANGO_HG_H
#define DANGO_HG_H

#include "mercury.h"
#include "mercury_bulk.h"

#include <stdbool.h>

struct dango_error;

/* ---- start ---- */

/* HG_Init_opt2() with an explanation. `info` may be NULL. On failure: NULL, and `err` (may be NULL)
 * says what is wrong and, for an unknown protocol, which ones are built in. */
hg_class_t *dango_hg_init(const char *protocol, bool listen, const struct hg_init_info *info, struct dango_error *err);

/* The protocol string of a client that is to reach `address`: its protocol, and over libfabric, whose endpoints belong
 * to one family of IP addresses, one of that family ("ofi+tcp://[::]"). To be released with free(); NULL without
 * memory. */
char *dango_hg_client_protocol(const char *address);

/* Canonical protocol string of a class ("na+sm"); valid as long as the class. */
const char *dango_hg_class_protocol(const hg_class_t *hg_class);

/* Why HG_Addr_lookup2() returned `ret` for that address, for people: the protocol of the address is not the class's,
 * the text is malformed, or the host is unknown. Returns the code of the error. */
int dango_hg_explain_address(const hg_class_t *hg_class, const char *address, hg_return_t ret, struct dango_error *err);

/* Largest serialised input or output, in bytes, that the class accepts from a peer (default 256 MiB):
 * larger ones fail at the sender with HG_MSGSIZE and are refused by the receiver. */
void dango_hg_set_max_message_size(hg_class_t *hg_class, size_t size_bytes);

/* ---- sleeping ---- */

/* An epoll descriptor that is readable when HG_Progress() has something to do. Owned by the context;
 * only for poll/epoll, never read it. */
int dango_hg_get_wait_fd(hg_context_t *context);

/* Declare the context asleep, then look again. True: nothing to do, the caller may block on the
 * descriptor and must call dango_hg_wait_done() afterwards. False: there is work, and nothing is
 * declared. Never blocks. */
bool dango_hg_try_wait(hg_context_t *context);
void dango_hg_wait_done(hg_context_t *context);

/* Make a thread that blocks after dango_hg_try_wait() (or inside HG_Progress()) return. Any thread;
 * costs one load when nobody sleeps. */
void dango_hg_wake(hg_context_t *context);

/* Does HG_Trigger() have something to run? Cheap; any thread. */
bool dango_hg_has_completions(hg_context_t *context);

/* ---- collecting ---- */

/* Between the two, small messages that the calling thread sends may wait for each other, and leave by one system call;
 * at the latest when the context is progressed again. NULL: nothing is collected. The result goes to dango_hg_uncork,
 * on whichever thread that runs. */
const void *dango_hg_cork(hg_context_t *context);
void dango_hg_uncork(hg_context_t *context, const void *corked);

/* ---- peers ---- */

/* Called from HG_Progress() or dango_hg_try_wait() when a connection ended, whoever ended it: the peer died, closed, or
 * sent garbage. Pending calls to it have been completed (their callbacks are queued). `addr` is
 * borrowed for the time of the call. The callback must not block and must not call HG_Progress(),
 * HG_Trigger() or HG_Context_destroy(). Any number may be registered: 0, or HG_NOMEM. Removed with
 * the same pair; a call that is under way goes on. */
typedef void (*dango_hg_peer_gone_cb_t)(void *arg, hg_context_t *context, hg_addr_t addr);
hg_return_t dango_hg_set_peer_gone_cb(hg_class_t *hg_class, dango_hg_peer_gone_cb_t cb, void *arg);
void dango_hg_unset_peer_gone_cb(hg_class_t *hg_class, dango_hg_peer_gone_cb_t cb, void *arg);

/* ---- handles ---- */

/* Space inside the handle for the layer above, DANGO_HG_SCRATCH_SIZE bytes aligned to 16. Zeroed
 * when a handle is created or received; kept by HG_Reset(). Saves an allocation per call. */
#define DANGO_HG_SCRATCH_SIZE 64
void *dango_hg_handle_scratch(hg_handle_t handle);

/* HG_Registered_data() of the handle's RPC, without a look-up. Valid while the RPC stays registered. */
void *dango_hg_handle_rpc_data(hg_handle_t handle);

/* Answer with an error of the runtime instead of an output: the origin's callback gets `ret`
 * (HG_NOENTRY, HG_PERMISSION, ...). Nothing happens for one-way RPCs. */
hg_return_t dango_hg_respond_error(hg_handle_t handle, hg_return_t ret);

/* ---- bulk ---- */

/* Like HG_Bulk_transfer(), in the calling thread: HG_SUCCESS or an error when it is finished,
 * HG_AGAIN if this transfer needs the network (use HG_Bulk_transfer() then). Copies at most what is
 * asked for in one go: split large transfers if other work shares the thread. */
hg_return_t dango_hg_bulk_transfer_now(hg_context_t *context, hg_bulk_op_t op, hg_addr_t origin_addr, hg_bulk_t origin,
                                       hg_size_t origin_offset, hg_bulk_t local, hg_size_t local_offset,
                                       hg_size_t size);

#endif /* DANGO_HG_H */
