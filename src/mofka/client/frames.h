/*
 * From frames to runs: what a server put into the buffer of a fetch, checked and described for the core.
 *
 * Pure function on memory.
 */
#ifndef DANGO_MOFKA_CLIENT_FRAMES_H
#define DANGO_MOFKA_CLIENT_FRAMES_H

#include "diaspora/driver.h"

/*
 * `size` bytes of frames stand at the beginning of the fetch's buffer. Fills in fetch->runs: damaged ones are of frames that
 * came whole and whose content does not match its checksum, which the server has not looked at. *next_id is the id that
 * the first event must have, and afterwards the one behind the last. Errors: DANGO_ERR_PROTOCOL, DANGO_ERR_CORRUPT.
 */
int dango_mofka_frames_to_runs(struct diaspora_fetch *fetch, size_t size, bool with_data, const uint8_t uuid[16],
                               uint64_t *next_id, struct dango_error *err);

#endif
