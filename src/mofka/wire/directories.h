/*
 * The question of `topic import` to a server as a whole, under the id of its management provider: which partitions of a
 * topic lie in a directory of yours? And what `topic delete` asks when the partition is not served: remove that of this
 * UUID.
 *
 *     RPC mofka_directories   topic, path, uuid or ""   →   code, text
 *
 * `code` is 0 or one of dango/error.h, `text` then the error. Otherwise a JSON array, one object per partition that is
 * there, or an empty one when something was to be removed:
 *
 *     {"uuid", "events": whether there are any, "origin": as in its partition.json, "problem": why it cannot be taken up}
 *
 * The last two may be absent.
 */
#ifndef DANGO_MOFKA_WIRE_DIRECTORIES_H
#define DANGO_MOFKA_WIRE_DIRECTORIES_H

#include <mercury_macros.h>
#include <mercury_proc_string.h>

#define MOFKA_RPC_DIRECTORIES "mofka_directories"

MERCURY_GEN_PROC(mofka_directories_in_t,
                 ((hg_const_string_t)(topic))((hg_const_string_t)(path))((hg_const_string_t)(removed)))
MERCURY_GEN_PROC(mofka_directories_out_t, ((int32_t)(code))((hg_const_string_t)(text)))

#endif
