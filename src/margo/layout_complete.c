/*
 * Completing a layout: what a document leaves out. In order: __primary__, the progress pool, the handler pool, and last
 * a server for pools that no execution stream (ES) has: they go to the end of __primary__'s scheduler. Pools that the
 * program made itself (external ones) are its own business.
 *
 * Generated entries are called __progress__ with ES __progress_0__, and __rpc__ with ESs __rpc_0__, __rpc_1__ …; where
 * a declared entry has such a name, a number is appended.
 */
#include "margo/layout.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NAME_MAX_BYTES 64

bool mg_layout_pool_is_served(const struct mg_layout *layout, const struct mg_pool *pool)
{
    for (size_t i = 0; i < layout->num_xstreams; i++) {
        const struct mg_xstream *xstream = layout->xstreams[i];
        for (size_t j = 0; j < xstream->num_pools; j++) {
            if (xstream->pools[j] == pool)
                return true;
        }
    }
    return false;
}

static struct mg_pool *add_pool(struct mg_layout *layout, const char *wanted, struct dango_error *err)
{
    char name[NAME_MAX_BYTES];
    snprintf(name, sizeof name, "%s", wanted);
    for (unsigned i = 1; mg_layout_find_pool(layout, name); i++)
        snprintf(name, sizeof name, "%s%u", wanted, i);
    return mg_layout_add_pool(layout, name, MG_POOL_FIFO_WAIT, ABT_POOL_ACCESS_MPMC, err);
}

static int add_xstream(struct mg_layout *layout, const char *wanted, struct mg_pool *pool, struct dango_error *err)
{
    char name[NAME_MAX_BYTES];
    snprintf(name, sizeof name, "%s", wanted);
    for (unsigned i = 1; mg_layout_find_xstream(layout, name); i++)
        snprintf(name, sizeof name, "%s%u", wanted, i);
    struct mg_xstream *xstream = mg_layout_add_xstream(layout, name, MG_SCHED_BASIC_WAIT, err);
    return xstream ? mg_xstream_add_pool(xstream, pool, err) : DANGO_ERR_NO_MEMORY;
}

static int complete_primary(struct mg_layout *layout, bool external, struct dango_error *err)
{
    struct mg_pool *pool = mg_layout_find_pool(layout, MG_PRIMARY);
    struct mg_xstream *xstream = mg_layout_find_xstream(layout, MG_PRIMARY);
    assert(!external || (!pool && !xstream));
    if (xstream)
        return 0;
    if (!pool)
        pool = add_pool(layout, MG_PRIMARY, err);
    if (!pool)
        return DANGO_ERR_NO_MEMORY;
    int status = add_xstream(layout, MG_PRIMARY, pool, err);
    if (status == 0 && external) {
        pool->kind = MG_POOL_EXTERNAL;
        mg_layout_find_xstream(layout, MG_PRIMARY)->sched = MG_SCHED_EXTERNAL;
    }
    return status;
}

static int complete_progress(struct mg_layout *layout, struct mg_layout_wishes *wishes, struct dango_error *err)
{
    if (wishes->progress_pool)
        return 0;
    if (!wishes->use_progress_thread) {
        wishes->progress_pool = mg_layout_find_pool(layout, MG_PRIMARY);
        return 0;
    }
    wishes->progress_pool = add_pool(layout, "__progress__", err);
    return wishes->progress_pool ? add_xstream(layout, "__progress_0__", wishes->progress_pool, err)
                                 : DANGO_ERR_NO_MEMORY;
}

static int complete_rpc(struct mg_layout *layout, struct mg_layout_wishes *wishes, struct dango_error *err)
{
    if (wishes->rpc_pool)
        return 0;
    if (wishes->rpc_thread_count < 0)
        wishes->rpc_pool = wishes->progress_pool;
    else if (wishes->rpc_thread_count == 0)
        wishes->rpc_pool = mg_layout_find_pool(layout, MG_PRIMARY);
    else
        wishes->rpc_pool = add_pool(layout, "__rpc__", err);
    if (!wishes->rpc_pool)
        return DANGO_ERR_NO_MEMORY;
    int status = 0;
    for (int64_t i = 0; i < wishes->rpc_thread_count && status == 0; i++) {
        char name[NAME_MAX_BYTES];
        snprintf(name, sizeof name, "__rpc_%d__", (int)i);
        status = add_xstream(layout, name, wishes->rpc_pool, err);
    }
    return status;
}

