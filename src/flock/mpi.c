/*
 * Loading the MPI plug-in, and the thread that makes all MPI calls: see mpi.h. Process-wide, as MPI itself is: the state is
 * the one static struct below.
 */
#include "flock/mpi.h"

#include "util/log.h"
#include "util/plugin.h"
#include "util/signals.h"

#include <abt.h>
#include <json-c/json.h>

#include <assert.h>
#include <dlfcn.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* One call, on the caller's stack. */
struct job {
    enum { JOB_ENTER, JOB_ALLGATHER, JOB_LEAVE } kind;
    const int *ranks;
    size_t count;
    const void *in;
    size_t size;
    void *out;
    struct dango_error *err;
    int status;
    ABT_eventual_memory done;
};

static struct {
    pthread_mutex_t mutex; /* guards everything below */
    pthread_cond_t wake;
    struct job *job; /* to be done by the thread; NULL: none */
    bool runs;       /* the thread is there: between enter and leave */
    bool left;
    const struct dango_mpi *plugin; /* used by the thread only */
    bool owner;
    struct dango_error problem; /* why MPI cannot be used; written before `runs` */
} mpi = {.mutex = PTHREAD_MUTEX_INITIALIZER, .wake = PTHREAD_COND_INITIALIZER};

static const char package[] = "on Debian it comes with openmpi-bin, and is built when libopenmpi-dev is there";

static int load(struct dango_error *err)
{
    /* MPI libraries load plug-ins that look for their symbols: RTLD_GLOBAL. */
    void *library = dango_plugin_open("libdango-mpi.so", RTLD_NOW | RTLD_GLOBAL, NULL, 0);
    if (!library)
        return dango_error_set(err, DANGO_ERR_UNSUPPORTED, "the MPI plug-in is not installed or does not load: %s (%s)",
                               dlerror(), package);
    const struct dango_mpi *plugin = dlsym(library, "dango_mpi");
    if (plugin && plugin->abi == DANGO_MPI_ABI) {
        mpi.plugin = plugin;
        return 0;
    }
    dlclose(library);
    return dango_error_set(err, DANGO_ERR_UNSUPPORTED, "libdango-mpi.so belongs to another version of Dango");
}

static int enter(struct dango_error *err)
{
    struct dango_world world;
    int rank = 0, size = 0;
    struct dango_signal_actions actions;
    dango_world_read(&world);
    dango_signal_actions_get(&actions);
    int status = load(err);
    if (status == 0)
        status = mpi.plugin->init(&mpi.owner, &rank, &size, err);
    dango_signal_actions_restore(&actions);
    if (status == 0 && (rank != world.rank || size != world.size))
        status = dango_error_set(err, DANGO_ERR_UNSUPPORTED,
                                 "the launcher says rank %d of %d, MPI says %d of %d: libdango-mpi.so was built for "
                                 "another MPI than that of the launcher, or srun was started without --mpi=pmix; "
                                 "bootstrap [\"join\", \"self\"] needs no MPI",
                                 world.rank, world.size, rank, size);
    return status;
}

static int run_job(struct job *job)
{
    switch (job->kind) {
    case JOB_ENTER:
        return enter(job->err);
    case JOB_ALLGATHER:
        return mpi.plugin->allgather(job->ranks, (int)job->count, job->in, job->size, job->out, job->err);
    case JOB_LEAVE:
        if (mpi.owner)
            mpi.plugin->finalize();
        return 0;
    }
    return 0;
}

static void *work(void *arg)
{
    (void)arg;
    bool last = false;
    while (!last) {
        pthread_mutex_lock(&mpi.mutex);
        while (!mpi.job)
            pthread_cond_wait(&mpi.wake, &mpi.mutex);
        struct job *job = mpi.job;
        mpi.job = NULL;
        pthread_mutex_unlock(&mpi.mutex);
        last = job->kind == JOB_LEAVE;
        job->status = run_job(job);
        ABT_eventual_set(ABT_EVENTUAL_MEMORY_GET_HANDLE(&job->done), NULL, 0);
    }
    return NULL;
}

static int submit(struct job *job)
{
    job->done = (ABT_eventual_memory)ABT_EVENTUAL_INITIALIZER;
    pthread_mutex_lock(&mpi.mutex);
    assert(mpi.runs && !mpi.job);
    mpi.job = job;
    pthread_cond_signal(&mpi.wake);
    pthread_mutex_unlock(&mpi.mutex);
    ABT_eventual_wait(ABT_EVENTUAL_MEMORY_GET_HANDLE(&job->done), NULL);
    return job->status;
}

