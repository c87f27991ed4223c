/*
 * Backend "rocksdb": a directory of RocksDB, through its C API. The functions are those of lsm.h; here are the options.
 *
 * Options of the database have RocksDB's own names and go to it as text ("name=value;…"), which spares one setter call
 * each and lets RocksDB check their values. What its C API cannot set is refused when it is not the default.
 *
 * Durability: a request is in the log file of RocksDB before it is acknowledged, so that the end of the process, however
 * it comes, loses nothing (unless write_options.disableWAL). The end of the machine can lose what the kernel had not
 * written yet, unless write_options.sync. A directory that is closed in order is synced.
 */
#include <rocksdb/c.h>

#define LSM(name) rocksdb_##name
#define LSM_TITLE "RocksDB"
#include "yokan/plugins/lsm.h"

#include "util/json.h"

#include <inttypes.h>

/* ---- settings ---- */

/* name, default, (least, largest,) meaning */
#define NATIVE_OPTIONS(BOOL, INT, TEXT)                                                                                \
    BOOL(create_if_missing, true, "create the database, and its directory, if there is none")                          \
    BOOL(create_missing_column_families, true, "create column families that are missing")                              \
    BOOL(error_if_exists, false, "fail if there is a database already")                                                \
    BOOL(paranoid_checks, false, "check more, and stop at the first damage")                                           \
    BOOL(track_and_verify_wals_in_manifest, false, "notice log files that are missing at open")                        \
    INT(write_buffer_size, 67108864, 65536, INT64_MAX, "bytes kept in memory before a file is written")                \
    INT(max_open_files, 1000, -1, INT32_MAX, "files kept open; -1: all")                                               \
    INT(max_file_opening_threads, 16, 1, 1024, "threads that open files when the database is opened")                  \
    INT(max_total_wal_size, 0, 0, INT64_MAX, "bytes of log files that force a flush; 0: chosen by RocksDB")            \
    BOOL(use_fsync, false, "fsync instead of fdatasync")                                                               \
    TEXT(db_log_dir, "directory of RocksDB's own messages; empty: that of the database")                               \
    TEXT(wal_dir, "directory of the log files; empty: that of the database")                                           \
    INT(delete_obsolete_files_period_micros, 21600000000, 0, INT64_MAX, "how often old files are looked for")          \
    INT(max_background_jobs, 2, 1, 1024, "background compactions and flushes at a time")                               \
    INT(max_background_compactions, -1, -1, 1024, "background compactions at a time; -1: chosen by RocksDB")           \
    INT(max_subcompactions, 1, 1, 1024, "threads of one compaction")                                                   \
    INT(max_background_flushes, -1, -1, 1024, "background flushes at a time; -1: chosen by RocksDB")                   \
    INT(max_log_file_size, 0, 0, INT64_MAX, "bytes of a file of messages; 0: one file")                                \
    INT(log_file_time_to_roll, 0, 0, INT64_MAX, "seconds after which a file of messages is replaced; 0: never")        \
    INT(keep_log_file_num, 1000, 1, INT64_MAX, "files of messages kept")                                               \
    INT(recycle_log_file_num, 0, 0, INT64_MAX, "log files used again instead of deleted")                              \
    INT(max_manifest_file_size, 1073741824, 1024, INT64_MAX, "bytes of a manifest file")                               \
    INT(WAL_ttl_seconds, 0, 0, INT64_MAX, "how long old log files are archived")                                       \
    INT(WAL_size_limit_MB, 0, 0, INT64_MAX, "size of the archive of old log files")                                    \
    INT(manifest_preallocation_size, 4194304, 0, INT64_MAX, "bytes allocated ahead for a manifest file")               \
    BOOL(allow_mmap_reads, false, "map files for reading")                                                             \
    BOOL(allow_mmap_writes, false, "map files for writing")                                                            \
    BOOL(use_direct_reads, false, "read without the page cache")                                                       \
    BOOL(use_direct_io_for_flush_and_compaction, false, "write files without the page cache")                          \
    BOOL(allow_fallocate, true, "allocate space for files ahead")                                                      \
    BOOL(is_fd_close_on_exec, true, "close files in child processes")                                                  \
    INT(stats_dump_period_sec, 600, 0, UINT32_MAX, "how often statistics go to the messages; 0: never")                \
    INT(stats_persist_period_sec, 600, 0, UINT32_MAX, "how often statistics are kept; 0: never")                       \
    BOOL(persist_stats_to_disk, false, "keep statistics in the database, not in memory")                               \
    INT(stats_history_buffer_size, 1048576, 0, INT64_MAX, "bytes of statistics kept in memory")                        \
    BOOL(advise_random_on_open, true, "tell the kernel that files are read at random")                                 \
    INT(db_write_buffer_size, 0, 0, INT64_MAX, "bytes of all write buffers together; 0: no limit")                     \
    INT(compaction_readahead_size, 0, 0, INT64_MAX, "bytes read at a time by compactions")                             \
    INT(level0_file_num_compaction_trigger, 4, 1, INT32_MAX, "files of level 0 that start a compaction")               \
    INT(max_bytes_for_level_base, 268435456, 1, INT64_MAX, "bytes of level 1")                                         \
    INT(snap_refresh_nanos, 0, 0, INT64_MAX, "accepted; without effect in RocksDB since version 6")                    \
    BOOL(disable_auto_compactions, false, "compact only when asked to")

