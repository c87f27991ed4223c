/*
 * What the ABT-IO tests share: Argobots for the life of the program, a temporary directory, and instances with each
 * kind of engine.
 */
#ifndef DANGO_TESTS_ABT_IO_FIXTURE_H
#define DANGO_TESTS_ABT_IO_FIXTURE_H

#include "tests/support/test.h"

#include <abt-io.h>

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <unistd.h>

struct fixture {
    abt_io_instance_id aid;
    ABT_pool pool;       /* external pool, if any */
    ABT_xstream xstream; /* that serves it */
    bool runs_here;      /* operations: the pool is that of the primary execution stream */
    char directory[64];
    char path[96]; /* of a file that does not exist, in the directory */
};

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

static inline struct fixture *fixture_create(void)
{
    struct fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    strcpy(f->directory, "/tmp/dango-abt-io-XXXXXX");
    assert_non_null(mkdtemp(f->directory));
    snprintf(f->path, sizeof f->path, "%s/file", f->directory);
    return f;
}

static inline abt_io_instance_id instance_from(const char *config, ABT_pool pool)
{
    struct abt_io_init_info args = {.json_config = config, .progress_pool = pool};
    return abt_io_init_ext(&args);
}

static inline int with_internal_pool(void **state)
{
    struct fixture *f = fixture_create();
    f->aid = abt_io_init(2);
    *state = f;
    return f->aid ? 0 : -1;
}

static inline void serve_external_pool(struct fixture *f)
{
    assert_int_equal(ABT_pool_create_basic(ABT_POOL_FIFO_WAIT, ABT_POOL_ACCESS_MPMC, ABT_FALSE, &f->pool), ABT_SUCCESS);
    assert_int_equal(ABT_xstream_create_basic(ABT_SCHED_BASIC_WAIT, 1, &f->pool, ABT_SCHED_CONFIG_NULL, &f->xstream),
                     ABT_SUCCESS);
}

static inline int with_external_pool(void **state)
{
    struct fixture *f = fixture_create();
    serve_external_pool(f);
    f->aid = instance_from(NULL, f->pool);
    *state = f;
    return f->aid ? 0 : -1;
}

/* The pool of the primary execution stream: blocking calls of the main ULT are run by the very same thread. */
static inline int with_primary_pool(void **state)
{
    struct fixture *f = fixture_create();
    ABT_xstream self;
    ABT_pool pool;
    assert_int_equal(ABT_xstream_self(&self), ABT_SUCCESS);
    assert_int_equal(ABT_xstream_get_main_pools(self, 1, &pool), ABT_SUCCESS);
    f->aid = instance_from("{}", pool);
    f->runs_here = true;
    *state = f;
    return f->aid ? 0 : -1;
}

static inline int with_rings(void **state)
{
    struct fixture *f = fixture_create();
    f->aid = instance_from("{\"num_urings\":2,\"internal_pool\":{\"num_xstreams\":1}}", ABT_POOL_NULL);
    *state = f;
    return f->aid ? 0 : -1;
}

static inline int without_instance(void **state)
{
    *state = fixture_create();
    return 0;
}

static inline int fixture_destroy(void **state)
{
    struct fixture *f = *state;
    abt_io_finalize(f->aid);
    if (f->xstream) {
        ABT_xstream_free(&f->xstream);
        ABT_pool_free(&f->pool);
    }
    unlink(f->path);
    int status = rmdir(f->directory);
    free(f);
    return status;
}

/* A new file that is already unlinked: only the descriptor is left. */
static inline int anonymous_file(struct fixture *f)
{
    int fd = abt_io_open(f->aid, f->path, O_RDWR | O_CREAT | O_TRUNC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(abt_io_unlink(f->aid, f->path), 0);
    return fd;
}

#endif
