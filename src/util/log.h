/*
 * The one logger: a line per message on standard error, "[LEVEL] component: text". Levels trace … critical.
 *
 * The level comes from DANGO_LOG at first use, then from dango_log_set_level (`-v LEVEL`). Thread-safe; a message
 * is written with one write(2) so that lines of several threads and processes do not mix. A message below the level
 * costs one load and a compare. Never log above trace on a per-event path.
 */
#ifndef DANGO_UTIL_LOG_H
#define DANGO_UTIL_LOG_H

#include <dango/error.h>

#include <stdbool.h>

enum dango_log_level {
    DANGO_LOG_TRACE,
    DANGO_LOG_DEBUG,
    DANGO_LOG_INFO,
    DANGO_LOG_WARNING,
    DANGO_LOG_ERROR,
    DANGO_LOG_CRITICAL,
    DANGO_LOG_OFF
};

/* The level as it stands; use dango_log_enabled. */
extern int dango_log_threshold;

static inline bool dango_log_enabled(enum dango_log_level level)
{
    return (int)level >= __atomic_load_n(&dango_log_threshold, __ATOMIC_RELAXED);
}

void dango_log_set_level(enum dango_log_level level);

/* "trace", "debug", "info", "warning" (or "warn"), "error", "critical", "off" → level; an error lists them. */
int dango_log_level_parse(const char *name, enum dango_log_level *level, struct dango_error *err);
const char *dango_log_level_name(enum dango_log_level level);

/* Whether lines begin with the local time, "[2025-01-31 12:00:00.123] "; off unless a program wants it. */
void dango_log_show_time(bool show);
/* That time as it is now; DANGO_LOG_TIME_SIZE bytes of room. */
#define DANGO_LOG_TIME_SIZE 40
void dango_log_time(char text[DANGO_LOG_TIME_SIZE]);

/* Where lines go instead of standard error (tests, margo loggers); NULL restores the default. */
typedef void (*dango_log_sink)(void *arg, enum dango_log_level level, const char *component, const char *text);
void dango_log_set_sink(dango_log_sink sink, void *arg);

void dango_log_write(enum dango_log_level level, const char *component, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#define DANGO_LOG(level, component, ...)                                                                               \
    do {                                                                                                               \
        if (dango_log_enabled(level))                                                                                  \
            dango_log_write((level), (component), __VA_ARGS__);                                                        \
    } while (0)

#define log_trace(component, ...)    DANGO_LOG(DANGO_LOG_TRACE, component, __VA_ARGS__)
#define log_debug(component, ...)    DANGO_LOG(DANGO_LOG_DEBUG, component, __VA_ARGS__)
#define log_info(component, ...)     DANGO_LOG(DANGO_LOG_INFO, component, __VA_ARGS__)
#define log_warning(component, ...)  DANGO_LOG(DANGO_LOG_WARNING, component, __VA_ARGS__)
#define log_error(component, ...)    DANGO_LOG(DANGO_LOG_ERROR, component, __VA_ARGS__)
#define log_critical(component, ...) DANGO_LOG(DANGO_LOG_CRITICAL, component, __VA_ARGS__)

#endif
