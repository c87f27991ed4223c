/*
 * The library as a whole: initialisation, finalisation, settings.
 *
 * ABT_init is counted. Everything that is process-wide hangs from abti_global; the lock here makes init and finalize
 * exclude each other. Settings come from the environment, each as ABT_NAME or ABT_ENV_NAME.
 */
#include <linux/membarrier.h>
#include <stdlib.h>
#include <string.h>

#include "argobots/abti.h"

#define DEFAULT_THREAD_STACK ((size_t)16384)
#define DEFAULT_SCHED_STACK  ((size_t)4 << 20)
#define MIN_THREAD_STACK     ((size_t)4096)
#define MIN_SCHED_STACK      ((size_t)65536)
#define MAX_STACK            ((size_t)1 << 40)
#define MAX_CACHED_STACKS    1024
#define DEFAULT_EVENT_FREQ   50
#define DEFAULT_SLEEP_NSEC   100
#define DEFAULT_KEY_TABLE    4

struct abti_global abti_global;
__thread abti_xstream *abti_current_xstream;

static pthread_mutex_t init_lock = PTHREAD_MUTEX_INITIALIZER;

#if !defined(__x86_64__)
__attribute__((noinline)) abti_xstream *abti_self(void)
{
    __asm__ volatile("" ::: "memory");
    return abti_current_xstream;
}
#endif

static const char *lookup(const char *name)
{
    char full[64];
    snprintf(full, sizeof full, "ABT_%s", name);
    const char *value = getenv(full);
    if (!value) {
        snprintf(full, sizeof full, "ABT_ENV_%s", name);
        value = getenv(full);
    }
    return value;
}

/* A number within limits; what cannot be parsed counts as not set. */
static size_t lookup_size(const char *name, size_t preset, size_t min, size_t max)
{
    const char *value = lookup(name);
    char *end = NULL;
    unsigned long long number = value ? strtoull(value, &end, 0) : 0;
    if (!value || end == value || *value == '-')
        return preset;
    return number < min ? min : number > max ? max : (size_t)number;
}

static bool lookup_bool(const char *name, bool preset)
{
    const char *value = lookup(name);
    if (!value)
        return preset;
    return strcmp(value, "0") != 0 && strcasecmp(value, "no") != 0 && strcasecmp(value, "n") != 0 &&
           strcasecmp(value, "false") != 0;
}

void abti_settings_load(struct abti_settings *settings)
{
    long cpus = sysconf(_SC_NPROCESSORS_ONLN);
    unsigned num_cpus = cpus < 1 ? 1 : (unsigned)cpus;
    *settings = (struct abti_settings){
        .thread_stack_size = lookup_size("THREAD_STACKSIZE", DEFAULT_THREAD_STACK, MIN_THREAD_STACK, MAX_STACK),
        .sched_stack_size = lookup_size("SCHED_STACKSIZE", DEFAULT_SCHED_STACK, MIN_SCHED_STACK, MAX_STACK),
        .max_stacks = (unsigned)lookup_size("MEM_MAX_NUM_STACKS", MAX_CACHED_STACKS, 0, UINT32_MAX),
        .max_xstreams = (unsigned)lookup_size("MAX_NUM_XSTREAMS", num_cpus, 1, UINT32_MAX),
        .event_freq = (unsigned)lookup_size("SCHED_EVENT_FREQ", DEFAULT_EVENT_FREQ, 1, UINT32_MAX),
        .sleep_nsec = lookup_size("SCHED_SLEEP_NSEC", DEFAULT_SLEEP_NSEC, 0, SIZE_MAX),
        .key_table_size = (unsigned)lookup_size("KEY_TABLE_SIZE", DEFAULT_KEY_TABLE, 1, UINT32_MAX),
        .affinity = lookup_bool("SET_AFFINITY", true),
        .print_config = lookup_bool("PRINT_CONFIG", false),
        .num_cpus = num_cpus,
    };
}

static int start_library(void)
{
    abti_settings_load(&abti_global.settings);
    abti_global.page_size = (size_t)sysconf(_SC_PAGESIZE);
    abti_global.can_bias = syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0) == 0;
    int err = abti_xstream_start_primary();
    if (err)
        return err;
    abti_store_release(&abti_global.initialized, true);
    if (abti_global.settings.print_config)
        ABT_info_print_config(stdout);
    return ABT_SUCCESS;
}

int ABT_init(int argc, char **argv)
{
    int err = ABT_SUCCESS;
    (void)argc, (void)argv;
    pthread_mutex_lock(&init_lock);
    if (abti_global.init_count == 0)
        err = start_library();
    if (!err)
        abti_global.init_count++;
    pthread_mutex_unlock(&init_lock);
    return err;
}

static int stop_library(void)
{
    abti_xstream *es = abti_self();
    ABTI_CHECK(es && es->primary, ABT_ERR_INV_XSTREAM);
    ABTI_CHECK(es->current->is_primary, ABT_ERR_INV_THREAD);
    abti_xstream_stop_primary();
    abti_store_release(&abti_global.initialized, false);
    abti_timers_stop();
    abti_xstreams_free_unused();
    abti_stacks_free_all();
    return ABT_SUCCESS;
}

/* The count is read outside of the lock only for our own caller: others would race with their own init. */
int ABT_finalize(void)
{
    int err = ABT_SUCCESS;
    pthread_mutex_lock(&init_lock);
    if (abti_global.init_count == 0)
        err = ABT_ERR_UNINITIALIZED;
    else if (abti_global.init_count == 1)
        err = stop_library();
    if (!err)
        abti_global.init_count--;
    pthread_mutex_unlock(&init_lock);
    return err;
}

int ABT_initialized(void)
{
    return abti_load_acquire(&abti_global.initialized) ? ABT_SUCCESS : ABT_ERR_UNINITIALIZED;
}

double ABT_get_wtime(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}
