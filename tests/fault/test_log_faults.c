/*
 * Every call on a file that a small run of the log makes goes wrong once: it fails, is short, or is the last thing that
 * the process does. Whatever happens, what was acknowledged is there afterwards, unchanged and in order, and nothing is
 * there that was never appended.
 *
 * A run is a child process. It makes a log and the file of positions, appends, changes chunks, reads, closes, opens both
 * again and appends more; when something fails it goes on as a server does: it keeps reading, tries the write again, opens
 * the log again when that refuses to write. What it was told is safe it writes into memory shared with the parent, which
 * then opens the directory without faults and compares. A first run without faults counts the calls.
 */
#include "tests/fault/fault.h"
#include "tests/mofka/log_model.h"

#include "mofka/log/cursors.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define GROUPS       14
#define GROUP_EVENTS 10 /* in two frames */
#define EVENTS_MAX   1000

/* Where a child tells what it knows; it may be dead at any moment. */
struct shared {
    unsigned long calls;
    uint64_t acknowledged; /* events that are safe */
    uint64_t appended;     /* events that may be there */
    uint64_t saved;        /* position that is safe */
    uint64_t position;     /* position that may be there */
    unsigned failures;     /* errors that the child has seen */
    char complaint[1500];  /* what the child found wrong */
};

static struct shared *shared;
static char base[64], directory[128];

/* ---- the child ---- */

struct run {
    struct mofka_log_settings settings;
    struct mofka_log *log;
    struct mofka_cursors *cursors;
};

static void complain(const char *what, const struct dango_error *err)
{
    snprintf(shared->complaint, sizeof shared->complaint, "%s: %s", what, err ? err->text : "");
    _exit(1);
}

/* An error is expected here; it must say which files it is about. */
static void note_failure(const struct dango_error *err, const char *about)
{
    shared->failures++;
    if (err->code >= 0 || !strstr(err->text, about))
        complain("a message that does not say where", err);
    if (shared->failures > 10)
        complain("it goes on failing", err);
}

static int note_position(void *arg, const char *name, uint64_t next_id, bool removed, struct dango_error *err)
{
    uint64_t *position = arg;
    (void)err;
    if (strcmp(name, "reader") != 0 || removed)
        complain("a position that nobody saved", NULL);
    *position = next_id;
    return 0;
}

static int open_or_create(const struct mofka_log_settings *settings, struct mofka_log **log, struct dango_error *err)
{
    struct mofka_log_report report;
    int code = dango_mofka_log_create(settings, log, err);
    return code == DANGO_ERR_EXISTS ? dango_mofka_log_open(settings, log, &report, err) : code;
}

static void close_all(struct run *run)
{
    dango_mofka_cursors_close(run->cursors);
    dango_mofka_log_close(run->log);
    run->cursors = NULL;
    run->log = NULL;
}

static void open_all(struct run *run)
{
    struct dango_error err;
    uint64_t position = 0;
    while (open_or_create(&run->settings, &run->log, &err) < 0)
        note_failure(&err, base);
    while (dango_mofka_cursors_open(dango_mofka_log_directory(run->log), model_uuid, &mofka_log_system_io,
                                    note_position, &position, &run->cursors, &err) < 0)
        note_failure(&err, "cursors");
    if (position < shared->saved || position > shared->position)
        complain("a wrong position", NULL);
    uint64_t end = dango_mofka_log_next_id(run->log);
    if (end < shared->acknowledged || end > shared->appended)
        complain("events are lost or invented", NULL);
}

static int append_group(struct run *run, struct dango_error *err)
{
    uint64_t id = dango_mofka_log_next_id(run->log);
    struct mofka_frame *frames[] = {model_frame(id, GROUP_EVENTS / 2),
                                    model_frame(id + GROUP_EVENTS / 2, GROUP_EVENTS / 2)};
    size_t appended;
    shared->appended = id + GROUP_EVENTS;
    int code = dango_mofka_log_append(run->log, frames, 2, &appended, err);
    struct dango_error sync_err;
    if (appended > 0 && dango_mofka_log_sync(run->log, &sync_err) == 0) {
        dango_mofka_log_publish(run->log);
        shared->acknowledged = id + appended * GROUP_EVENTS / 2;
    } else if (appended > 0 && code == 0) {
        code = sync_err.code;
        *err = sync_err;
    }
    free(frames[0]);
    free(frames[1]);
    return code;
}

