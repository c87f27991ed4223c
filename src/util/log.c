/*
 * The logger: see log.h. State is process-wide on purpose: standard error is, too.
 */
#include "util/log.h"
#include "util/suggest.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define LINE_MAX_BYTES 4096

static const char *const level_names[] = {"trace", "debug", "info", "warning", "error", "critical", "off"};
#define LEVEL_COUNT (sizeof level_names / sizeof *level_names)

int dango_log_threshold = DANGO_LOG_WARNING;
static dango_log_sink log_sink;
static void *log_sink_arg;
static bool with_time;

__attribute__((constructor)) static void read_environment(void)
{
    const char *name = getenv("DANGO_LOG");
    enum dango_log_level level;
    struct dango_error err;
    if (!name || !*name)
        return;
    if (dango_log_level_parse(name, &level, &err) == 0)
        dango_log_set_level(level);
    else
        log_warning("log", "DANGO_LOG: %s", err.text);
}

void dango_log_set_level(enum dango_log_level level)
{
    __atomic_store_n(&dango_log_threshold, (int)level, __ATOMIC_RELAXED);
}

int dango_log_level_parse(const char *name, enum dango_log_level *level, struct dango_error *err)
{
    if (strcmp(name, "warn") == 0)
        name = "warning";
    for (size_t i = 0; i < LEVEL_COUNT; i++) {
        if (strcmp(name, level_names[i]) == 0) {
            *level = (enum dango_log_level)i;
            return 0;
        }
    }
    char names[256];
    return dango_error_set(err, DANGO_ERR_INVALID, "no log level \"%s\"%s", name,
                           dango_suggest_list("levels", name, level_names, LEVEL_COUNT, names, sizeof names));
}

const char *dango_log_level_name(enum dango_log_level level)
{
    return (size_t)level < LEVEL_COUNT ? level_names[level] : "unknown";
}

void dango_log_set_sink(dango_log_sink sink, void *arg)
{
    log_sink_arg = arg;
    log_sink = sink;
}

void dango_log_show_time(bool show)
{
    with_time = show;
}

void dango_log_time(char text[DANGO_LOG_TIME_SIZE])
{
    struct timespec now;
    struct tm local;
    clock_gettime(CLOCK_REALTIME, &now);
    localtime_r(&now.tv_sec, &local);
    size_t length = strftime(text, DANGO_LOG_TIME_SIZE, "[%Y-%m-%d %H:%M:%S", &local);
    snprintf(text + length, DANGO_LOG_TIME_SIZE - length, ".%03u] ", (unsigned)(now.tv_nsec / 1000000) % 1000);
}

void dango_log_write(enum dango_log_level level, const char *component, const char *format, ...)
{
    char line[LINE_MAX_BYTES], time[DANGO_LOG_TIME_SIZE] = "";
    if (with_time)
        dango_log_time(time);
    int head = snprintf(line, sizeof line, "%s[%s] %s: ", time, dango_log_level_name(level), component);
    va_list args;
    va_start(args, format);
    int body = vsnprintf(line + head, sizeof line - (size_t)head, format, args);
    va_end(args);
    if (log_sink) {
        log_sink(log_sink_arg, level, component, line + head);
        return;
    }
    size_t length = (size_t)head + (size_t)(body > 0 ? body : 0);
    if (length > sizeof line - 1)
        length = sizeof line - 1;
    line[length++] = '\n';
    /* Standard error may be closed or full: a lost log line must not become a failure. */
    if (write(STDERR_FILENO, line, length) < 0)
        return;
}
