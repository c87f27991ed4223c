/*
 * Reading the "margo" section: the option tables, and what tables cannot express (names, references, the rules about
 * __primary__).
 *
 * While a document is read, the layout knows its arrays, so that a generated name never takes one that a later entry
 * declares.
 */
#include "margo/config.h"
#include "margo/dango_margo.h"

#include "util/json.h"

#include <assert.h>
#include <ctype.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#define MG_PATH_MAX 256

/* One entry each, as the tables read it. */
struct pool_entry {
    char *name;
    int kind;
    int access;
};

struct sched_entry {
    int type;
    struct json_object *pools;
};

struct xstream_entry {
    char *name;
    struct sched_entry scheduler;
    int64_t cpubind;
    struct json_object *affinity;
};

static const char *const pool_kinds[] = {"fifo", "fifo_wait", "prio_wait", "earliest_first", NULL};
static const char *const pool_accesses[] = {"private", "spsc", "mpsc", "spmc", "mpmc", NULL};
static const char *const sched_types[] = {"default", "basic", "prio", "randws", "basic_wait", NULL};
static const char *const checksum_levels[] = {"none", "rpc_headers", "rpc_payload", NULL};
static const char *const addr_formats[] = {"unspec", "ipv4", "ipv6", "native", NULL};
static const char *const log_levels[] = {"none", "error", "warning", "info", "debug", NULL};

const struct dango_option dango_margo_pool_options[] = {
    DANGO_OPTION_STRING("name", struct pool_entry, name, NULL, "identifier; generated if absent"),
    DANGO_OPTION_CHOICE("kind", struct pool_entry, kind, MG_POOL_FIFO_WAIT, pool_kinds,
                        "order in which threads run: arrival; started ones first; oldest first"),
    DANGO_OPTION_CHOICE("access", struct pool_entry, access, ABT_POOL_ACCESS_MPMC, pool_accesses,
                        "promise about producers and consumers; every value is safe"),
    DANGO_OPTION_END,
};

static const struct dango_option sched_options[] = {
    DANGO_OPTION_CHOICE("type", struct sched_entry, type, MG_SCHED_BASIC_WAIT, sched_types,
                        "how the stream picks from its pools; default = basic"),
    DANGO_OPTION_JSON_REQUIRED("pools", struct sched_entry, pools, DANGO_JSON_ARRAY,
                               "names or indices of at least one pool, by priority"),
    DANGO_OPTION_END,
};

const struct dango_option dango_margo_xstream_options[] = {
    DANGO_OPTION_STRING("name", struct xstream_entry, name, NULL, "identifier; generated if absent"),
    {.name = "scheduler",
     .type = DANGO_OPTION_TYPE_OBJECT,
     .offset = offsetof(struct xstream_entry, scheduler),
     .flags = DANGO_OPTION_REQUIRED,
     .nested = sched_options,
     .help = "what the stream runs"},
    DANGO_OPTION_INT("cpubind", struct xstream_entry, cpubind, -1, -1, INT_MAX, "CPU to bind to, -1 for none"),
    DANGO_OPTION_JSON("affinity", struct xstream_entry, affinity, DANGO_JSON_ARRAY, NULL, "CPUs to run on"),
    DANGO_OPTION_END,
};

static const struct dango_option argobots_options[] = {
    DANGO_OPTION_INT("abt_mem_max_num_stacks", struct mg_argobots_options, mem_max_num_stacks,
                     MG_MAX_NUM_STACKS_DEFAULT, 0, INT64_MAX,
                     "stacks kept for reuse, 8 = as many as is good (environment ABT_MEM_MAX_NUM_STACKS wins)"),
    DANGO_OPTION_INT("abt_thread_stacksize", struct mg_argobots_options, thread_stacksize, 2097152, 0, INT64_MAX,
                     "bytes of address space per thread stack (environment ABT_THREAD_STACKSIZE wins)"),
    DANGO_OPTION_BOOL("lazy_stack_alloc", struct mg_argobots_options, lazy_stack_alloc, false,
                      "without effect: stacks take memory as they are used in any case"),
    DANGO_OPTION_STRING("profiling_dir", struct mg_argobots_options, profiling_dir, ".", "where state dumps go"),
    DANGO_OPTION_JSON("pools", struct mg_argobots_options, pools, DANGO_JSON_ARRAY, NULL, "pools to create"),
    DANGO_OPTION_JSON("xstreams", struct mg_argobots_options, xstreams, DANGO_JSON_ARRAY, NULL,
                      "execution streams to create"),
    DANGO_OPTION_END,
};

