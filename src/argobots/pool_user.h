/*
 * User-defined pools, in both forms of definition.
 */
#ifndef DANGO_ARGOBOTS_POOL_USER_H
#define DANGO_ARGOBOTS_POOL_USER_H

#include "argobots/abti.h"

bool abti_pool_is_user_defined(abti_pool *pool);
ABT_unit abti_user_create_unit(abti_pool *pool, abti_thread *thread);
void abti_user_free_unit(abti_pool *pool, ABT_unit unit);

/* NULL if the pool does not wait by itself. */
ABT_pool_user_pop_wait_fn abti_user_pop_wait(abti_pool *pool);
ABT_pool_user_pop_many_fn abti_user_pop_many(abti_pool *pool);
ABT_pool_user_print_all_fn abti_user_print_all(abti_pool *pool);

#endif
