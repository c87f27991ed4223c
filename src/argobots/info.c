/*
 * What the library tells about itself: settings, features, and dumps for people.
 */
#include "argobots/abti.h"

/* Before ABT_init the settings are what ABT_init would make of the environment. */
static struct abti_settings current_settings(void)
{
    struct abti_settings settings = abti_global.settings;
    if (!abti_load_acquire(&abti_global.initialized))
        abti_settings_load(&settings);
    return settings;
}

static int query_number(ABT_info_query_kind kind, void *val)
{
    struct abti_settings settings = current_settings();
    switch (kind) {
    case ABT_INFO_QUERY_KIND_MAX_NUM_XSTREAMS:
        *(unsigned *)val = settings.max_xstreams;
        return ABT_SUCCESS;
    case ABT_INFO_QUERY_KIND_DEFAULT_THREAD_STACKSIZE:
        *(size_t *)val = settings.thread_stack_size;
        return ABT_SUCCESS;
    case ABT_INFO_QUERY_KIND_DEFAULT_SCHED_STACKSIZE:
        *(size_t *)val = settings.sched_stack_size;
        return ABT_SUCCESS;
    case ABT_INFO_QUERY_KIND_DEFAULT_SCHED_EVENT_FREQ:
        *(uint64_t *)val = settings.event_freq;
        return ABT_SUCCESS;
    case ABT_INFO_QUERY_KIND_DEFAULT_SCHED_SLEEP_NSEC:
        *(uint64_t *)val = settings.sleep_nsec;
        return ABT_SUCCESS;
    case ABT_INFO_QUERY_KIND_ENABLED_STACK_OVERFLOW_CHECK:
        *(int *)val = 2; /* guard pages, as far as the kernel has mappings to spare */
        return ABT_SUCCESS;
    case ABT_INFO_QUERY_KIND_WAIT_POLICY:
        *(int *)val = 1; /* passive: idle ESs sleep */
        return ABT_SUCCESS;
    default:
        return ABT_ERR_INV_QUERY_KIND;
    }
}

int ABT_info_query_config(ABT_info_query_kind kind, void *val)
{
    switch (kind) {
    case ABT_INFO_QUERY_KIND_ENABLED_DEBUG:
    case ABT_INFO_QUERY_KIND_ENABLED_PRINT_ERRNO:
    case ABT_INFO_QUERY_KIND_ENABLED_LOG:
    case ABT_INFO_QUERY_KIND_ENABLED_VALGRIND:
    case ABT_INFO_QUERY_KIND_ENABLED_CHECK_POOL_PRODUCER:
    case ABT_INFO_QUERY_KIND_ENABLED_CHECK_POOL_CONSUMER:
    case ABT_INFO_QUERY_KIND_ENABLED_PRESERVE_FPU:
    case ABT_INFO_QUERY_KIND_ENABLED_TOOL:
    case ABT_INFO_QUERY_KIND_ENABLED_STACK_UNWIND:
        *(ABT_bool *)val = ABT_FALSE;
        return ABT_SUCCESS;
    case ABT_INFO_QUERY_KIND_ENABLED_CHECK_ERROR:
    case ABT_INFO_QUERY_KIND_ENABLED_THREAD_CANCEL:
    case ABT_INFO_QUERY_KIND_ENABLED_TASK_CANCEL:
    case ABT_INFO_QUERY_KIND_ENABLED_MIGRATION:
    case ABT_INFO_QUERY_KIND_ENABLED_STACKABLE_SCHED:
    case ABT_INFO_QUERY_KIND_ENABLED_EXTERNAL_THREAD:
    case ABT_INFO_QUERY_KIND_ENABLED_SCHED_SLEEP:
    case ABT_INFO_QUERY_KIND_ENABLED_PRINT_CONFIG:
    case ABT_INFO_QUERY_KIND_FCONTEXT:
    case ABT_INFO_QUERY_KIND_ENABLED_LAZY_STACK_ALLOC:
        *(ABT_bool *)val = ABT_TRUE;
        return ABT_SUCCESS;
    case ABT_INFO_QUERY_KIND_ENABLED_AFFINITY:
        *(ABT_bool *)val = current_settings().affinity;
        return ABT_SUCCESS;
    case ABT_INFO_QUERY_KIND_DYNAMIC_PROMOTION:
        *(ABT_bool *)val = ABT_FALSE;
        return ABT_SUCCESS;
    default:
        return query_number(kind, val);
    }
}

int ABT_info_print_config(FILE *fp)
{
    struct abti_settings settings = current_settings();
    fprintf(fp, "Argobots interface: %s (Dango)\n", ABT_VERSION);
    fprintf(fp, "ULT stack size: %zu bytes\n", settings.thread_stack_size);
    fprintf(fp, "scheduler stack size: %zu bytes\n", settings.sched_stack_size);
    fprintf(fp, "cached stacks: at most %u\n", settings.max_stacks);
    fprintf(fp, "CPUs: %u\n", settings.num_cpus);
    fprintf(fp, "affinity: %s\n", settings.affinity ? "on request" : "off");
    return ABT_SUCCESS;
}

static void print_pools(FILE *fp, abti_sched *sched, const char *indent)
{
    for (int i = 0; i < abti_load_acquire(&sched->num_pools); i++) {
        fprintf(fp, "%spool %d: ", indent, i);
        ABT_info_print_pool(fp, sched->pools[i]);
    }
}