static const struct dango_option mercury_options[] = {
    DANGO_OPTION_STRING("version", struct mg_mercury_options, version, NULL, "output only"),
    DANGO_OPTION_STRING("address", struct mg_mercury_options, address, NULL, "output only"),
    DANGO_OPTION_BOOL("listening", struct mg_mercury_options, listening, false, "output only"),
    DANGO_OPTION_INT("input_eager_size", struct mg_mercury_options, input_eager_size, 0, 0, INT64_MAX, "output only"),
    DANGO_OPTION_INT("output_eager_size", struct mg_mercury_options, output_eager_size, 0, 0, INT64_MAX, "output only"),
    DANGO_OPTION_INT("request_post_init", struct mg_mercury_options, request_post_init, 256, 0, INT64_MAX,
                     "without effect: receive buffers are made on demand"),
    DANGO_OPTION_INT("request_post_incr", struct mg_mercury_options, request_post_incr, 256, 0, INT64_MAX,
                     "without effect"),
    DANGO_OPTION_BOOL("auto_sm", struct mg_mercury_options, auto_sm, false,
                      "without effect: the protocol says how processes of one node talk"),
    DANGO_OPTION_BOOL("no_bulk_eager", struct mg_mercury_options, no_bulk_eager, false,
                      "never embed small bulk data in a message"),
    DANGO_OPTION_BOOL("no_loopback", struct mg_mercury_options, no_loopback, false, "forbid calls to self"),
    DANGO_OPTION_BOOL("stats", struct mg_mercury_options, stats, false, "without effect"),
    DANGO_OPTION_BOOL("na_no_block", struct mg_mercury_options, na_no_block, false, "poll instead of sleeping"),
    DANGO_OPTION_BOOL("na_no_retry", struct mg_mercury_options, na_no_retry, false,
                      "without effect: what finds no room is always sent later"),
    DANGO_OPTION_INT("max_contexts", struct mg_mercury_options, max_contexts, 0, 0, 255, "contexts, 0 = default"),
    DANGO_OPTION_STRING("ip_subnet", struct mg_mercury_options, ip_subnet, NULL, "prefer a NIC in this subnet"),
    DANGO_OPTION_STRING("auth_key", struct mg_mercury_options, auth_key, NULL,
                        "without effect: nobody has to show a key"),
    DANGO_OPTION_CHOICE("log_level", struct mg_mercury_options, log_level, 2, log_levels,
                        "without effect: messages follow the level of the process"),
    DANGO_OPTION_STRING("log_subsys", struct mg_mercury_options, log_subsys, "hg,na", "without effect"),
    DANGO_OPTION_INT("na_max_unexpected_size", struct mg_mercury_options, na_max_unexpected_size, 0, 0, INT64_MAX,
                     "bytes of input or output that one message carries, 0 = as many as fit"),
    DANGO_OPTION_INT("na_max_expected_size", struct mg_mercury_options, na_max_expected_size, 0, 0, INT64_MAX,
                     "without effect: na_max_unexpected_size counts for both"),
    DANGO_OPTION_STRING("sm_info_string", struct mg_mercury_options, sm_info_string, NULL,
                        "without effect, as auto_sm"),
    DANGO_OPTION_BOOL("na_request_mem_device", struct mg_mercury_options, na_request_mem_device, false,
                      "without effect: only host memory is supported"),
    DANGO_OPTION_CHOICE("checksum_level", struct mg_mercury_options, checksum_level, 0, checksum_levels,
                        "without effect: the checks of the transports have to do"),
    DANGO_OPTION_CHOICE("na_addr_format", struct mg_mercury_options, na_addr_format, 0, addr_formats, "address family"),
    DANGO_OPTION_END,
};

static const struct dango_option plumber_options[] = {
    DANGO_OPTION_STRING("bucket_policy", struct mg_plumber_options, bucket_policy, "package", "without effect"),
    DANGO_OPTION_STRING("nic_policy", struct mg_plumber_options, nic_policy, "roundrobin", "without effect"),
    DANGO_OPTION_END,
};