static int adopt_orphans(struct mg_layout *layout, struct dango_error *err)
{
    struct mg_xstream *primary = mg_layout_find_xstream(layout, MG_PRIMARY);
    assert(primary);
    int status = 0;
    for (size_t i = 0; i < layout->num_pools && status == 0; i++) {
        struct mg_pool *pool = layout->pools[i];
        if (pool->kind == MG_POOL_EXTERNAL || mg_layout_pool_is_served(layout, pool))
            continue;
        pool->adopted = true;
        status = mg_xstream_add_pool(primary, pool, err);
    }
    return status;
}

int mg_layout_complete(struct mg_layout *layout, struct mg_layout_wishes *wishes, struct dango_error *err)
{
    int status = complete_primary(layout, wishes->external_primary, err);
    if (status == 0)
        status = complete_progress(layout, wishes, err);
    if (status == 0)
        status = complete_rpc(layout, wishes, err);
    if (status == 0)
        status = adopt_orphans(layout, err);
    assert(status != 0 || (wishes->progress_pool && wishes->rpc_pool));
    return status;
}

/* ---- warnings ---- */

/* Where a pool stands in the schedulers, in relation to the progress pool. */
struct standing {
    bool first;           /* first pool of some ES */
    bool before_progress; /* before the progress pool, or on an ES without it */
    bool after_progress;
    bool with_progress;
};

static void look_at_xstream(const struct mg_xstream *xstream, const struct mg_pool *pool,
                            const struct mg_pool *progress_pool, struct standing *standing)
{
    size_t at = SIZE_MAX, progress_at = SIZE_MAX;
    for (size_t i = 0; i < xstream->num_pools; i++) {
        if (xstream->pools[i] == pool)
            at = i;
        if (xstream->pools[i] == progress_pool)
            progress_at = i;
    }
    if (at == SIZE_MAX)
        return;
    standing->first |= at == 0;
    standing->before_progress |= at < progress_at;
    standing->after_progress |= at > progress_at;
    standing->with_progress |= progress_at != SIZE_MAX;
}

static void warn_about_pool(const struct mg_layout *layout, const struct mg_pool *pool,
                            const struct mg_pool *progress_pool, void (*warn)(void *, const char *), void *arg)
{
    struct standing standing = {0};
    for (size_t i = 0; i < layout->num_xstreams; i++)
        look_at_xstream(layout->xstreams[i], pool, progress_pool, &standing);
    char text[256];
    const char *problem = NULL;
    if (!standing.first)
        problem = "is not the first pool of any xstream: its threads may starve";
    else if (pool != progress_pool && !standing.before_progress)
        problem = "always comes after the progress pool: its threads may never run";
    else if (pool != progress_pool && standing.after_progress)
        problem = "comes after the progress pool in an xstream, which may never serve it";
    else if (pool != progress_pool && standing.with_progress)
        problem = "shares an xstream with the progress pool: calls take longer";
    if (!problem)
        return;
    snprintf(text, sizeof text, "pool \"%s\" %s", pool->name, problem);
    warn(arg, text);
}

static void warn_about_orphans(const struct mg_layout *layout, void (*warn)(void *, const char *), void *arg)
{
    char names[256] = "";
    size_t used = 0, count = 0;
    for (size_t i = 0; i < layout->num_pools; i++) {
        if (!layout->pools[i]->adopted)
            continue;
        count++;
        if (used < sizeof names)
            used += (size_t)snprintf(names + used, sizeof names - used, "%s\"%s\"", used ? ", " : "",
                                     layout->pools[i]->name);
    }
    if (count == 0)
        return;
    char text[768];
    snprintf(text, sizeof text,
             "no xstream serves pool%s %s: \"" MG_PRIMARY "\" does it besides its own work; to give %s an xstream of "
             "its own, add {\"scheduler\":{\"pools\":[\"NAME\"]}} to argobots.xstreams",
             count > 1 ? "s" : "", names, count > 1 ? "each" : "it");
    warn(arg, text);
}

void mg_layout_warn(const struct mg_layout *layout, const struct mg_pool *progress_pool,
                    void (*warn)(void *arg, const char *text), void *arg)
{
    warn_about_orphans(layout, warn, arg);
    for (size_t i = 0; i < layout->num_pools; i++) {
        const struct mg_pool *pool = layout->pools[i];
        if (!pool->adopted && pool->kind != MG_POOL_EXTERNAL)
            warn_about_pool(layout, pool, progress_pool, warn, arg);
    }
}