#define READ_OPTIONS(BOOL, INT)                                                                                        \
    INT(readahead_size, 0, 0, INT64_MAX, "bytes read ahead by listings; 0: chosen by RocksDB")                         \
    INT(max_skippable_internal_keys, 0, 0, INT64_MAX, "a listing that skips more fails as incomplete; 0: never")       \
    BOOL(verify_checksums, false, "check blocks when they are read")                                                   \
    BOOL(fill_cache, true, "keep blocks in the cache when they are read")                                              \
    BOOL(total_order_seek, false, "list in total order whatever the index is")                                         \
    BOOL(prefix_same_as_start, false, "list within one prefix of the prefix extractor")                                \
    BOOL(pin_data, false, "keep blocks in memory during a listing")                                                    \
    BOOL(background_purge_on_iterator_cleanup, false, "delete old files in the background after a listing")            \
    BOOL(ignore_range_deletions, false, "do not look at range deletions")

#define WRITE_OPTIONS(BOOL)                                                                                            \
    BOOL(sync, false, "acknowledge a write when it is on the disk: safe against power loss")                           \
    BOOL(ignore_missing_column_families, false, "skip writes to column families that are missing")                     \
    BOOL(no_slowdown, false, "fail a write that would have to wait")                                                   \
    BOOL(low_pri, false, "give writes a low priority")                                                                 \
    BOOL(memtable_insert_hint_per_batch, false, "speed up writes of neighbouring keys")

#define BOOL_FIELD(name, ...) bool name;
#define INT_FIELD(name, ...)  int64_t name;
#define TEXT_FIELD(name, ...) char *name;

struct native {
    NATIVE_OPTIONS(BOOL_FIELD, INT_FIELD, TEXT_FIELD)
};

struct read_settings {
    READ_OPTIONS(BOOL_FIELD, INT_FIELD)
    bool tailing, auto_prefix_mode;
    int64_t value_size_soft_limit;
};

struct write_settings {
    WRITE_OPTIONS(BOOL_FIELD)
    bool disable_wal, use_write_batch;
};

struct settings {
    struct yokan_common_settings common;
    char *path;
    struct native native;
    struct read_settings read;
    struct write_settings write;
    bool logger_redirects_to_margo;
    int info_log_level;
    struct json_object *db_paths;
};

