/*
 * Internals of ABT-IO: settings, calls, operations and instances, and what its files offer each other.
 *
 *   config.c      JSON → settings → effective JSON           operation.c   life of one operation
 *   instance.c    life of an instance, its own streams       calls.c       the system calls
 *   api.c         the public operations                      trace.c       lines of trace_io
 *   ring.c        the io_uring engine
 *
 * A public function fills in a struct abtio_call and hands it to abtio_execute (blocking) or abtio_start (_nb). Both
 * wrap it into a struct abt_io_op and submit that to the engine of the instance: a tasklet in the pool runs the system
 * call, or a ring has the kernel execute it, and completes the operation. Operations inside an instance are counted by
 * its gate, which finalisation closes.
 */
#ifndef DANGO_ABT_IO_ABTIO_H
#define DANGO_ABT_IO_ABTIO_H

#include "abt-io/dango_abt_io.h"
#include "argobots/gate.h"

#include <dango/error.h>

#include <stdbool.h>
#include <stdint.h>

/* Operations in flight that one instance accepts before it answers -EAGAIN. */
#define ABTIO_IN_FLIGHT_MAX (1u << 20)

/* ---- settings ---- */

struct abtio_pool_settings {
    int64_t num_xstreams; /* execution streams of the internal pool */
    char *kind, *access;  /* fixed: "fifo_wait", "mpmc" */
};

/* Bits for the creation of rings and for each of their operations. */
struct abtio_ring_flags {
    unsigned setup, sqe;
};

struct abtio_settings {
    char *version;
    bool null_io_write, null_io_read; /* data operations pretend to transfer everything */
    bool trace_io;
    int64_t num_urings;
    int64_t backing_thread_count; /* short for internal_pool.num_xstreams; 0: not given */
    bool internal_pool_flag;      /* output: whether the pool is ours */
    struct abtio_pool_settings internal_pool;
    struct json_object *liburing_flags; /* those that exist */
    struct abtio_ring_flags ring_flags; /* the same as bits */
};

/* Parses and completes; `external_pool` decides what the pool fields mean. 0 or a negative code. */
int abtio_settings_parse(struct json_object *config, bool external_pool, struct abtio_settings *settings,
                         struct dango_error *err);
void abtio_settings_release(struct abtio_settings *settings);
struct json_object *abtio_settings_dump(const struct abtio_settings *settings);

/*
 * Splits off the fields that the option table does not know, each with a warning: programs written for the original
 * keep their own fields beside ours. Both results are new objects.
 */
void abtio_config_split(struct json_object *config, struct json_object **known, struct json_object **foreign);

/* ---- calls ---- */

enum abtio_code {
    ABTIO_OPEN,
    ABTIO_OPENAT,
    ABTIO_CLOSE,
    ABTIO_READ,
    ABTIO_WRITE,
    ABTIO_PREAD,
    ABTIO_PWRITE,
    ABTIO_PREADV,
    ABTIO_PWRITEV,
    ABTIO_PREAD_ALL,
    ABTIO_PWRITE_ALL,
    ABTIO_LSEEK,
    ABTIO_FTRUNCATE,
    ABTIO_TRUNCATE,
    ABTIO_FALLOCATE,
    ABTIO_FDATASYNC,
    ABTIO_FSYNC,
    ABTIO_SYNC_FILE_RANGE,
    ABTIO_MKOSTEMP,
    ABTIO_UNLINK,
    ABTIO_RENAME,
    ABTIO_MKDIR,
    ABTIO_STAT,
    ABTIO_FSTAT,
    ABTIO_STATFS,
    ABTIO_RUN,
};

/* A system call with its arguments; which fields count depends on the code. Nothing is owned. */
struct abtio_call {
    enum abtio_code code;
    int fd;                       /* descriptor, or directory of openat */
    int flags;                    /* flags; whence of lseek; mode of fallocate; number of vectors */
    mode_t mode;                  /* permissions of a new file */
    const char *path, *to;        /* names */
    void *buffer;                 /* data, struct iovec[], struct stat, template */
    size_t count;                 /* bytes of data */
    off_t offset;                 /* position; -1 where the file position is used (read, write) */
    off_t length;                 /* of truncate, fallocate; offset argument of lseek */
    void (*body)(void *argument); /* of run; the argument is the buffer */
};

/* Runs the call in the calling thread. The POSIX result or -errno. */
int64_t abtio_call_run(const struct abtio_call *call);

/* "pwrite" … as in traces. */
const char *abtio_call_name(enum abtio_code code);

/* Bytes that a data operation asks for; 0 for the others. */
size_t abtio_call_bytes(const struct abtio_call *call);

bool abtio_call_is_read(enum abtio_code code);
bool abtio_call_is_write(enum abtio_code code);

/* ---- instances ---- */

struct abtio_rings;

struct abt_io_instance {
    struct abtio_settings settings;
    struct json_object *foreign; /* fields kept for the caller; NULL: none */
    struct dango_gate gate;      /* operations in flight are inside */
    int64_t start_ns;            /* zero of the trace */
    ABT_pool pool;               /* where operations run */
    ABT_xstream *xstreams;       /* ours, if the pool is ours */
    int64_t num_xstreams;
    struct abtio_rings *rings; /* NULL: everything runs in the pool */
};

/* ---- operations ---- */

struct abt_io_op {
    struct abtio_call call;
    struct abt_io_instance *instance; /* stays until the operation completed */
    struct abt_io_op *next;           /* in the lists of a ring */
    int64_t result;
    void *ret;                                 /* where to store the result of the _nb form; may be NULL */
    size_t ret_size;                           /* 4 or 8 */
    int64_t start_ns;                          /* when the system call began; only with trace_io */
    bool on_heap;                              /* false: on the stack of a blocking caller, gone once completed */
    int references;                            /* atomic: user and engine; operations on the heap only */
    _Alignas(8) ABT_eventual_memory completed; /* set at completion */
};

/* Runs a call in the instance and waits for it. */
int64_t abtio_execute(struct abt_io_instance *instance, const struct abtio_call *call);

/* Starts a call; see abt-io.h for `ret`. `ret_size`: sizeof *ret, 4 or 8. */
struct abt_io_op *abtio_start(struct abt_io_instance *instance, const struct abtio_call *call, void *ret,
                              size_t ret_size);

/* Delivers the result; called once by the engine, which must not touch the operation afterwards. */
void abtio_op_complete(struct abt_io_op *op, int64_t result);

/* ---- trace ---- */

void abtio_trace_header(void);
void abtio_trace_line(const struct abt_io_instance *instance, const struct abtio_call *call, int64_t start_ns,
                      int64_t end_ns);

#endif
