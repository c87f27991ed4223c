/*
 * margo_state_dump: a readable description of an instance, for people who debug a running service.
 */
#include "margo/instance.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static void write_description(margo_instance_id mid, FILE *out)
{
    char when[64];
    time_t now = time(NULL);
    struct tm parts;
    localtime_r(&now, &parts);
    strftime(when, sizeof when, "%Y-%m-%dT%H:%M:%S%z", &parts);
    char *config = margo_get_config_opt(mid, MARGO_CONFIG_PRETTY_JSON | MARGO_CONFIG_USE_NAMES);
    uint64_t handlers = atomic_load(&mid->handlers);
    fprintf(out, "# Margo instance\naddress: %s\ntime: %s\n",
            mid->options.mercury.address ? mid->options.mercury.address : "none", when);
    fprintf(out, "running handlers: %llu\nfinalising: %s\n\n# configuration\n%s\n\n",
            (unsigned long long)(handlers & ~MG_FINALISING), handlers & MG_FINALISING ? "yes" : "no",
            config ? config : "(out of memory)");
    free(config);
    fprintf(out, "# Argobots\n");
    ABT_info_print_config(out);
    ABT_info_print_all_xstreams(out);
    fprintf(out, "\n# pools\n");
    mg_env_lock(mid->env);
    for (size_t i = 0; i < mid->env->layout.num_pools; i++) {
        const struct mg_pool *pool = mid->env->layout.pools[i];
        size_t ready = 0, total = 0;
        ABT_pool_get_size(pool->handle, &ready);
        ABT_pool_get_total_size(pool->handle, &total);
        fprintf(out, "%s: %zu ready, %zu in all, %u references\n", pool->name, ready, total, pool->refs);
    }
    mg_env_unlock(mid->env);
}

/* "<dir>/<file>[.<host>.<pid>].state.txt"; NULL if out of memory. */
static char *resolve_name(margo_instance_id mid, const char *file_name, bool uniquify)
{
    char unique[300] = "", *name = NULL;
    const char *directory = file_name[0] == '/' ? "" : mid->options.argobots.profiling_dir;
    if (uniquify) {
        char host[256] = "localhost";
        gethostname(host, sizeof host - 1);
        snprintf(unique, sizeof unique, ".%s.%d", host, (int)getpid());
    }
    const char *slash = *directory ? "/" : "";
    return asprintf(&name, "%s%s%s%s.state.txt", directory, slash, file_name, unique) < 0 ? NULL : name;
}

int margo_state_dump(margo_instance_id mid, const char *file_name, int uniquify, char **resolved_file_name)
{
    if (!mid || !file_name)
        return -1;
    bool to_stdout = strcmp(file_name, "-") == 0;
    char *name = to_stdout ? strdup("<STDOUT>") : resolve_name(mid, file_name, uniquify);
    if (!name)
        return -1;
    FILE *out = to_stdout ? stdout : fopen(name, "a");
    int status = -1;
    if (out) {
        write_description(mid, out);
        status = fflush(out) == 0 && !ferror(out) ? 0 : -1;
        if (!to_stdout && fclose(out) != 0)
            status = -1;
    }
    if (status != 0)
        margo_error(mid, "%s: the state could not be written", name);
    if (resolved_file_name && status == 0)
        *resolved_file_name = name;
    else
        free(name);
    return status;
}