#define READ_BOOL(name, value, help) DANGO_OPTION_BOOL(#name, struct read_settings, name, value, help),
#define READ_INT(name, value, least, most, help)                                                                       \
    DANGO_OPTION_INT(#name, struct read_settings, name, value, least, most, help),

static const struct dango_option read_table[] = {
    READ_OPTIONS(READ_BOOL, READ_INT)
        DANGO_OPTION_BOOL("tailing", struct read_settings, tailing, false, "only false: listings see one moment"),
    DANGO_OPTION_BOOL("auto_prefix_mode", struct read_settings, auto_prefix_mode, false, "only false"),
    DANGO_OPTION_INT("value_size_soft_limit", struct read_settings, value_size_soft_limit, 0, 0, INT64_MAX, "only 0"),
    DANGO_OPTION_END,
};

#define WRITE_BOOL(name, value, help) DANGO_OPTION_BOOL(#name, struct write_settings, name, value, help),

static const struct dango_option write_table[] = {
    WRITE_OPTIONS(WRITE_BOOL) DANGO_OPTION_BOOL("disableWAL", struct write_settings, disable_wal, false,
                                                "keep no log: the end of the process loses what was written last"),
    DANGO_OPTION_BOOL("use_write_batch", struct write_settings, use_write_batch, true,
                      "accepted; the pairs of a request are one atomic batch in any case"),
    DANGO_OPTION_END,
};

/* In the order of RocksDB's numbers. */
static const char *const log_levels[] = {"debug", "info", "warn", "error", "fatal", "header", NULL};

#define NATIVE_BOOL(name, value, help) DANGO_OPTION_BOOL(#name, struct settings, native.name, value, help),
#define NATIVE_INT(name, value, least, most, help)                                                                     \
    DANGO_OPTION_INT(#name, struct settings, native.name, value, least, most, help),
#define NATIVE_TEXT(name, help) DANGO_OPTION_STRING(#name, struct settings, native.name, "", help),

static const struct dango_option table[] = {
    DANGO_OPTION_STRING_REQUIRED("path", struct settings, path, "directory of the database"),
    NATIVE_OPTIONS(NATIVE_BOOL, NATIVE_INT, NATIVE_TEXT)
        DANGO_OPTION_OBJECT("read_options", struct settings, read, read_table, "how values are read"),
    DANGO_OPTION_OBJECT("write_options", struct settings, write, write_table, "how values are written"),
    DANGO_OPTION_BOOL("logger_redirects_to_margo", struct settings, logger_redirects_to_margo, false,
                      "only false: messages of RocksDB go to its file LOG"),
    DANGO_OPTION_CHOICE("info_log_level", struct settings, info_log_level, 1, log_levels,
                        "least severe messages of RocksDB that are kept"),
    DANGO_OPTION_JSON("db_paths", struct settings, db_paths, DANGO_JSON_ARRAY, "[]",
                      "directories of the data, each {\"path\", \"target_size\"}; empty: that of the database"),
    YOKAN_COMMON_OPTIONS,
    DANGO_OPTION_END,
};

/* ---- giving them to RocksDB ---- */

static lsm_reading *lsm_read_options(const void *settings)
{
    const struct read_settings *s = &((const struct settings *)settings)->read;
    rocksdb_readoptions_t *options = rocksdb_readoptions_create();
#define READ_SET_BOOL(name, ...) rocksdb_readoptions_set_##name(options, s->name);
#define READ_SET_INT(name, ...)  rocksdb_readoptions_set_##name(options, (size_t)s->name);
    READ_OPTIONS(READ_SET_BOOL, READ_SET_INT)
    return options;
}

static rocksdb_writeoptions_t *write_options(const struct write_settings *s)
{
    rocksdb_writeoptions_t *options = rocksdb_writeoptions_create();
#define WRITE_SET(name, ...) rocksdb_writeoptions_set_##name(options, s->name);
    WRITE_OPTIONS(WRITE_SET)
    rocksdb_writeoptions_disable_WAL(options, s->disable_wal);
    return options;
}

/* The native options as RocksDB's text; the caller frees it. NULL: out of memory. */
static char *native_text(const struct native *s)
{
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    if (!out)
        return NULL;
#define PRINT_BOOL(name, ...) fprintf(out, #name "=%s;", s->name ? "true" : "false");
#define PRINT_INT(name, ...)  fprintf(out, #name "=%" PRId64 ";", s->name);
#define PRINT_TEXT(name, ...)                                                                                          \
    if (*s->name)                                                                                                      \
        fprintf(out, #name "={%s};", s->name);
    NATIVE_OPTIONS(PRINT_BOOL, PRINT_INT, PRINT_TEXT)
    if (fclose(out) == 0)
        return text;
    free(text);
    return NULL;
}

static yk_return_t set_native(rocksdb_options_t *options, const struct native *s, struct dango_error *err)
{
    char *status = NULL, *text = native_text(s);
    if (!text) {
        dango_error_set(err, DANGO_ERR_NO_MEMORY, "out of memory");
        return YOKAN_ERR_ALLOCATION;
    }
    rocksdb_options_t *base = rocksdb_options_create();
    rocksdb_get_options_from_string(base, text, options, &status);
    rocksdb_options_destroy(base);
    free(text);
    if (!status)
        return YOKAN_SUCCESS;
    dango_error_set(err, DANGO_ERR_INVALID, "RocksDB refuses the options: %s", status);
    rocksdb_free(status);
    return YOKAN_ERR_INVALID_CONFIG;
}

struct data_path {
    char *path;
    int64_t target_size;
};

static const struct dango_option data_path_table[] = {
    DANGO_OPTION_STRING_REQUIRED("path", struct data_path, path, "directory"),
    DANGO_OPTION_INT("target_size", struct data_path, target_size, 0, 0, INT64_MAX, "bytes that it should hold"),
    DANGO_OPTION_END,
};

static yk_return_t set_data_paths(rocksdb_options_t *options, struct json_object *array, struct dango_error *err)
{
    size_t count = json_object_array_length(array), made = 0;
    rocksdb_dbpath_t **paths = calloc(count + 1, sizeof *paths);
    yk_return_t ret = paths ? YOKAN_SUCCESS : YOKAN_ERR_ALLOCATION;
    if (!paths)
        dango_error_set(err, DANGO_ERR_NO_MEMORY, "out of memory");
    for (size_t i = 0; i < count && ret == YOKAN_SUCCESS; i++) {
        char place[64];
        struct data_path path = {0};
        snprintf(place, sizeof place, "db_paths[%zu]", i);
        if (dango_options_parse(data_path_table, json_object_array_get_idx(array, i), place, &path, err) != 0) {
            ret = YOKAN_ERR_INVALID_CONFIG;
            break;
        }
        paths[made++] = rocksdb_dbpath_create(path.path, (uint64_t)path.target_size);
        dango_options_release(data_path_table, &path);
    }
    if (ret == YOKAN_SUCCESS && count > 0)
        rocksdb_options_set_db_paths(options, (const rocksdb_dbpath_t **)paths, count);
    for (size_t i = 0; i < made; i++)
        rocksdb_dbpath_destroy(paths[i]);
    free(paths);
    return ret;
}

/* Options of the reference that RocksDB's C API has no function for, or that break what a backend promises. */
static yk_return_t refuse_impossible(const struct settings *s, struct dango_error *err)
{
    const char *name = s->read.tailing                 ? "read_options.tailing"
                       : s->read.auto_prefix_mode      ? "read_options.auto_prefix_mode"
                       : s->read.value_size_soft_limit ? "read_options.value_size_soft_limit"
                       : s->logger_redirects_to_margo  ? "logger_redirects_to_margo"
                                                       : NULL;
    if (!name)
        return YOKAN_SUCCESS;
    dango_error_set(err, DANGO_ERR_UNSUPPORTED, "%s: only the default is possible here; leave it out", name);
    return YOKAN_ERR_INVALID_CONFIG;
}

static yk_return_t open_database(const void *settings, void **db, struct dango_error *err)
{
    assert(settings && db);
    const struct settings *s = settings;
    rocksdb_options_t *options = rocksdb_options_create();
    yk_return_t ret = refuse_impossible(s, err);
    if (ret == YOKAN_SUCCESS)
        ret = set_native(options, &s->native, err);
    if (ret == YOKAN_SUCCESS)
        ret = set_data_paths(options, s->db_paths, err);
    rocksdb_options_set_info_log_level(options, s->info_log_level);
    struct yokan_directory_request request = {s->path, "rocksdb", s->native.create_if_missing,
                                              s->native.error_if_exists};
    if (ret == YOKAN_SUCCESS)
        ret = lsm_open(&request, s, options, write_options(&s->write), db, err);
    rocksdb_options_destroy(options);
    return ret;
}

const struct yokan_backend dango_yokan_backend = {
    LSM_BACKEND, .type = "rocksdb", .options = table, .settings_size = sizeof(struct settings), .open = open_database,
};
