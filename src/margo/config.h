/*
 * The "margo" section of a configuration: option tables, and reading of a whole document.
 *
 * mg_config_parse checks everything that can be checked without side effects and leaves the settings and the layout as
 * declared; mg_layout_complete then expands it. Unknown fields are errors. Messages begin with the path of the fault
 * below `path`.
 */
#ifndef DANGO_MARGO_CONFIG_H
#define DANGO_MARGO_CONFIG_H

#include "margo/layout.h"

#include <dango/options.h>

struct mg_mercury_options {
    char *address; /* of this endpoint, once it runs; ignored in a document, as the next four */
    char *version;
    bool listening;
    int64_t input_eager_size;
    int64_t output_eager_size;
    int64_t request_post_init;
    int64_t request_post_incr;
    bool auto_sm;
    bool no_bulk_eager;
    bool no_loopback;
    bool stats;
    bool na_no_block;
    bool na_no_retry;
    int64_t max_contexts;
    char *ip_subnet;
    char *auth_key;
    int log_level;
    char *log_subsys;
    int64_t na_max_unexpected_size;
    int64_t na_max_expected_size;
    char *sm_info_string;
    bool na_request_mem_device;
    int checksum_level;
    int na_addr_format;
};

struct mg_argobots_options {
    int64_t mem_max_num_stacks;
    int64_t thread_stacksize;
    bool lazy_stack_alloc;
    char *profiling_dir;
    struct json_object *pools;
    struct json_object *xstreams;
};

struct mg_plumber_options {
    char *bucket_policy;
    char *nic_policy;
};

struct mg_options {
    char *version;
    struct mg_argobots_options argobots;
    struct mg_mercury_options mercury;
    struct mg_plumber_options plumber;
    struct json_object *monitoring;
    int64_t progress_timeout_ub_msec;
    int64_t progress_spindown_msec;
    int64_t handle_cache_size;
    bool enable_abt_profiling;
    bool use_progress_thread;
    int64_t rpc_thread_count;
    struct json_object *progress_pool;
    struct json_object *rpc_pool;
};

/* The value of progress_timeout_ub_msec that means "no bound of the user's": every event ends a sleep by itself. */
#define MG_PROGRESS_TIMEOUT_DEFAULT_MS 100

/* The value of abt_mem_max_num_stacks that leaves the number to Argobots. */
#define MG_MAX_NUM_STACKS_DEFAULT 8

struct mg_config {
    struct mg_options options;
    struct mg_layout layout;
    struct mg_pool *progress_pool; /* as the document names it; NULL: not said, or the implicit __primary__ */
    struct mg_pool *rpc_pool;
};

/* `json` NULL: {}. `config` must be zeroed; on failure there is nothing to release. With `secondary`, the document of
 * an instance that shares pools and ESs: it has no layout, and its references are left to be resolved by the caller. */
int mg_config_parse(struct json_object *json, const char *path, bool secondary, struct mg_config *config,
                    struct dango_error *err);
void mg_config_release(struct mg_config *config);

/* The error for a document that declares __primary__ although the program has started Argobots itself. */
int mg_config_refuse_primary(const struct mg_config *config, const char *path, struct dango_error *err);

/* One entry of argobots.pools or .xstreams, added to the end of `layout`; NULL on error. References may be to any pool
 * of the layout. */
struct mg_pool *mg_config_parse_pool(struct json_object *json, const char *path, struct mg_layout *layout,
                                     struct dango_error *err);
struct mg_xstream *mg_config_parse_xstream(struct json_object *json, const char *path, struct mg_layout *layout,
                                           struct dango_error *err);

/* Names of choices, as in documents; "external" for what was not created from one. */
const char *mg_pool_kind_name(int kind);
const char *mg_pool_access_name(int access);
const char *mg_sched_type_name(int type);

#endif
