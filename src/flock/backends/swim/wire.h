/*
 * SWIM messages on the wire.
 */
#ifndef FLOCK_BACKENDS_SWIM_WIRE_H
#define FLOCK_BACKENDS_SWIM_WIRE_H

#include "flock/backends/swim/swim.h"

#define FLK_RPC_SWIM "flock_swim"

/* Nearly every message is its own; some are answered at once. */
typedef struct flk_swim_answer {
    uint8_t has_reply;
    flk_swim_message_t reply;
} flk_swim_answer_t;

hg_return_t hg_proc_flk_swim_message_t(hg_proc_t proc, void *data);
hg_return_t hg_proc_flk_swim_answer_t(hg_proc_t proc, void *data);

#endif