static bool is_launched(void)
{
    struct dango_world world;
    dango_world_read(&world);
    return world.launched && world.size > 1;
}

void dango_flock_mpi_enter(void)
{
    pthread_t thread;
    if (mpi.runs || mpi.left || !is_launched())
        return;
    if (pthread_create(&thread, NULL, work, NULL) != 0) {
        dango_error_set(&mpi.problem, DANGO_ERR_NO_MEMORY, "cannot start a thread for MPI");
        return;
    }
    pthread_detach(thread);
    mpi.runs = true;
    if (submit(&(struct job){.kind = JOB_ENTER, .err = &mpi.problem}) != 0)
        log_debug("flock", "MPI cannot be used: %s", mpi.problem.text);
}

void dango_flock_mpi_leave(void)
{
    if (!mpi.runs)
        return;
    submit(&(struct job){.kind = JOB_LEAVE});
    mpi.runs = false;
    mpi.left = true;
}

bool flk_mpi_runs(void)
{
    return mpi.runs;
}

int flk_mpi_allgather(const int *ranks, size_t count, const void *in, size_t size, void *out, struct dango_error *err)
{
    assert(ranks && count > 0 && count <= INT_MAX && (size == 0 || (in && out)));
    if (mpi.problem.code != 0)
        return dango_error_set(err, mpi.problem.code, "%s", mpi.problem.text);
    if (!mpi.runs)
        return dango_error_set(err, DANGO_ERR_UNSUPPORTED,
                               "MPI can be used only while all processes of the launch start (%s)",
                               mpi.left ? "it has been finalised" : "it was not initialised");
    struct job job = {
        .kind = JOB_ALLGATHER, .ranks = ranks, .count = count, .in = in, .size = size, .out = out, .err = err};
    return submit(&job);
}

/* ---- texts ---- */

static int gather_padded(const int *ranks, size_t count, const char *text, size_t slot, char *all,
                         struct dango_error *err)
{
    assert(strlen(text) < slot);
    char *padded = calloc(1, slot);
    if (!padded)
        return dango_error_set(err, DANGO_ERR_NO_MEMORY, "out of memory");
    memcpy(padded, text, strlen(text) + 1);
    int status = flk_mpi_allgather(ranks, count, padded, slot, all, err);
    for (size_t i = 0; i < count; i++)
        all[(i + 1) * slot - 1] = '\0';
    free(padded);
    return status;
}

/* First the lengths; then the texts, padded to the length of the longest. */
char *flk_mpi_gather_text(const int *ranks, size_t count, const char *text, size_t *slot, struct dango_error *err)
{
    uint32_t size = (uint32_t)strlen(text) + 1, *sizes = calloc(count, sizeof *sizes);
    if (!sizes) {
        dango_error_set(err, DANGO_ERR_NO_MEMORY, "out of memory");
        return NULL;
    }
    int status = flk_mpi_allgather(ranks, count, &size, sizeof size, sizes, err);
    *slot = size;
    for (size_t i = 0; i < count; i++)
        *slot = sizes[i] > *slot ? sizes[i] : *slot;
    free(sizes);
    char *all = status == 0 ? calloc(count, *slot) : NULL;
    if (status == 0 && !all)
        dango_error_set(err, DANGO_ERR_NO_MEMORY, "out of memory");
    if (all && gather_padded(ranks, count, text, *slot, all, err) == 0)
        return all;
    free(all);
    return NULL;
}

/* All ranks of the launch, to be freed; NULL without memory. */
static int *all_ranks(const struct dango_world *world)
{
    int *ranks = calloc((size_t)world->size, sizeof *ranks);
    for (int i = 0; ranks && i < world->size; i++)
        ranks[i] = i;
    return ranks;
}

struct json_object *dango_flock_mpi_addresses(const char *own, struct dango_error *err)
{
    struct dango_world world;
    size_t slot = 0;
    dango_world_read(&world);
    int *ranks = all_ranks(&world);
    if (!ranks) {
        dango_error_set(err, DANGO_ERR_NO_MEMORY, "out of memory");
        return NULL;
    }
    char *all = world.size > 1 ? flk_mpi_gather_text(ranks, (size_t)world.size, own, &slot, err) : strdup(own);
    free(ranks);
    if (!all)
        return NULL;
    struct json_object *addresses = json_object_new_array();
    for (int i = 0; i < world.size; i++)
        json_object_array_add(addresses, json_object_new_string(all + (size_t)i * slot));
    free(all);
    return addresses;
}
