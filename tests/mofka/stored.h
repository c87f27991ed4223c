/*
 * A partition on a log in a temporary directory, with an I/O whose n-th write or sync fails. Its writer runs when the test
 * says so.
 */
#ifndef DANGO_TESTS_MOFKA_STORED_H
#define DANGO_TESTS_MOFKA_STORED_H

#include "tests/support/test.h"

#include "mofka/partition/options.h"
#include "mofka/partition/partition.h"

#include <errno.h>
#include <json-c/json.h>
#include <stdlib.h>

struct stored_fixture {
    char base[64], directory[192];
    struct mofka_default_options options;
    struct mofka_partition *partition;
    struct mofka_log_report report;
    struct mofka_log_io io;
    unsigned writes, syncs, grown;
    unsigned fail_write, fail_sync; /* the number of the one that fails; 0: none */
    void (*during_write)(void);     /* called once */
    void (*during_sync)(void);      /* called once */
    void (*body)(void *argument);   /* the writer or helper that is to run */
    void *argument;
    uint64_t help_bytes;
    int64_t slept_ms;           /* by the writer, in all */
    void (*during_sleep)(void); /* called once */
};

static inline ssize_t stored_pwritev(void *arg, int fd, const struct iovec *iov, int count, off_t offset)
{
    struct stored_fixture *fixture = arg;
    void (*during_write)(void) = fixture->during_write;
    fixture->during_write = NULL;
    if (during_write)
        during_write();
    if (++fixture->writes == fixture->fail_write) {
        /* Half of it arrives, as on a full medium. */
        struct iovec half = {iov[0].iov_base, iov[0].iov_len / 2};
        mofka_log_system_io.pwritev(NULL, fd, &half, 1, offset);
        return -ENOSPC;
    }
    return mofka_log_system_io.pwritev(NULL, fd, iov, count, offset);
}

static inline int stored_fdatasync(void *arg, int fd)
{
    struct stored_fixture *fixture = arg;
    void (*during_sync)(void) = fixture->during_sync;
    fixture->during_sync = NULL;
    if (during_sync)
        during_sync();
    (void)fd;
    return ++fixture->syncs == fixture->fail_sync ? -EIO : 0;
}

static inline int stored_defer(void *arg, void (*body)(void *argument), void *argument)
{
    struct stored_fixture *fixture = arg;
    assert_null(fixture->body);
    fixture->body = body;
    fixture->argument = argument;
    return 0;
}

static inline void stored_sleep(void *arg, int64_t timeout_ms)
{
    struct stored_fixture *fixture = arg;
    void (*during_sleep)(void) = fixture->during_sleep;
    fixture->during_sleep = NULL;
    fixture->slept_ms += timeout_ms;
    if (during_sleep)
        during_sleep();
}

/* Changes the option `sync` to that JSON text; before the partition is opened. */
static inline void stored_set_sync(struct stored_fixture *fixture, const char *text)
{
    json_object_put(fixture->options.sync);
    fixture->options.sync = json_tokener_parse(text);
}

static inline void stored_grown(void *arg)
{
    ((struct stored_fixture *)arg)->grown++;
}

/* Runs the writer if it was started. */
static inline void stored_run(struct stored_fixture *fixture)
{
    void (*body)(void *argument) = fixture->body;
    fixture->body = NULL;
    if (body)
        body(fixture->argument);
}

static inline void stored_open(struct stored_fixture *fixture)
{
    struct dango_error err = {0};
    struct mofka_partition_settings settings = {.uuid = {9}, .grown = stored_grown, .arg = fixture};
    struct mofka_stored_settings stored = {.topic = "t",
                                           .options = &fixture->options,
                                           .io = &fixture->io,
                                           .run = stored_defer,
                                           .sleep = stored_sleep,
                                           .run_arg = fixture,
                                           .help_bytes = fixture->help_bytes};
    fixture->io = (struct mofka_log_io){.pwritev = stored_pwritev, .fdatasync = stored_fdatasync, .arg = fixture};
    fixture->grown = 0;
    dango_mofka_partition_open(&settings, &stored, &fixture->partition, &fixture->report, &err);
    assert_string_equal(err.text, "");
}

static inline void stored_close(struct stored_fixture *fixture)
{
    dango_mofka_partition_destroy(fixture->partition);
}

static inline void stored_setup(struct stored_fixture *fixture)
{
    *fixture = (struct stored_fixture){.base = "/tmp/dango-stored-XXXXXX"};
    assert_non_null(mkdtemp(fixture->base));
    snprintf(fixture->directory, sizeof fixture->directory, "%s/t-09000000-0000-0000-0000-000000000000", fixture->base);
    struct json_object *json = json_object_new_object();
    json_object_object_add(json, "path", json_object_new_string(fixture->base));
    assert_int_equal(dango_options_parse(dango_mofka_default_options, json, "", &fixture->options, NULL), 0);
    json_object_put(json);
    stored_open(fixture);
}

static inline void stored_teardown(struct stored_fixture *fixture)
{
    char command[128];
    stored_close(fixture);
    dango_options_release(dango_mofka_default_options, &fixture->options);
    snprintf(command, sizeof command, "rm -rf %s", fixture->base);
    assert_int_equal(system(command), 0);
}

#endif
