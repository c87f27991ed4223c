/*
 * Backend "leveldb": a directory of LevelDB, through its C API. The functions are those of lsm.h; here are the options.
 *
 * Durability: a request is in LevelDB's log file before it is acknowledged, so that the end of the process, however it
 * comes, loses nothing. The end of the machine can lose what the kernel had not written yet, unless write_options.sync.
 * A directory that is closed in order is synced.
 */
#include <leveldb/c.h>

#define LSM(name) leveldb_##name
#define LSM_TITLE "LevelDB"
#include "yokan/plugins/lsm.h"

struct read_settings {
    bool verify_checksums, fill_cache;
};

struct write_settings {
    bool sync, use_write_batch;
};

struct settings {
    struct yokan_common_settings common;
    char *path;
    bool create_if_missing, error_if_exists, paranoid_checks, reuse_logs, compression, disable_doc_mutex;
    int64_t write_buffer_size, max_open_files, block_size, block_restart_interval, max_file_size;
    struct read_settings read;
    struct write_settings write;
};

static const struct dango_option read_table[] = {
    DANGO_OPTION_BOOL("verify_checksums", struct read_settings, verify_checksums, false,
                      "check blocks when they are read"),
    DANGO_OPTION_BOOL("fill_cache", struct read_settings, fill_cache, true,
                      "keep blocks in the cache when they are read"),
    DANGO_OPTION_END,
};

static const struct dango_option write_table[] = {
    DANGO_OPTION_BOOL("sync", struct write_settings, sync, false,
                      "acknowledge a write when it is on the disk: safe against power loss"),
    DANGO_OPTION_BOOL("use_write_batch", struct write_settings, use_write_batch, true,
                      "accepted; the pairs of a request are one atomic batch in any case"),
    DANGO_OPTION_END,
};

static const struct dango_option table[] = {
    DANGO_OPTION_STRING_REQUIRED("path", struct settings, path, "directory of the database"),
    DANGO_OPTION_BOOL("create_if_missing", struct settings, create_if_missing, true,
                      "create the database, and its directory, if there is none"),
    DANGO_OPTION_BOOL("error_if_exists", struct settings, error_if_exists, false,
                      "fail if there is a database already"),
    DANGO_OPTION_BOOL("paranoid_checks", struct settings, paranoid_checks, false,
                      "check more, and stop at the first damage"),
    DANGO_OPTION_INT("write_buffer_size", struct settings, write_buffer_size, 4194304, 65536, 1 << 30,
                     "bytes kept in memory before a file is written"),
    DANGO_OPTION_INT("max_open_files", struct settings, max_open_files, 1000, 74, 50000, "files kept open"),
    DANGO_OPTION_INT("block_size", struct settings, block_size, 4096, 1024, 4 << 20, "bytes of a block"),
    DANGO_OPTION_INT("block_restart_interval", struct settings, block_restart_interval, 16, 1, INT32_MAX,
                     "keys between two that are stored in full"),
    DANGO_OPTION_INT("max_file_size", struct settings, max_file_size, 2097152, 1 << 20, 1 << 30, "bytes of a file"),
    DANGO_OPTION_BOOL("reuse_logs", struct settings, reuse_logs, false, "only false"),
    DANGO_OPTION_BOOL("compression", struct settings, compression, true, "compress blocks with snappy"),
    DANGO_OPTION_OBJECT("read_options", struct settings, read, read_table, "how values are read"),
    DANGO_OPTION_OBJECT("write_options", struct settings, write, write_table, "how values are written"),
    DANGO_OPTION_BOOL("disable_doc_mutex", struct settings, disable_doc_mutex, false, "accepted, without effect"),
    YOKAN_COMMON_OPTIONS,
    DANGO_OPTION_END,
};

static lsm_reading *lsm_read_options(const void *settings)
{
    const struct read_settings *s = &((const struct settings *)settings)->read;
    leveldb_readoptions_t *options = leveldb_readoptions_create();
    leveldb_readoptions_set_verify_checksums(options, s->verify_checksums);
    leveldb_readoptions_set_fill_cache(options, s->fill_cache);
    return options;
}

static leveldb_options_t *database_options(const struct settings *s)
{
    leveldb_options_t *options = leveldb_options_create();
    leveldb_options_set_create_if_missing(options, s->create_if_missing);
    leveldb_options_set_error_if_exists(options, s->error_if_exists);
    leveldb_options_set_paranoid_checks(options, s->paranoid_checks);
    leveldb_options_set_write_buffer_size(options, (size_t)s->write_buffer_size);
    leveldb_options_set_max_open_files(options, (int)s->max_open_files);
    leveldb_options_set_block_size(options, (size_t)s->block_size);
    leveldb_options_set_block_restart_interval(options, (int)s->block_restart_interval);
    leveldb_options_set_max_file_size(options, (size_t)s->max_file_size);
    leveldb_options_set_compression(options, s->compression ? leveldb_snappy_compression : leveldb_no_compression);
    return options;
}

static yk_return_t open_database(const void *settings, void **db, struct dango_error *err)
{
    assert(settings && db);
    const struct settings *s = settings;
    if (s->reuse_logs) {
        dango_error_set(err, DANGO_ERR_UNSUPPORTED, "reuse_logs: only the default is possible here; leave it out");
        return YOKAN_ERR_INVALID_CONFIG;
    }
    struct yokan_directory_request request = {s->path, "leveldb", s->create_if_missing, s->error_if_exists};
    leveldb_options_t *options = database_options(s);
    leveldb_writeoptions_t *write = leveldb_writeoptions_create();
    leveldb_writeoptions_set_sync(write, s->write.sync);
    yk_return_t ret = lsm_open(&request, s, options, write, db, err);
    leveldb_options_destroy(options);
    return ret;
}

const struct yokan_backend dango_yokan_backend = {
    LSM_BACKEND, .type = "leveldb", .options = table, .settings_size = sizeof(struct settings), .open = open_database,
};
