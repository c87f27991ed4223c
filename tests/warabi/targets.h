/*
 * What the tests of targets share: opening one, a file for it in a temporary directory, and the operations in short forms.
 */
#ifndef DANGO_TESTS_WARABI_TARGETS_H
#define DANGO_TESTS_WARABI_TARGETS_H

#include "tests/support/test.h"

#include "util/json.h"
#include "warabi/provider/store.h"

#include <abt.h>

#include <stdio.h>
#include <unistd.h>

static char test_file_directory[64], test_file_path[96];

static inline int start_argobots(void **state)
{
    (void)state;
    return ABT_init(0, NULL);
}

static inline int stop_argobots(void **state)
{
    (void)state;
    return ABT_finalize();
}

/* The configuration of a target with a file of its own; `more` begins with a comma or is empty. Valid until the next call. */
static inline const char *test_file_config(const char *more)
{
    static char config[512];
    if (!*test_file_directory) {
        snprintf(test_file_directory, sizeof test_file_directory, "/tmp/dango-warabi-XXXXXX");
        assert_non_null(mkdtemp(test_file_directory));
        snprintf(test_file_path, sizeof test_file_path, "%s/regions", test_file_directory);
    }
    snprintf(config, sizeof config, "{\"path\":\"%s\",\"create_if_missing\":true%s}", test_file_path, more);
    return config;
}

static inline void test_file_remove(void)
{
    if (*test_file_directory) {
        unlink(test_file_path);
        assert_int_equal(rmdir(test_file_directory), 0);
        *test_file_directory = '\0';
    }
}

static inline int try_open_target(const struct wb_target_type *type, const char *config, struct wb_target **target,
                                  struct dango_error *err)
{
    struct json_object *json = json_tokener_parse(config);
    assert_non_null(json);
    int status = type->open(json, ABT_IO_INSTANCE_NULL, target, err);
    json_object_put(json);
    return status;
}

static inline struct wb_target *open_target(const struct wb_target_type *type, const char *config)
{
    struct wb_target *target = NULL;
    struct dango_error err;
    if (try_open_target(type, config, &target, &err) != 0)
        fail_msg("%s", err.text);
    return target;
}

static inline struct wb_segments one(const size_t *offset, const size_t *size)
{
    return (struct wb_segments){.count = 1, .offsets = offset, .sizes = size};
}

static inline int write_at(struct wb_target *target, const warabi_region_t *id, size_t offset, const char *data,
                           size_t size, struct dango_error *err)
{
    struct wb_segments segments = one(&offset, &size);
    struct wb_source source = {.data = data, .size = size};
    return wb_store_write(target, id, &segments, &source, true, err);
}

static inline int read_at(struct wb_target *target, const warabi_region_t *id, size_t offset, size_t size, char **data,
                          struct dango_error *err)
{
    struct wb_segments segments = one(&offset, &size);
    uint64_t read;
    return wb_store_read(target, id, &segments, data, &read, err);
}

static inline warabi_region_t create(struct wb_target *target, uint64_t size)
{
    warabi_region_t id;
    struct dango_error err;
    if (wb_store_create(target, size, &id, &err) != 0)
        fail_msg("%s", err.text);
    return id;
}

#endif
