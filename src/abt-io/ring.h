/*
 * The io_uring engine: see ring.c. Thread-safe except for create and destroy.
 */
#ifndef DANGO_ABT_IO_RING_H
#define DANGO_ABT_IO_RING_H

#include "abt-io/abtio.h"

/* Adds the flag of this name ("IOSQE_ASYNC", …); false if there is none. */
bool abtio_ring_flag(const char *name, struct abtio_ring_flags *flags);

struct abtio_rings;

/* Returns when every ring is ready; NULL when one cannot be created (no io_uring here, limits, unsuitable flags). */
struct abtio_rings *abtio_rings_create(unsigned count, const struct abtio_ring_flags *flags, struct dango_error *err);

/* Nothing may be in flight. NULL is allowed. */
void abtio_rings_destroy(struct abtio_rings *rings);

/* Whether a ring can execute this call. */
bool abtio_rings_accept(const struct abtio_call *call);

/* Gives an accepted operation to one of the rings, which completes it. Does not fail. */
void abtio_rings_submit(struct abtio_rings *rings, struct abt_io_op *op);

#endif
