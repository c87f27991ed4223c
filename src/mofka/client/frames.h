/*
 * From frames to runs: what a server put into the buffer of a fetch, checked and described for the core.
 *
 * Pure function on memory.
 */
#ifndef DANGO_MOFKA_CLIENT_FRAMES_H
#define DANGO_MOFKA_CLIENT_FRAMES_H

#include "diaspora/driver.h"

/* The frame that came damaged last. What is wrong with it when it has been fetched once more is final. */
struct mofka_doubt {
    bool is_set;
    uint64_t id; /* of its first event */
};

/*
 * `size` bytes of frames stand at the beginning of the fetch's buffer. Fills in fetch->runs. *next_id is the id that the
 * first event must have, and afterwards the one behind the last. Errors: DANGO_ERR_PROTOCOL, DANGO_ERR_CORRUPT.
 *
 * A frame that does not match its checksums may have been damaged on its way, or be damaged where it is stored, for the
 * server does not look at the content of frames that it sends whole. The first time it is in doubt: 1 is returned, an
 * error is set, and the runs end before it. When it comes damaged again, it becomes a run that says so; a header that
 * does is an error.
 */
int dango_mofka_frames_to_runs(struct diaspora_fetch *fetch, size_t size, bool with_data, const uint8_t uuid[16],
                               uint64_t *next_id, struct mofka_doubt *doubt, struct dango_error *err);

#endif
