/*
 * Configurations of schedulers and pools: small sets of typed values.
 */
#ifndef DANGO_ARGOBOTS_SCHED_CONFIG_H
#define DANGO_ARGOBOTS_SCHED_CONFIG_H

#include "argobots/abti.h"

/* Stores an int that the configuration (may be NULL) has under a key; false if it has none. */
bool abti_sched_config_int(ABT_sched_config config, int idx, int *value);
bool abti_pool_config_int(ABT_pool_config config, int key, int *value);

#endif
