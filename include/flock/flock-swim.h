/*
 * Backend "swim": what is beyond the common interface.
 */
#ifndef FLOCK_SWIM_H
#define FLOCK_SWIM_H

#include <flock/flock-server.h>

#ifdef __cplusplus
extern "C" {
#endif

/* For tests of failures: with `crash`, destroying the provider says good-bye to nobody. INVALID_ARGS without a provider,
 * INVALID_BACKEND for one of another backend. */
flock_return_t flock_swim_set_crash_mode(flock_provider_t provider, bool crash);

#ifdef __cplusplus
}
#endif

#endif
