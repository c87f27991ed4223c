/*
 * Binding ESs to CPUs. There is no default placement; ABT_SET_AFFINITY=0 disables the functions.
 */
#include <sched.h>
#include <stdlib.h>

#include "argobots/abti.h"

static int check(abti_xstream *es)
{
    ABTI_CHECK(es, ABT_ERR_INV_XSTREAM);
    ABTI_CHECK(abti_global.settings.affinity, ABT_ERR_FEATURE_NA);
    return ABT_SUCCESS;
}

int ABT_xstream_set_affinity(ABT_xstream xstream, int num_cpuids, int *cpuids)
{
    int err = check(xstream);
    if (err)
        return err;
    cpu_set_t set;
    CPU_ZERO(&set);
    for (int i = 0; i < num_cpuids; i++) {
        ABTI_CHECK(cpuids[i] >= 0 && cpuids[i] < CPU_SETSIZE, ABT_ERR_CPUID);
        CPU_SET(cpuids[i], &set);
    }
    return pthread_setaffinity_np(xstream->os_thread, sizeof set, &set) ? ABT_ERR_CPUID : ABT_SUCCESS;
}

int ABT_xstream_get_affinity(ABT_xstream xstream, int max_cpuids, int *cpuids, int *num_cpuids)
{
    int stored = 0;
    int err = check(xstream);
    if (err)
        return err;
    cpu_set_t set;
    if (pthread_getaffinity_np(xstream->os_thread, sizeof set, &set))
        return ABT_ERR_SYS;
    for (int cpu = 0; cpu < CPU_SETSIZE && stored < max_cpuids; cpu++) {
        if (CPU_ISSET(cpu, &set))
            cpuids[stored++] = cpu;
    }
    if (num_cpuids)
        *num_cpuids = CPU_COUNT(&set);
    return ABT_SUCCESS;
}

int ABT_xstream_set_cpubind(ABT_xstream xstream, int cpuid)
{
    return ABT_xstream_set_affinity(xstream, 1, &cpuid);
}

/* ABT_ERR_CPUID unless bound to exactly one. */
int ABT_xstream_get_cpubind(ABT_xstream xstream, int *cpuid)
{
    int num_cpuids, first;
    int err = ABT_xstream_get_affinity(xstream, 1, &first, &num_cpuids);
    if (err)
        return err;
    ABTI_CHECK(num_cpuids == 1, ABT_ERR_CPUID);
    *cpuid = first;
    return ABT_SUCCESS;
}