/* As a producer that tries again does: through the same log, or one that was opened anew if it must be. */
static void append(struct run *run)
{
    struct dango_error err;
    uint64_t target = shared->acknowledged + GROUP_EVENTS;
    while (shared->acknowledged < target && append_group(run, &err) < 0) {
        note_failure(&err, base);
        if (append_group(run, &err) == 0)
            break;
        if (!strstr(err.text, "read-only and takes no more events"))
            complain("a log that neither works nor says why", &err);
        close_all(run);
        open_all(run);
    }
}

static void save(struct run *run)
{
    struct dango_error err;
    shared->position = shared->acknowledged;
    if (dango_mofka_cursors_set(run->cursors, "reader", shared->position, &err) < 0)
        complain("no memory", &err);
    while (dango_mofka_cursors_sync(run->cursors, &err) < 0)
        note_failure(&err, "cannot save the positions");
    shared->saved = shared->position;
}

static bool next_position(void *arg, const char **name, uint64_t *next_id)
{
    bool *given = arg, first = !*given;
    *name = "reader";
    *next_id = shared->saved;
    *given = true;
    return first;
}

static void rewrite_positions(struct run *run)
{
    struct dango_error err;
    bool given = false;
    while (dango_mofka_cursors_rewrite(run->cursors, next_position, &given, &err) < 0) {
        note_failure(&err, "cursors");
        given = false;
    }
}

/* Reads all events from `from` on: where they end. */
static uint64_t read_from(struct mofka_log *log, uint64_t from, struct dango_error *err)
{
    struct mofka_log_reader reader;
    struct mofka_scan_item item;
    uint64_t next = from;
    int found = 1;
    dango_mofka_log_reader_init(&reader, log);
    err->code = 0;
    if (dango_mofka_log_seek(&reader, from, err) == 0) {
        while ((found = dango_mofka_log_next(&reader, &item, err)) == 1) {
            if (!item.frame || item.first_id > next)
                complain("events are missing", NULL);
            if (!model_holds(item.frame))
                complain("an event is not what it was", NULL);
            next = item.first_id + item.frame->count;
        }
    }
    dango_mofka_log_reader_fini(&reader);
    return next;
}

static void read_all(struct run *run)
{
    struct dango_error err;
    uint64_t end;
    while (end = read_from(run->log, 0, &err), err.code < 0)
        note_failure(&err, "chunk");
    if (end < shared->acknowledged || end > shared->appended)
        complain("not what was appended", NULL);
}

static struct run new_run(void)
{
    struct run run = {.settings = {.directory = directory,
                                   .topic = "topic",
                                   .max_chunk_size = 2500, /* three groups */
                                   .max_events_per_chunk = EVENTS_MAX,
                                   .mappings = 1,
                                   .io = &mofka_log_system_io}};
    memcpy(run.settings.uuid, model_uuid, sizeof model_uuid);
    return run;
}

static void work(void)
{
    struct run run = new_run();
    open_all(&run);
    for (int i = 0; i < GROUPS; i++) {
        append(&run);
        if (i % 3 == 0)
            save(&run);
    }
    read_all(&run);
    rewrite_positions(&run);
    save(&run);
    close_all(&run);
    open_all(&run);
    append(&run);
    save(&run);
    read_all(&run);
    close_all(&run);
}

/* Afterwards, without faults: all is as it was told, and everything works. */
static void verify(void)
{
    struct run run = new_run();
    shared->failures = 0;
    open_all(&run);
    read_all(&run);
    append(&run);
    read_all(&run);
    save(&run);
    close_all(&run);
    if (shared->failures > 0)
        complain("something fails although nothing is wrong any more", NULL);
}

