/* margo-logging.h - messages of Margo and of the services on top of it.
 *
 * Each instance has a logger and a level; both start as copies of the global ones. A message is handed to the logger
 * when its level is at least the instance's level. The default logger writes to the process' log (standard error).
 * The initial global level comes from MARGO_LOG_LEVEL (default: warning). Every function here may be called from any
 * thread, before initialisation too; an instance of NULL means the global logger. Loggers must be thread-safe.
 */
#ifndef MARGO_LOGGING_H
#define MARGO_LOGGING_H

#ifdef __cplusplus
extern "C" {
#endif

#ifndef MARGO_INSTANCE_ID_DEFINED
#define MARGO_INSTANCE_ID_DEFINED
typedef struct margo_instance *margo_instance_id;
#endif

/* `msg` has no newline and is valid during the call only. */
typedef void (*margo_log_fn_t)(void *uargs, const char *msg);

/* One function per level; NULL drops the messages of that level. */
struct margo_logger {
    void *uargs;
    margo_log_fn_t trace;
    margo_log_fn_t debug;
    margo_log_fn_t info;
    margo_log_fn_t warning;
    margo_log_fn_t error;
    margo_log_fn_t critical;
};

typedef enum margo_log_level {
    MARGO_LOG_EXTERNAL, /* let the logger decide: everything is passed on */
    MARGO_LOG_TRACE,
    MARGO_LOG_DEBUG,
    MARGO_LOG_INFO,
    MARGO_LOG_WARNING,
    MARGO_LOG_ERROR,
    MARGO_LOG_CRITICAL
} margo_log_level;

/* Copies the logger; NULL restores the default one. The instance's level becomes the global level. Return 0, or -1 for
 * a level out of range. */
int margo_set_logger(margo_instance_id mid, const struct margo_logger *logger);
int margo_set_log_level(margo_instance_id mid, margo_log_level level);

/* The same for what has no instance, and for instances created afterwards. */
int margo_set_global_logger(const struct margo_logger *logger);
int margo_set_global_log_level(margo_log_level level);

#define MARGO_LOG_FORMAT __attribute__((format(printf, 2, 3)))
void margo_trace(margo_instance_id mid, const char *fmt, ...) MARGO_LOG_FORMAT;
void margo_debug(margo_instance_id mid, const char *fmt, ...) MARGO_LOG_FORMAT;
void margo_info(margo_instance_id mid, const char *fmt, ...) MARGO_LOG_FORMAT;
void margo_warning(margo_instance_id mid, const char *fmt, ...) MARGO_LOG_FORMAT;
void margo_error(margo_instance_id mid, const char *fmt, ...) MARGO_LOG_FORMAT;
void margo_critical(margo_instance_id mid, const char *fmt, ...) MARGO_LOG_FORMAT;
#undef MARGO_LOG_FORMAT

#ifdef __cplusplus
}
#endif

#endif
