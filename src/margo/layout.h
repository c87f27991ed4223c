/*
 * Pools and execution streams (ESs) of an instance: the lists as the configuration declares them, completed by the
 * rules of expansion, and later, with handles filled in, as they run.
 *
 * A layout is plain data: nothing here touches Argobots. Entries are allocated one by one, so that a pointer to an
 * entry (and its name) stays valid while others come and go; the index of an entry is its place in the list. Building
 * and changing a layout is not thread-safe: the environment (env.h) guards the one that is in use.
 */
#ifndef DANGO_MARGO_LAYOUT_H
#define DANGO_MARGO_LAYOUT_H

#include <abt.h>
#include <dango/error.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct json_object;

#define MG_PRIMARY "__primary__"

/* Limits on what a document may ask for. */
#define MG_POOLS_MAX    1024
#define MG_XSTREAMS_MAX 1024

/* The order is that of the choices in the option table. EXTERNAL: made by somebody else, never in a document. */
enum mg_pool_kind { MG_POOL_FIFO, MG_POOL_FIFO_WAIT, MG_POOL_PRIO_WAIT, MG_POOL_EARLIEST_FIRST, MG_POOL_EXTERNAL };

/* Values are those of ABT_sched_predef. */
enum mg_sched_type {
    MG_SCHED_DEFAULT,
    MG_SCHED_BASIC,
    MG_SCHED_PRIO,
    MG_SCHED_RANDWS,
    MG_SCHED_BASIC_WAIT,
    MG_SCHED_EXTERNAL
};

struct mg_pool {
    char *name;
    int kind;      /* enum mg_pool_kind */
    int access;    /* ABT_pool_access */
    bool adopted;  /* no ES was declared for it: served by the primary ES */
    bool owned;    /* freed by us */
    unsigned refs; /* RPCs, providers and users that depend on it */
    unsigned pins; /* instances whose progress loop or default handlers run in it */
    ABT_pool handle;
};

struct mg_xstream {
    char *name;
    int sched; /* enum mg_sched_type */
    struct mg_pool **pools;
    size_t num_pools;
    int cpubind; /* a CPU, or -1 */
    int *affinity;
    size_t num_affinity;
    bool owned; /* joined and freed by us */
    unsigned refs;
    ABT_xstream handle;
};

struct mg_layout {
    struct mg_pool **pools;
    size_t num_pools;
    struct mg_xstream **xstreams;
    size_t num_xstreams;
    /* While a document is read: its arrays (borrowed), whose names are not to be generated. */
    struct json_object *declared_pools;
    struct json_object *declared_xstreams;
};

/* What an instance wants from a layout, before it is completed. NULL pools: not said. */
struct mg_layout_wishes {
    struct mg_pool *progress_pool;
    struct mg_pool *rpc_pool;
    bool use_progress_thread;
    int64_t rpc_thread_count;
    bool external_primary; /* Argobots was running before: __primary__ exists, is not ours, and is not declared */
};

/* Completes a layout: __primary__, the pools and ESs of the two shortcuts, a server for every pool. On success
 * wishes->progress_pool and ->rpc_pool are set. */
int mg_layout_complete(struct mg_layout *layout, struct mg_layout_wishes *wishes, struct dango_error *err);

/* Says, once per finding, what in a complete layout may starve or delay work. */
void mg_layout_warn(const struct mg_layout *layout, const struct mg_pool *progress_pool,
                    void (*warn)(void *arg, const char *text), void *arg);

/* Whether some ES has `pool` in its scheduler. */
bool mg_layout_pool_is_served(const struct mg_layout *layout, const struct mg_pool *pool);

/* New entries at the end of the lists, with the given name or, if NULL, a generated one. NULL on error. */
struct mg_pool *mg_layout_add_pool(struct mg_layout *layout, const char *name, int kind, int access,
                                   struct dango_error *err);
struct mg_xstream *mg_layout_add_xstream(struct mg_layout *layout, const char *name, int sched,
                                         struct dango_error *err);
int mg_xstream_add_pool(struct mg_xstream *xstream, struct mg_pool *pool, struct dango_error *err);

/* Takes an entry off its list and frees it. */
void mg_layout_drop_pool(struct mg_layout *layout, struct mg_pool *pool);
void mg_layout_drop_xstream(struct mg_layout *layout, struct mg_xstream *xstream);

/* NULL if there is none of that name. */
struct mg_pool *mg_layout_find_pool(const struct mg_layout *layout, const char *name);
struct mg_xstream *mg_layout_find_xstream(const struct mg_layout *layout, const char *name);

/* The entry that a JSON string (name) or integer (index) refers to; NULL and an error at `path` if there is none. */
struct mg_pool *mg_layout_resolve_pool(const struct mg_layout *layout, struct json_object *reference, const char *path,
                                       struct dango_error *err);
struct mg_xstream *mg_layout_resolve_xstream(const struct mg_layout *layout, struct json_object *reference,
                                             const char *path, struct dango_error *err);

/* Index of an entry that is in the list. */
uint32_t mg_layout_pool_index(const struct mg_layout *layout, const struct mg_pool *pool);
uint32_t mg_layout_xstream_index(const struct mg_layout *layout, const struct mg_xstream *xstream);

/* How a pool is referred to in output: its name or its index. */
struct json_object *mg_layout_pool_reference(const struct mg_layout *layout, const struct mg_pool *pool, bool by_name);

/* Effective configuration of one entry. */
struct json_object *mg_pool_dump(const struct mg_pool *pool);
struct json_object *mg_xstream_dump(const struct mg_layout *layout, const struct mg_xstream *xstream, bool by_name);

/* Frees all entries; handles must have been dealt with. The layout is empty afterwards. */
void mg_layout_clear(struct mg_layout *layout);

#endif