int ABT_info_print_sched(FILE *fp, ABT_sched sched)
{
    static const char *const names[] = {"basic", "basic", "prio", "randws", "basic_wait"};
    ABTI_CHECK(sched, ABT_ERR_INV_SCHED);
    fprintf(fp, "scheduler %p: %s, %d pools, requests 0x%x\n", (void *)sched,
            sched->kind == ABTI_SCHED_USER ? "user-defined" : names[sched->predef], abti_load(&sched->num_pools),
            abti_load(&sched->request));
    print_pools(fp, sched, "  ");
    return ABT_SUCCESS;
}

int ABT_info_print_pool(FILE *fp, ABT_pool pool)
{
    ABTI_CHECK(pool, ABT_ERR_INV_POOL);
    fprintf(fp, "pool %p: id %d, %s, %zu ready, %ld blocked, %d schedulers\n", (void *)pool, pool->id, pool->kind_name,
            abti_pool_size(pool), abti_pool_num_blocked(pool), abti_load(&pool->num_scheds));
    return ABT_SUCCESS;
}

int ABT_info_print_xstream(FILE *fp, ABT_xstream xstream)
{
    ABTI_CHECK(xstream, ABT_ERR_INV_XSTREAM);
    ABT_xstream_state state;
    ABT_xstream_get_state(xstream, &state);
    fprintf(fp, "ES %p: rank %d, %s%s\n", (void *)xstream, xstream->rank,
            state == ABT_XSTREAM_STATE_RUNNING ? "running" : "terminated", xstream->primary ? ", primary" : "");
    return xstream->main_sched ? ABT_info_print_sched(fp, xstream->main_sched) : ABT_SUCCESS;
}

int ABT_info_print_all_xstreams(FILE *fp)
{
    ABTI_CHECK(abti_load_acquire(&abti_global.initialized), ABT_ERR_UNINITIALIZED);
    fprintf(fp, "execution streams: %d\n", abti_load(&abti_global.num_xstreams));
    abti_bitlock_lock(&abti_global.xstreams_lock);
    for (abti_xstream *es = abti_global.xstreams; es; es = es->next)
        ABT_info_print_xstream(fp, es);
    abti_bitlock_unlock(&abti_global.xstreams_lock, 0);
    return ABT_SUCCESS;
}

int ABT_info_print_thread(FILE *fp, ABT_thread thread)
{
    static const char *const states[] = {"ready", "running", "blocked", "terminated"};
    ABTI_CHECK(thread, ABT_ERR_INV_THREAD);
    fprintf(fp, "%s %p: id %llu, %s, %s, stack %zu bytes at %p\n", thread->is_task ? "tasklet" : "ULT", (void *)thread,
            (unsigned long long)abti_thread_id(thread), states[abti_load(&thread->state)],
            thread->named ? "named" : "unnamed", (size_t)(thread->stack_high - thread->stack_low),
            (void *)thread->stack_low);
    return ABT_SUCCESS;
}

int ABT_info_print_task(FILE *fp, ABT_task task)
{
    ABTI_CHECK(task, ABT_ERR_INV_TASK);
    return ABT_info_print_thread(fp, task);
}

int ABT_info_print_thread_attr(FILE *fp, ABT_thread_attr attr)
{
    void *stack;
    size_t stack_size;
    int err = ABT_thread_attr_get_stack(attr, &stack, &stack_size);
    if (!err)
        fprintf(fp, "ULT attributes: stack %zu bytes%s\n", stack_size, stack ? " of the user" : "");
    return err;
}

int ABT_info_print_thread_stack(FILE *fp, ABT_thread thread)
{
    ABTI_CHECK(thread, ABT_ERR_INV_THREAD);
    fprintf(fp, "stack of %p: [%p, %p), %zu bytes in use\n", (void *)thread, (void *)thread->stack_low,
            (void *)thread->stack_high,
            abti_load(&thread->state) == ABT_THREAD_STATE_RUNNING || !thread->stack_high || !thread->sp
                ? (size_t)0
                : (size_t)(thread->stack_high - (char *)thread->sp));
    return ABT_SUCCESS;
}

static void print_stack(void *arg, ABT_thread thread)
{
    ABT_info_print_thread_stack(arg, thread);
}

int ABT_info_print_thread_stacks_in_pool(FILE *fp, ABT_pool pool)
{
    return ABT_pool_print_all_threads(pool, fp, print_stack);
}

/* The stacks of units that are ready on the ESs. No ES has to be stopped for that, so it is done at once. */
int ABT_info_trigger_print_all_thread_stacks(FILE *fp, double timeout, void (*cb)(ABT_bool, void *), void *arg)
{
    (void)timeout;
    ABTI_CHECK(abti_load_acquire(&abti_global.initialized), ABT_ERR_UNINITIALIZED);
    abti_bitlock_lock(&abti_global.xstreams_lock);
    for (abti_xstream *es = abti_global.xstreams; es; es = es->next) {
        for (int i = 0; i < abti_load_acquire(&es->main_sched->num_pools); i++)
            ABT_info_print_thread_stacks_in_pool(fp, es->main_sched->pools[i]);
    }
    abti_bitlock_unlock(&abti_global.xstreams_lock, 0);
    if (cb)
        cb(ABT_FALSE, arg);
    return ABT_SUCCESS;
}

int ABT_tool_register_thread_callback(ABT_tool_thread_callback_fn cb, uint64_t event_mask, void *user_arg)
{
    (void)cb, (void)event_mask, (void)user_arg;
    return ABT_ERR_FEATURE_NA;
}

int ABT_tool_query_thread(ABT_tool_context context, uint64_t event, ABT_tool_query_kind kind, void *val)
{
    (void)context, (void)event, (void)kind, (void)val;
    return ABT_ERR_FEATURE_NA;
}