const struct dango_option dango_margo_options[] = {
    DANGO_OPTION_STRING("version", struct mg_options, version, NULL, "output only"),
    DANGO_OPTION_OBJECT("argobots", struct mg_options, argobots, argobots_options, "pools and execution streams"),
    DANGO_OPTION_OBJECT("mercury", struct mg_options, mercury, mercury_options, "network"),
    DANGO_OPTION_OBJECT("plumber", struct mg_options, plumber, plumber_options,
                        "choice of NIC on Slingshot: libfabric chooses"),
    DANGO_OPTION_JSON("monitoring", struct mg_options, monitoring, DANGO_JSON_OBJECT, NULL,
                      "without effect: there are no monitors"),
    DANGO_OPTION_INT("progress_timeout_ub_msec", struct mg_options, progress_timeout_ub_msec,
                     MG_PROGRESS_TIMEOUT_DEFAULT_MS, 0, INT64_MAX,
                     "longest sleep of the progress loop; 0 = never sleep, 100 = until something happens"),
    DANGO_OPTION_INT("progress_spindown_msec", struct mg_options, progress_spindown_msec, 10, 0, INT64_MAX,
                     "longest time the progress loop polls after the last activity before it sleeps"),
    DANGO_OPTION_INT("handle_cache_size", struct mg_options, handle_cache_size, 256, 0, INT64_MAX,
                     "without effect: all RPC handles are reused"),
    DANGO_OPTION_BOOL("enable_abt_profiling", struct mg_options, enable_abt_profiling, false, "without effect"),
    DANGO_OPTION_BOOL("use_progress_thread", struct mg_options, use_progress_thread, false,
                      "give the progress loop a pool and an execution stream of its own"),
    DANGO_OPTION_INT("rpc_thread_count", struct mg_options, rpc_thread_count, 0, INT_MIN, MG_XSTREAMS_MAX,
                     "execution streams for handlers; 0: use __primary__, negative: the progress pool"),
    DANGO_OPTION_JSON("progress_pool", struct mg_options, progress_pool, DANGO_JSON_STRING | DANGO_JSON_INT, NULL,
                      "pool of the progress loop, by name or index"),
    DANGO_OPTION_JSON("rpc_pool", struct mg_options, rpc_pool, DANGO_JSON_STRING | DANGO_JSON_INT, NULL,
                      "pool of handlers by default, by name or index"),
    DANGO_OPTION_END,
};

const char *mg_pool_kind_name(int kind)
{
    return kind == MG_POOL_EXTERNAL ? "external" : pool_kinds[kind];
}

const char *mg_pool_access_name(int access)
{
    return pool_accesses[access];
}

const char *mg_sched_type_name(int type)
{
    return type == MG_SCHED_EXTERNAL ? "external" : sched_types[type];
}

/* ---- names ---- */

static bool is_identifier(const char *name)
{
    if (!isalpha((unsigned char)name[0]) && name[0] != '_')
        return false;
    for (const char *c = name; *c; c++) {
        if (!isalnum((unsigned char)*c) && *c != '_')
            return false;
    }
    return true;
}

static int check_name(const char *name, bool taken, const char *path, struct dango_error *err)
{
    if (name && !is_identifier(name))
        return dango_error_set(err, DANGO_ERR_INVALID,
                               "%s.name: \"%s\" is not a valid identifier (letters, digits and '_', no digit first)",
                               path, name);
    if (taken)
        return dango_error_set(err, DANGO_ERR_EXISTS, "%s.name: \"%s\" is already used", path, name);
    return 0;
}

/* ---- entries ---- */

struct mg_pool *mg_config_parse_pool(struct json_object *json, const char *path, struct mg_layout *layout,
                                     struct dango_error *err)
{
    const char *kind = dango_json_get_string(json, "kind");
    if (kind && strcmp(kind, "external") == 0) {
        dango_error_set(err, DANGO_ERR_INVALID, "%s.kind: \"external\" pools cannot be created from a configuration",
                        path);
        return NULL;
    }
    struct pool_entry entry = {0};
    struct mg_pool *pool = NULL;
    if (dango_options_parse(dango_margo_pool_options, json, path, &entry, err) != 0)
        return NULL;
    bool taken = entry.name && mg_layout_find_pool(layout, entry.name);
    if (check_name(entry.name, taken, path, err) == 0)
        pool = mg_layout_add_pool(layout, entry.name, entry.kind, entry.access, err);
    dango_options_release(dango_margo_pool_options, &entry);
    return pool;
}