/* ---- the parent ---- */

static void remove_directory(void)
{
    char command[128];
    snprintf(command, sizeof command, "rm -rf %s/*", base);
    assert_int_equal(system(command), 0);
}

/* Runs `body` in a child process with this plan, or without one; how it ended. */
static int run_child(void (*body)(void), const char *plan)
{
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        int null = open("/dev/null", O_WRONLY); /* the log tells what it meets */
        dup2(null, STDERR_FILENO);
        close(null);
        if (!dango_fault_plan(plan))
            complain("not a plan", NULL);
        body();
        shared->calls = dango_fault_calls();
        exit(0); /* not _exit: what leaks on the way of an error is looked for, too */
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    return status;
}

static bool is_dead(int status)
{
    return WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
}

/* Returns how many errors the run has seen. */
static unsigned run_with_fault(unsigned long n, const char *what)
{
    char plan[256];
    snprintf(plan, sizeof plan, "dir=%s/deep,n=%lu,do=%s", base, n, what);
    memset(shared, 0, sizeof *shared);
    remove_directory();
    int status = run_child(work, plan);
    if (status != 0 && !(is_dead(status) && strncmp(what, "kill", 4) == 0))
        fail_msg("%s: status %x: %s", plan, (unsigned)status, shared->complaint);
    if (strncmp(what, "kill", 4) == 0 && strcmp(what, "kill-short") != 0)
        assert_true(is_dead(status));
    unsigned failures = shared->failures;
    status = run_child(verify, NULL);
    if (status != 0)
        fail_msg("%s: afterwards: status %x: %s", plan, (unsigned)status, shared->complaint);
    return failures;
}

static void every_call_may(const char *what)
{
    char plan[256];
    snprintf(plan, sizeof plan, "dir=%s/deep", base);
    memset(shared, 0, sizeof *shared);
    remove_directory();
    if (run_child(work, plan) != 0)
        fail_msg("%s", shared->complaint);
    assert_int_equal(shared->failures, 0);
    unsigned long calls = shared->calls;
    assert_true(calls > 100);
    unsigned long failures = 0;
    for (unsigned long n = 1; n <= calls; n++)
        failures += run_with_fault(n, what);
    /* Only what concerns indices may go wrong unnoticed. */
    if (what[0] == 'E')
        assert_true(failures >= calls / 2);
}

#define TEST_OF(name, what)                                                                                            \
    static void name(void **state)                                                                                     \
    {                                                                                                                  \
        (void)state;                                                                                                   \
        every_call_may(what);                                                                                          \
    }

TEST_OF(every_call_may_fail, "EIO")
TEST_OF(every_call_may_find_the_medium_full, "ENOSPC")
TEST_OF(every_write_may_be_short, "short")
TEST_OF(every_call_may_be_preceded_by_death, "kill")
TEST_OF(every_call_may_be_followed_by_death, "kill-after")
TEST_OF(every_write_may_be_cut_off_by_death, "kill-short")

/* In memory if possible: there are thousands of syncs, and it is not the medium that is tested. */
static int set_up(void **state)
{
    (void)state;
    snprintf(base, sizeof base, "%s/dango-faults-XXXXXX", access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    assert_non_null(mkdtemp(base));
    snprintf(directory, sizeof directory, "%s/deep/er/topic-1", base);
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(shared != MAP_FAILED);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    remove_directory();
    assert_int_equal(rmdir(base), 0);
    munmap(shared, sizeof *shared);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_call_may_fail),
        cmocka_unit_test(every_call_may_find_the_medium_full),
        cmocka_unit_test(every_write_may_be_short),
        cmocka_unit_test(every_call_may_be_preceded_by_death),
        cmocka_unit_test(every_call_may_be_followed_by_death),
        cmocka_unit_test(every_write_may_be_cut_off_by_death),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
