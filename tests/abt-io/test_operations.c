/*
 * Every operation, blocking and _nb, with its success and its errors, on each kind of engine.
 */
#include "tests/abt-io/fixture.h"

#include "abt-io/dango_abt_io.h"

#include <pthread.h>
#include <sys/mman.h>

/* Completes an operation and gives its handle back. */
static void finish(abt_io_op_t *op)
{
    assert_non_null(op);
    assert_int_equal(abt_io_op_wait(op), 0);
    assert_true(abt_io_op_test(op));
    assert_int_equal(abt_io_op_wait(op), 0);
    abt_io_op_free(op);
}

/* The sequence that users of the original rely on. */
static void original_sequence(void **state)
{
    struct fixture *f = *state;
    char template[128], data[4096];
    snprintf(template, sizeof template, "%s/XXXXXX", f->directory);
    memset(data, 'x', sizeof data);

    int fd = abt_io_mkostemp(f->aid, template, O_CLOEXEC);
    assert_true(fd >= 0);
    assert_null(strstr(template, "XXXXXX"));
    assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
    assert_int_equal(abt_io_pwrite(f->aid, fd, data, sizeof data, 0), sizeof data);
    assert_int_equal(abt_io_fallocate(f->aid, fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 1024), 0);
    assert_int_equal(abt_io_truncate(f->aid, template, 1024), 0);
    assert_int_equal(abt_io_ftruncate(f->aid, fd, 512), 0);
    assert_int_equal(abt_io_lseek(f->aid, fd, 0, SEEK_SET), 0);
    assert_int_equal(abt_io_lseek(f->aid, fd, 256, SEEK_SET), 256);
    assert_int_equal(abt_io_close(f->aid, fd), 0);
    struct stat st;
    assert_int_equal(abt_io_stat(f->aid, template, &st), 0);
    assert_int_equal(st.st_size, 512);
    struct statfs sfs;
    assert_int_equal(abt_io_statfs(f->aid, template, &sfs), 0);
    assert_true(sfs.f_bsize > 0);
    assert_int_equal(abt_io_unlink(f->aid, template), 0);
    assert_int_equal(abt_io_stat(f->aid, template, &st), -ENOENT);
}

static void data_come_back(void **state)
{
    struct fixture *f = *state;
    int fd = anonymous_file(f);
    char out[16] = {0};
    assert_int_equal(abt_io_pwrite(f->aid, fd, "0123456789", 10, 3), 10);
    assert_int_equal(abt_io_pread(f->aid, fd, out, 10, 3), 10);
    assert_memory_equal(out, "0123456789", 10);
    assert_int_equal(abt_io_write(f->aid, fd, "abc", 3), 3);
    assert_int_equal(abt_io_write(f->aid, fd, "def", 3), 3);
    assert_int_equal(abt_io_lseek(f->aid, fd, 0, SEEK_SET), 0);
    assert_int_equal(abt_io_read(f->aid, fd, out, 6), 6);
    assert_memory_equal(out, "abcdef", 6);
    assert_int_equal(abt_io_fdatasync(f->aid, fd), 0);
    assert_int_equal(abt_io_fsync(f->aid, fd), 0);
    assert_int_equal(abt_io_sync_file_range(f->aid, fd, 0, 4096, SYNC_FILE_RANGE_WRITE), 0);
    assert_int_equal(abt_io_close(f->aid, fd), 0);
}

static void vectors(void **state)
{
    struct fixture *f = *state;
    int fd = anonymous_file(f);
    char a[4], b[8];
    struct iovec from[] = {{"0123", 4}, {"456789ab", 8}};
    struct iovec to[] = {{a, sizeof a}, {b, sizeof b}};
    assert_int_equal(abt_io_pwritev(f->aid, fd, from, 2, 100), 12);
    assert_int_equal(abt_io_preadv(f->aid, fd, to, 2, 100), 12);
    assert_memory_equal(a, "0123", 4);
    assert_memory_equal(b, "456789ab", 8);
    ssize_t ret;
    finish(abt_io_pwritev_nb(f->aid, fd, from, 1, 0, &ret));
    assert_int_equal(ret, 4);
    finish(abt_io_preadv_nb(f->aid, fd, to, 1, 0, &ret));
    assert_int_equal(ret, 4);
    assert_int_equal(abt_io_close(f->aid, fd), 0);
}