static int parse_sched_pools(struct json_object *array, const char *path, const struct mg_layout *layout,
                             struct mg_xstream *xstream, struct dango_error *err)
{
    size_t count = json_object_array_length(array);
    if (count == 0)
        return dango_error_set(err, DANGO_ERR_INVALID, "%s.scheduler.pools: at least one pool is required", path);
    for (size_t i = 0; i < count; i++) {
        char place[MG_PATH_MAX];
        snprintf(place, sizeof place, "%s.scheduler.pools[%zu]", path, i);
        struct mg_pool *pool = mg_layout_resolve_pool(layout, json_object_array_get_idx(array, i), place, err);
        if (!pool)
            return DANGO_ERR_INVALID;
        for (size_t j = 0; j < xstream->num_pools; j++) {
            if (xstream->pools[j] == pool)
                return dango_error_set(err, DANGO_ERR_INVALID, "%s: pool \"%s\" is listed twice", place, pool->name);
        }
        if (mg_xstream_add_pool(xstream, pool, err) != 0)
            return dango_error_prefix(err, "%s", place);
    }
    return 0;
}

static int parse_affinity(struct json_object *array, const char *path, struct mg_xstream *xstream,
                          struct dango_error *err)
{
    size_t count = array ? json_object_array_length(array) : 0;
    if (count == 0)
        return 0;
    xstream->affinity = calloc(count, sizeof *xstream->affinity);
    if (!xstream->affinity)
        return dango_error_set(err, DANGO_ERR_NO_MEMORY, "%s.affinity: out of memory", path);
    for (size_t i = 0; i < count; i++) {
        struct json_object *cpu = json_object_array_get_idx(array, i);
        if (!json_object_is_type(cpu, json_type_int))
            return dango_error_set(err, DANGO_ERR_INVALID, "%s.affinity[%zu]: expected an integer, got %s", path, i,
                                   dango_json_kind(cpu));
        int64_t value = json_object_get_int64(cpu);
        if (value < 0 || value > INT_MAX)
            return dango_error_set(err, DANGO_ERR_RANGE, "%s.affinity[%zu]: no such CPU", path, i);
        xstream->affinity[xstream->num_affinity++] = (int)value;
    }
    return 0;
}

struct mg_xstream *mg_config_parse_xstream(struct json_object *json, const char *path, struct mg_layout *layout,
                                           struct dango_error *err)
{
    struct xstream_entry entry = {0};
    struct mg_xstream *xstream = NULL;
    if (dango_options_parse(dango_margo_xstream_options, json, path, &entry, err) != 0)
        return NULL;
    bool taken = entry.name && mg_layout_find_xstream(layout, entry.name);
    if (check_name(entry.name, taken, path, err) == 0)
        xstream = mg_layout_add_xstream(layout, entry.name, entry.scheduler.type, err);
    if (xstream) {
        xstream->cpubind = (int)entry.cpubind;
        if (parse_sched_pools(entry.scheduler.pools, path, layout, xstream, err) != 0 ||
            parse_affinity(entry.affinity, path, xstream, err) != 0) {
            mg_layout_drop_xstream(layout, xstream);
            xstream = NULL;
        }
    }
    dango_options_release(dango_margo_xstream_options, &entry);
    return xstream;
}

/* ---- the document ---- */

static int parse_pools(struct json_object *array, const char *path, struct mg_layout *layout, struct dango_error *err)
{
    for (size_t i = 0; array && i < json_object_array_length(array); i++) {
        char place[MG_PATH_MAX];
        snprintf(place, sizeof place, "%s.argobots.pools[%zu]", path, i);
        if (!mg_config_parse_pool(json_object_array_get_idx(array, i), place, layout, err))
            return DANGO_ERR_INVALID;
    }
    return 0;
}

static int parse_xstreams(struct json_object *array, const char *path, struct mg_layout *layout,
                          struct dango_error *err)
{
    for (size_t i = 0; array && i < json_object_array_length(array); i++) {
        char place[MG_PATH_MAX];
        snprintf(place, sizeof place, "%s.argobots.xstreams[%zu]", path, i);
        if (!mg_config_parse_xstream(json_object_array_get_idx(array, i), place, layout, err))
            return DANGO_ERR_INVALID;
    }
    return 0;
}

