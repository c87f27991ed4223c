/*
 * The backend under test: "map", or what YOKAN_TEST_BACKEND names. A persistent one gets a new directory for each
 * database, below one that the first process of the test makes and removes at its end.
 */
#ifndef TESTS_YOKAN_BACKENDS_H
#define TESTS_YOKAN_BACKENDS_H

#include "tests/support/test.h"

#include <ftw.h>
#include <stdbool.h>
#include <unistd.h>

#define TEST_ROOT "YOKAN_TEST_ROOT" /* tells child processes of the directory */

static inline const char *test_backend(void)
{
    const char *type = getenv("YOKAN_TEST_BACKEND");
    return type ? type : "map";
}

static inline bool test_backend_is(const char *type)
{
    return strcmp(test_backend(), type) == 0;
}

static inline int remove_entry(const char *path, const struct stat *status, int kind, struct FTW *ftw)
{
    (void)status;
    (void)kind;
    (void)ftw;
    return remove(path);
}

static inline void remove_test_root(void)
{
    nftw(getenv(TEST_ROOT), remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

static inline const char *test_root(void)
{
    if (!getenv(TEST_ROOT)) {
        const char *parent = getenv("TMPDIR");
        char path[256];
        snprintf(path, sizeof path, "%s/yokan-test-XXXXXX", parent ? parent : "/tmp");
        assert_non_null(mkdtemp(path));
        setenv(TEST_ROOT, path, 1);
        atexit(remove_test_root);
    }
    return getenv(TEST_ROOT);
}

/* "type" and "config" of a new database; valid until the next call. LMDB need not sync: nothing here cuts the power. */
static inline const char *new_database_config(void)
{
    static char config[512];
    static int number;
    if (test_backend_is("map"))
        return "{\"type\":\"map\"}";
    snprintf(config, sizeof config, "{\"type\":\"%s\",\"config\":{\"path\":\"%s/%d-%d\"%s}}", test_backend(),
             test_root(), (int)getpid(), number++, test_backend_is("lmdb") ? ",\"sync\":false" : "");
    return config;
}

#endif