static void names_and_directories(void **state)
{
    struct fixture *f = *state;
    char directory[128], moved[160];
    struct stat st;
    snprintf(directory, sizeof directory, "%s/sub", f->directory);
    snprintf(moved, sizeof moved, "%s/moved", directory);
    assert_int_equal(abt_io_mkdir(f->aid, directory, 0700), 0);
    assert_int_equal(abt_io_mkdir(f->aid, directory, 0700), -EEXIST);
    int dir = abt_io_open(f->aid, directory, O_RDONLY | O_DIRECTORY, 0);
    assert_true(dir >= 0);
    int fd = abt_io_openat(f->aid, dir, "file", O_RDWR | O_CREAT, 0640);
    assert_true(fd >= 0);
    assert_int_equal(abt_io_fstat(f->aid, fd, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0640);
    char from[160];
    snprintf(from, sizeof from, "%s/file", directory);
    assert_int_equal(abt_io_rename(f->aid, from, moved), 0);
    assert_int_equal(abt_io_stat(f->aid, moved, &st), 0);
    assert_int_equal(abt_io_unlink(f->aid, moved), 0);
    assert_int_equal(abt_io_close(f->aid, fd), 0);
    assert_int_equal(abt_io_close(f->aid, dir), 0);
    assert_int_equal(rmdir(directory), 0);
}

static void non_blocking_forms(void **state)
{
    struct fixture *f = *state;
    int fd = -1, ret = 0;
    ssize_t bytes = 0;
    off_t position = 0;
    char out[8];
    struct stat st;
    struct statfs sfs;
    char template[128];
    finish(abt_io_open_nb(f->aid, f->path, O_RDWR | O_CREAT, 0600, &fd));
    assert_true(fd >= 0);
    finish(abt_io_pwrite_nb(f->aid, fd, "12345678", 8, 0, &bytes));
    assert_int_equal(bytes, 8);
    finish(abt_io_pread_nb(f->aid, fd, out, 8, 0, &bytes));
    assert_memory_equal(out, "12345678", 8);
    finish(abt_io_write_nb(f->aid, fd, "abcd", 4, &bytes));
    finish(abt_io_lseek_nb(f->aid, fd, 1, SEEK_SET, &position));
    assert_int_equal(position, 1);
    finish(abt_io_read_nb(f->aid, fd, out, 3, &bytes));
    assert_memory_equal(out, "bcd", 3);
    finish(abt_io_fallocate_nb(f->aid, fd, 0, 0, 64, &ret));
    assert_int_equal(ret, 0);
    finish(abt_io_ftruncate_nb(f->aid, fd, 32, &ret));
    finish(abt_io_fstat_nb(f->aid, fd, &st, &ret));
    assert_int_equal(st.st_size, 32);
    finish(abt_io_truncate_nb(f->aid, f->path, 16, &ret));
    finish(abt_io_stat_nb(f->aid, f->path, &st, &ret));
    assert_int_equal(st.st_size, 16);
    finish(abt_io_statfs_nb(f->aid, f->path, &sfs, &ret));
    assert_int_equal(ret, 0);
    finish(abt_io_fdatasync_nb(f->aid, fd, &ret));
    assert_int_equal(ret, 0);
    finish(abt_io_fsync_nb(f->aid, fd, &ret));
    finish(abt_io_sync_file_range_nb(f->aid, fd, 0, 16, SYNC_FILE_RANGE_WRITE, &ret));
    assert_int_equal(ret, 0);
    finish(abt_io_close_nb(f->aid, fd, &ret));
    assert_int_equal(ret, 0);
    snprintf(template, sizeof template, "%s/XXXXXX", f->directory);
    finish(abt_io_mkostemp_nb(f->aid, template, 0, &fd));
    assert_true(fd >= 0);
    finish(abt_io_rename_nb(f->aid, template, f->path, &ret));
    finish(abt_io_unlink_nb(f->aid, f->path, &ret));
    assert_int_equal(ret, 0);
    close(fd);
    finish(abt_io_mkdir_nb(f->aid, f->path, 0700, &ret));
    finish(abt_io_openat_nb(f->aid, AT_FDCWD, f->path, O_RDONLY | O_DIRECTORY, 0, &fd));
    assert_true(fd >= 0);
    close(fd);
    assert_int_equal(rmdir(f->path), 0);
}

static void errors_are_negative_errno(void **state)
{
    struct fixture *f = *state;
    char c = 'c';
    int ret = 0;
    ssize_t bytes = 0;
    assert_int_equal(abt_io_open(f->aid, "/nonexistent/file", O_RDONLY, 0), -ENOENT);
    assert_int_equal(abt_io_pwrite(f->aid, -1, &c, 1, 0), -EBADF);
    assert_int_equal(abt_io_pread(f->aid, -1, &c, 1, 0), -EBADF);
    assert_int_equal(abt_io_write(f->aid, 1 << 20, &c, 1), -EBADF);
    assert_int_equal(abt_io_read(f->aid, 1 << 20, &c, 1), -EBADF);
    assert_int_equal(abt_io_close(f->aid, 1 << 20), -EBADF);
    assert_int_equal(abt_io_fdatasync(f->aid, -1), -EBADF);
    assert_int_equal(abt_io_ftruncate(f->aid, -1, 0), -EBADF);
    assert_int_equal(abt_io_fallocate(f->aid, -1, 0, 0, 1), -EBADF);
    assert_int_equal(abt_io_lseek(f->aid, -1, 0, SEEK_SET), -EBADF);
    assert_int_equal(abt_io_unlink(f->aid, "/nonexistent/file"), -ENOENT);
    assert_int_equal(abt_io_truncate(f->aid, "/nonexistent/file", 0), -ENOENT);
    finish(abt_io_open_nb(f->aid, "/nonexistent/file", O_RDONLY, 0, &ret));
    assert_int_equal(ret, -ENOENT);
    finish(abt_io_pwrite_nb(f->aid, -1, &c, 1, 0, &bytes));
    assert_int_equal(bytes, -EBADF);
}

static void full_device(void **state)
{
    struct fixture *f = *state;
    int fd = abt_io_open(f->aid, "/dev/full", O_WRONLY, 0);
    assert_true(fd >= 0);
    assert_int_equal(abt_io_write(f->aid, fd, "x", 1), -ENOSPC);
    assert_int_equal(abt_io_pwrite(f->aid, fd, "x", 1, 0), -ENOSPC);
    assert_int_equal(abt_io_pwrite_all(f->aid, fd, "x", 1, 0), -ENOSPC);
    assert_int_equal(abt_io_close(f->aid, fd), 0);
}

static void end_of_file_is_a_short_read(void **state)
{
    struct fixture *f = *state;
    int fd = anonymous_file(f);
    char out[16];
    assert_int_equal(abt_io_pwrite(f->aid, fd, "12345", 5, 0), 5);
    assert_int_equal(abt_io_pread(f->aid, fd, out, sizeof out, 2), 3);
    assert_int_equal(abt_io_pread(f->aid, fd, out, sizeof out, 5), 0);
    assert_int_equal(abt_io_pread_all(f->aid, fd, out, sizeof out, 1), 4);
    assert_int_equal(abt_io_pread(f->aid, fd, out, 0, 0), 0);
    assert_int_equal(abt_io_close(f->aid, fd), 0);
}

/* More than the kernel moves in one call (2 GiB - 4 KiB) is continued, in a file that is one hole. */
static void all_continues_short_transfers(void **state)
{
#ifdef __SANITIZE_THREAD__
    skip(); /* the sanitizer looks at every byte */
#endif
    struct fixture *f = *state;
    int fd = anonymous_file(f);
    const size_t size = (2ul << 30) + 4096;
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    assert_true(memory != MAP_FAILED);
    int null = abt_io_open(f->aid, "/dev/null", O_WRONLY, 0);
    assert_true(abt_io_pwrite(f->aid, null, memory, size, 0) < (ssize_t)size);
    assert_int_equal(abt_io_pwrite_all(f->aid, null, memory, size, 0), size);
    ssize_t ret;
    finish(abt_io_pwrite_all_nb(f->aid, null, memory, size, 0, &ret));
    assert_int_equal(ret, size);
    assert_int_equal(abt_io_pwrite_all(f->aid, fd, "1234", 4, 0), 4);
    char out[4];
    finish(abt_io_pread_all_nb(f->aid, fd, out, 4, 0, &ret));
    assert_int_equal(ret, 4);
    munmap(memory, size);
    assert_int_equal(abt_io_close(f->aid, null), 0);
    assert_int_equal(abt_io_close(f->aid, fd), 0);
}

static void a_null_instance_is_refused(void **state)
{
    (void)state;
    char c;
    int ret = 0;
    assert_int_equal(abt_io_pread(ABT_IO_INSTANCE_NULL, 0, &c, 1, 0), -EINVAL);
    assert_null(abt_io_fdatasync_nb(ABT_IO_INSTANCE_NULL, 0, &ret));
    assert_int_equal(ret, -EINVAL);
    assert_true(abt_io_get_pending_op_count(ABT_IO_INSTANCE_NULL) == (size_t)-1);
    assert_null(abt_io_get_config(ABT_IO_INSTANCE_NULL));
    abt_io_finalize(ABT_IO_INSTANCE_NULL);
    abt_io_op_free(NULL);
    assert_int_equal(abt_io_op_wait(NULL), -1);
}

static void note_thread(void *argument)
{
    *(pthread_t *)argument = pthread_self();
}

static void anything_can_be_run(void **state)
{
    struct fixture *f = *state;
    pthread_t thread = 0;
    assert_int_equal(dango_abt_io_run(f->aid, note_thread, &thread), 0);
    assert_true(thread);
    assert_int_equal(pthread_equal(thread, pthread_self()) != 0, f->runs_here);
    assert_int_equal(dango_abt_io_run(ABT_IO_INSTANCE_NULL, note_thread, &thread), -EINVAL);
}

#define ON_EACH_ENGINE(test)                                                                                           \
    {#test " (internal pool)", test, with_internal_pool, fixture_destroy, NULL},                                       \
        {#test " (external pool)", test, with_external_pool, fixture_destroy, NULL},                                   \
        {#test " (own pool)", test, with_primary_pool, fixture_destroy, NULL},                                         \
    {                                                                                                                  \
#test " (rings)", test, with_rings, fixture_destroy, NULL                                                      \
    }

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_EACH_ENGINE(original_sequence),
        ON_EACH_ENGINE(data_come_back),
        ON_EACH_ENGINE(vectors),
        ON_EACH_ENGINE(names_and_directories),
        ON_EACH_ENGINE(non_blocking_forms),
        ON_EACH_ENGINE(errors_are_negative_errno),
        ON_EACH_ENGINE(full_device),
        ON_EACH_ENGINE(end_of_file_is_a_short_read),
        ON_EACH_ENGINE(all_continues_short_transfers),
        ON_EACH_ENGINE(anything_can_be_run),
        cmocka_unit_test(a_null_instance_is_refused),
    };
    return cmocka_run_group_tests(tests, start_argobots, stop_argobots);
}
