/*
 * User-defined pools: the operations of a pool in terms of callbacks.
 *
 * A definition comes in two forms that share the type ABT_pool_user_def: the legacy struct ABT_pool_def, and an object
 * of ours made by ABT_pool_user_def_create. Ours has NULL where the legacy struct has u_create_from_thread, which is
 * required there. Both are copied into the pool. The legacy members p_pop_timedwait and p_print_all are never read:
 * users leave them uninitialised.
 */
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "argobots/pool_user.h"
#include "argobots/sched_config.h"

struct new_def {
    ABT_pool_def marker; /* all zero: u_create_from_thread tells it from a legacy definition */
    ABT_pool_user_create_unit_fn create_unit;
    ABT_pool_user_free_unit_fn free_unit;
    ABT_pool_user_is_empty_fn is_empty;
    ABT_pool_user_pop_fn pop;
    ABT_pool_user_push_fn push;
    ABT_pool_user_init_fn init;
    ABT_pool_user_free_fn free;
    ABT_pool_user_get_size_fn get_size;
    ABT_pool_user_pop_wait_fn pop_wait;
    ABT_pool_user_pop_many_fn pop_many;
    ABT_pool_user_push_many_fn push_many;
    ABT_pool_user_print_all_fn print_all;
};

/* pool->state of a user-defined pool. */
struct user_pool {
    bool legacy;
    struct new_def def;
    ABT_pool_def old;
};

static struct user_pool *user_pool(abti_pool *pool)
{
    return pool->state;
}

/* Current form ------------------------------------------------------------------------------------- */

static void new_push(abti_pool *pool, abti_thread *thread, ABT_pool_context context)
{
    user_pool(pool)->def.push(pool, thread->unit, context);
}

static abti_thread *new_pop(abti_pool *pool, ABT_pool_context context)
{
    return user_pool(pool)->def.pop(pool, context);
}

static bool new_is_empty(abti_pool *pool)
{
    return user_pool(pool)->def.is_empty(pool);
}

static size_t new_size(abti_pool *pool)
{
    struct new_def *def = &user_pool(pool)->def;
    return def->get_size ? def->get_size(pool) : !def->is_empty(pool);
}

static void user_destroy(abti_pool *pool)
{
    struct user_pool *user = user_pool(pool);
    if (user->legacy && user->old.p_free)
        user->old.p_free(pool);
    else if (!user->legacy && user->def.free)
        user->def.free(pool);
    free(user);
}

static const struct abti_pool_ops new_ops = {
    .push = new_push,
    .pop = new_pop,
    .size = new_size,
    .is_empty = new_is_empty,
    .destroy = user_destroy,
};

/* Legacy form -------------------------------------------------------------------------------------- */

static void old_push(abti_pool *pool, abti_thread *thread, ABT_pool_context context)
{
    (void)context;
    user_pool(pool)->old.p_push(pool, thread->unit);
}

static abti_thread *old_pop(abti_pool *pool, ABT_pool_context context)
{
    (void)context;
    ABT_unit unit = user_pool(pool)->old.p_pop(pool);
    return unit ? abti_unit_thread(unit) : NULL;
}

static size_t old_size(abti_pool *pool)
{
    return user_pool(pool)->old.p_get_size(pool);
}

static bool old_is_empty(abti_pool *pool)
{
    return old_size(pool) == 0;
}

static bool old_remove(abti_pool *pool, abti_thread *thread)
{
    return user_pool(pool)->old.p_remove(pool, thread->unit) == ABT_SUCCESS;
}

static const struct abti_pool_ops old_ops = {
    .push = old_push,
    .pop = old_pop,
    .size = old_size,
    .is_empty = old_is_empty,
    .remove = old_remove,
    .destroy = user_destroy,
};

static const struct abti_pool_ops old_ops_without_remove = {
    .push = old_push,
    .pop = old_pop,
    .size = old_size,
    .is_empty = old_is_empty,
    .destroy = user_destroy,
};

bool abti_pool_is_user_defined(abti_pool *pool)
{
    return pool->ops == &new_ops || pool->ops == &old_ops || pool->ops == &old_ops_without_remove;
}

ABT_unit abti_user_create_unit(abti_pool *pool, abti_thread *thread)
{
    struct user_pool *user = user_pool(pool);
    if (!user->legacy)
        return user->def.create_unit(pool, thread);
    if (thread->is_task && user->old.u_create_from_task)
        return user->old.u_create_from_task(thread);
    return user->old.u_create_from_thread(thread);
}

void abti_user_free_unit(abti_pool *pool, ABT_unit unit)
{
    struct user_pool *user = user_pool(pool);
    if (!user->legacy)
        user->def.free_unit(pool, unit);
    else if (user->old.u_free)
        user->old.u_free(&unit);
}

