/*
 * Loggers: the global one, the instances', and the default that writes to the process' log.
 *
 * Sinks are copied under one lock for each message that passes the level, and called without it. Until a level is set
 * (by the program, or by MARGO_LOG_LEVEL), the level is that of the process' log.
 */
#include "margo/instance.h"

#include "util/log.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#define TEXT_MAX 2048

/* A level that stands for "as the process' log". */
#define LEVEL_FOLLOW (-1)

static pthread_mutex_t sink_mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_once_t environment_once = PTHREAD_ONCE_INIT;

static void write_default(enum dango_log_level level, const char *msg)
{
    dango_log_write(level, "margo", "%s", msg);
}

#define DEFAULT_SINK(name, level)                                                                                      \
    static void default_##name(void *arg, const char *msg)                                                             \
    {                                                                                                                  \
        (void)arg;                                                                                                     \
        write_default(level, msg);                                                                                     \
    }
DEFAULT_SINK(trace, DANGO_LOG_TRACE)
DEFAULT_SINK(debug, DANGO_LOG_DEBUG)
DEFAULT_SINK(info, DANGO_LOG_INFO)
DEFAULT_SINK(warning, DANGO_LOG_WARNING)
DEFAULT_SINK(error, DANGO_LOG_ERROR)
DEFAULT_SINK(critical, DANGO_LOG_CRITICAL)

static const struct margo_logger default_logger = {
    NULL, default_trace, default_debug, default_info, default_warning, default_error, default_critical,
};

static struct mg_logger global = {
    {NULL, default_trace, default_debug, default_info, default_warning, default_error, default_critical},
    LEVEL_FOLLOW,
};

static void read_environment(void)
{
    const char *name = getenv("MARGO_LOG_LEVEL");
    enum dango_log_level level;
    struct dango_error err;
    if (!name)
        return;
    if (dango_log_level_parse(name, &level, &err) == 0)
        atomic_store(&global.level, (int)level + MARGO_LOG_TRACE);
    else
        log_warning("margo", "MARGO_LOG_LEVEL: %s", err.text);
}

static struct mg_logger *logger_of(margo_instance_id mid)
{
    pthread_once(&environment_once, read_environment);
    return mid ? &mid->logger : &global;
}

void mg_logger_init(struct mg_logger *logger, const struct margo_logger *sink)
{
    pthread_once(&environment_once, read_environment);
    pthread_mutex_lock(&sink_mutex);
    logger->sink = sink ? *sink : global.sink;
    pthread_mutex_unlock(&sink_mutex);
    atomic_store(&logger->level, atomic_load(&global.level));
}

static int set_logger(margo_instance_id mid, const struct margo_logger *sink)
{
    struct mg_logger *logger = logger_of(mid);
    pthread_mutex_lock(&sink_mutex);
    logger->sink = sink ? *sink : default_logger;
    pthread_mutex_unlock(&sink_mutex);
    if (mid)
        atomic_store(&logger->level, atomic_load(&global.level));
    return 0;
}

static int set_level(margo_instance_id mid, margo_log_level level)
{
    if ((int)level < MARGO_LOG_EXTERNAL || level > MARGO_LOG_CRITICAL)
        return -1;
    atomic_store(&logger_of(mid)->level, (int)level);
    return 0;
}

int margo_set_logger(margo_instance_id mid, const struct margo_logger *logger)
{
    return mid ? set_logger(mid, logger) : -1;
}

int margo_set_log_level(margo_instance_id mid, margo_log_level level)
{
    return mid ? set_level(mid, level) : -1;
}

int margo_set_global_logger(const struct margo_logger *logger)
{
    return set_logger(MARGO_INSTANCE_NULL, logger);
}

int margo_set_global_log_level(margo_log_level level)
{
    return set_level(MARGO_INSTANCE_NULL, level);
}

static margo_log_fn_t function_of(const struct margo_logger *sink, margo_log_level level)
{
    switch (level) {
    case MARGO_LOG_TRACE:
        return sink->trace;
    case MARGO_LOG_DEBUG:
        return sink->debug;
    case MARGO_LOG_INFO:
        return sink->info;
    case MARGO_LOG_WARNING:
        return sink->warning;
    case MARGO_LOG_ERROR:
        return sink->error;
    default:
        return sink->critical;
    }
}

static bool passes(struct mg_logger *logger, margo_log_level level)
{
    int threshold = atomic_load(&logger->level);
    if (threshold == LEVEL_FOLLOW)
        return dango_log_enabled((enum dango_log_level)(level - MARGO_LOG_TRACE));
    return (int)level >= threshold;
}

static void log_message(margo_instance_id mid, margo_log_level level, const char *fmt, va_list args)
{
    struct mg_logger *logger = logger_of(mid);
    if (!passes(logger, level))
        return;
    pthread_mutex_lock(&sink_mutex);
    struct margo_logger sink = logger->sink;
    pthread_mutex_unlock(&sink_mutex);
    margo_log_fn_t write = function_of(&sink, level);
    if (!write)
        return;
    char text[TEXT_MAX];
    vsnprintf(text, sizeof text, fmt, args);
    write(sink.uargs, text);
}

#define LOG_FUNCTION(name, level)                                                                                      \
    void margo_##name(margo_instance_id mid, const char *fmt, ...)                                                     \
    {                                                                                                                  \
        va_list args;                                                                                                  \
        va_start(args, fmt);                                                                                           \
        log_message(mid, level, fmt, args);                                                                            \
        va_end(args);                                                                                                  \
    }
LOG_FUNCTION(trace, MARGO_LOG_TRACE)
LOG_FUNCTION(debug, MARGO_LOG_DEBUG)
LOG_FUNCTION(info, MARGO_LOG_INFO)
LOG_FUNCTION(warning, MARGO_LOG_WARNING)
LOG_FUNCTION(error, MARGO_LOG_ERROR)
LOG_FUNCTION(critical, MARGO_LOG_CRITICAL)