static int check_primary(const struct mg_layout *layout, const char *path, struct dango_error *err)
{
    const struct mg_xstream *xstream = mg_layout_find_xstream(layout, MG_PRIMARY);
    const struct mg_pool *pool = mg_layout_find_pool(layout, MG_PRIMARY);
    if (xstream && !pool)
        return dango_error_set(
            err, DANGO_ERR_INVALID,
            "%s.argobots.xstreams: \"" MG_PRIMARY "\" needs a declared pool named \"" MG_PRIMARY "\"", path);
    if (xstream && xstream->pools[0] != pool)
        return dango_error_set(err, DANGO_ERR_INVALID,
                               "%s.argobots.xstreams[%u].scheduler.pools: pool \"" MG_PRIMARY
                               "\" must be the first pool of xstream \"" MG_PRIMARY "\"",
                               path, (unsigned)mg_layout_xstream_index(layout, xstream));
    return 0;
}

/* __primary__ may be named although it is not declared: NULL then stands for it. */
static int resolve_wish(struct json_object *reference, const char *path, const char *field,
                        const struct mg_layout *layout, struct mg_pool **pool, struct dango_error *err)
{
    *pool = NULL;
    if (!reference)
        return 0;
    bool by_name = json_object_is_type(reference, json_type_string);
    if (by_name && strcmp(json_object_get_string(reference), MG_PRIMARY) == 0 &&
        !mg_layout_find_pool(layout, MG_PRIMARY))
        return 0;
    char place[MG_PATH_MAX];
    snprintf(place, sizeof place, "%s.%s", path, field);
    *pool = mg_layout_resolve_pool(layout, reference, place, err);
    return *pool ? 0 : DANGO_ERR_INVALID;
}

static int parse_layout(const char *path, struct mg_config *config, struct dango_error *err)
{
    const struct mg_options *options = &config->options;
    struct mg_layout *layout = &config->layout;
    layout->declared_pools = options->argobots.pools;
    layout->declared_xstreams = options->argobots.xstreams;
    int status = parse_pools(options->argobots.pools, path, layout, err);
    if (status == 0)
        status = parse_xstreams(options->argobots.xstreams, path, layout, err);
    layout->declared_pools = layout->declared_xstreams = NULL;
    if (status == 0)
        status = check_primary(layout, path, err);
    if (status == 0)
        status = resolve_wish(options->progress_pool, path, "progress_pool", layout, &config->progress_pool, err);
    if (status == 0)
        status = resolve_wish(options->rpc_pool, path, "rpc_pool", layout, &config->rpc_pool, err);
    return status;
}

static int forbid_in_secondary(struct json_object *json, const char *path, struct dango_error *err)
{
    static const char *const fields[] = {"argobots", "use_progress_thread", "rpc_thread_count"};
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
        if (dango_json_get(json, fields[i]))
            return dango_error_set(err, DANGO_ERR_INVALID, "%s.%s: not allowed in a secondary instance", path,
                                   fields[i]);
    }
    return 0;
}

int mg_config_parse(struct json_object *json, const char *path, bool secondary, struct mg_config *config,
                    struct dango_error *err)
{
    assert(path && config && !config->layout.pools);
    int status = dango_options_parse(dango_margo_options, json, path, &config->options, err);
    if (status != 0)
        return status;
    status = secondary ? forbid_in_secondary(json, path, err) : parse_layout(path, config, err);
    if (status != 0)
        mg_config_release(config);
    return status;
}

void mg_config_release(struct mg_config *config)
{
    mg_layout_clear(&config->layout);
    dango_options_release(dango_margo_options, &config->options);
    config->progress_pool = config->rpc_pool = NULL;
}

int mg_config_refuse_primary(const struct mg_config *config, const char *path, struct dango_error *err)
{
    bool pool = mg_layout_find_pool(&config->layout, MG_PRIMARY);
    if (!pool && !mg_layout_find_xstream(&config->layout, MG_PRIMARY))
        return 0;
    return dango_error_set(err, DANGO_ERR_EXISTS,
                           "%s.argobots.%s: \"" MG_PRIMARY
                           "\" cannot be declared: Argobots was initialised by the program",
                           path, pool ? "pools" : "xstreams");
}

int dango_margo_check_config(struct json_object *config, const char *path, bool secondary, struct dango_error *err)
{
    struct mg_config parsed = {0};
    int status = mg_config_parse(config, path, secondary, &parsed, err);
    if (status == 0)
        mg_config_release(&parsed);
    return status;
}