ABT_pool_user_pop_wait_fn abti_user_pop_wait(abti_pool *pool)
{
    return pool->ops == &new_ops ? user_pool(pool)->def.pop_wait : NULL;
}

ABT_pool_user_pop_many_fn abti_user_pop_many(abti_pool *pool)
{
    return pool->ops == &new_ops ? user_pool(pool)->def.pop_many : NULL;
}

ABT_pool_user_print_all_fn abti_user_print_all(abti_pool *pool)
{
    return pool->ops == &new_ops ? user_pool(pool)->def.print_all : NULL;
}

/* Creation ------------------------------------------------------------------------------------------- */

/* Member by member, without the two that may be garbage. */
static void copy_legacy(ABT_pool_def *to, const ABT_pool_def *from)
{
    memcpy(to, from, offsetof(ABT_pool_def, p_pop_timedwait));
    to->p_remove = from->p_remove;
    to->p_free = from->p_free;
}

static struct user_pool *copy_definition(ABT_pool_user_def def)
{
    struct user_pool *user = calloc(1, sizeof *user);
    if (!user)
        return NULL;
    user->legacy = def->u_create_from_thread != NULL;
    if (user->legacy)
        copy_legacy(&user->old, def);
    else
        user->def = *(struct new_def *)def;
    return user;
}

static const struct abti_pool_ops *choose_ops(struct user_pool *user)
{
    if (!user->legacy)
        return &new_ops;
    return user->old.p_remove ? &old_ops : &old_ops_without_remove;
}

static bool is_complete(ABT_pool_user_def def)
{
    return !def->u_create_from_thread || (def->p_get_size && def->p_push && def->p_pop);
}

int ABT_pool_create(ABT_pool_user_def def, ABT_pool_config config, ABT_pool *newpool)
{
    int automatic = 0;
    abti_pool *pool = NULL;
    *newpool = ABT_POOL_NULL;
    ABTI_CHECK(def && is_complete(def), ABT_ERR_INV_POOL_USER_DEF);
    struct user_pool *user = copy_definition(def);
    if (!user)
        return ABT_ERR_MEM;
    abti_pool_config_int(config, ABT_pool_config_automatic.key, &automatic);
    ABT_pool_access access = user->legacy ? user->old.access : ABT_POOL_ACCESS_MPMC;
    int err = abti_pool_alloc(choose_ops(user), access, automatic != 0, "user-defined", &pool);
    if (err) {
        free(user);
        return err;
    }
    pool->state = user;
    if (user->legacy && user->old.p_init)
        err = user->old.p_init(pool, config);
    else if (!user->legacy && user->def.init)
        err = user->def.init(pool, config);
    if (err) {
        free(user);
        free(pool);
        return err;
    }
    *newpool = pool;
    return ABT_SUCCESS;
}

int ABT_pool_user_def_create(ABT_pool_user_create_unit_fn create_unit, ABT_pool_user_free_unit_fn free_unit,
                             ABT_pool_user_is_empty_fn is_empty, ABT_pool_user_pop_fn pop, ABT_pool_user_push_fn push,
                             ABT_pool_user_def *newdef)
{
    *newdef = ABT_POOL_USER_DEF_NULL;
    ABTI_CHECK(create_unit && free_unit && is_empty && pop && push, ABT_ERR_INV_ARG);
    struct new_def *def = calloc(1, sizeof *def);
    if (!def)
        return ABT_ERR_MEM;
    def->create_unit = create_unit;
    def->free_unit = free_unit;
    def->is_empty = is_empty;
    def->pop = pop;
    def->push = push;
    *newdef = &def->marker;
    return ABT_SUCCESS;
}

int ABT_pool_user_def_free(ABT_pool_user_def *def)
{
    ABTI_CHECK(def && *def, ABT_ERR_INV_POOL_USER_DEF);
    free(*def);
    *def = ABT_POOL_USER_DEF_NULL;
    return ABT_SUCCESS;
}

/* The optional callbacks: one setter each, NULL unsets. */
#define DEFINE_SETTER(member)                                                                                          \
    int ABT_pool_user_def_set_##member(ABT_pool_user_def def, ABT_pool_user_##member##_fn fn)                          \
    {                                                                                                                  \
        ABTI_CHECK(def, ABT_ERR_INV_POOL_USER_DEF);                                                                    \
        ((struct new_def *)def)->member = fn;                                                                          \
        return ABT_SUCCESS;                                                                                            \
    }

DEFINE_SETTER(init)
DEFINE_SETTER(free)
DEFINE_SETTER(get_size)
DEFINE_SETTER(pop_wait)
DEFINE_SETTER(pop_many)
DEFINE_SETTER(push_many)
DEFINE_SETTER(print_all)
