/*
 * Errors as Dango passes them around: a code, and a text that says where and what to do.
 *
 * Every internal function that can fail takes a trailing `struct dango_error *` and returns 0 or a negative code of
 * the list below. The callee writes the text where the fault is found; each caller on the way up may put the place in
 * front of it (dango_error_prefix), so that the user reads
 *
 *     config.json: providers[2].dependencies.pool: no pool named "io_pol" (pools: __primary__, io_pool; did you mean
 * "io_pool"?)
 *
 * The struct is plain memory owned by the caller; nothing is allocated, nothing needs to be released. A NULL error
 * pointer is allowed everywhere and means that the caller does not want the text. Not thread-safe per object.
 */
#ifndef DANGO_ERROR_H
#define DANGO_ERROR_H

#include <stdarg.h>

#ifdef __cplusplus
extern "C" {
#endif

/* name, value, what it means */
#define DANGO_ERROR_LIST(X)                                                                                            \
    X(OK, 0, "success")                                                                                                \
    X(INVALID, -1, "invalid argument or document")                                                                     \
    X(NOT_FOUND, -2, "no such object")                                                                                 \
    X(EXISTS, -3, "object exists already")                                                                             \
    X(NO_MEMORY, -4, "out of memory")                                                                                  \
    X(IO, -5, "input/output error")                                                                                    \
    X(TIMEOUT, -6, "deadline passed")                                                                                  \
    X(DISCONNECTED, -7, "peer is gone")                                                                                \
    X(PROTOCOL, -8, "peer sent something invalid")                                                                     \
    X(UNSUPPORTED, -9, "not built in or not possible here")                                                            \
    X(BUSY, -10, "object is in use")                                                                                   \
    X(PERMISSION, -11, "not permitted")                                                                                \
    X(CANCELED, -12, "operation was canceled")                                                                         \
    X(CORRUPT, -13, "stored data are damaged")                                                                         \
    X(RANGE, -14, "value outside its allowed range")                                                                   \
    X(AGAIN, -15, "not now, try again")                                                                                \
    X(INTERNAL, -16, "internal error")                                                                                 \
    X(COMPLETE, -17, "it is complete, nothing can be added")

enum dango_error_code {
#define DANGO_ERROR_ENUM(name, value, text) DANGO_ERR_##name = (value),
    DANGO_ERROR_LIST(DANGO_ERROR_ENUM)
#undef DANGO_ERROR_ENUM
};

#define DANGO_ERROR_TEXT_MAX 1024

struct dango_error {
    int code;                        /* 0 or one of enum dango_error_code */
    char text[DANGO_ERROR_TEXT_MAX]; /* NUL-terminated; empty while code is 0; cut with "…" when too long */
};

/* Only the first byte of the text is set, so that an error on the stack costs nothing. */
static inline void dango_error_clear(struct dango_error *err)
{
    if (err) {
        err->code = 0;
        err->text[0] = '\0';
    }
}

/* Sets code and text; returns code, so that `return dango_error_set(err, DANGO_ERR_INVALID, …)` reads well. */
int dango_error_set(struct dango_error *err, int code, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* The same with an errno value: the code is chosen from it and ": <strerror>" is appended. */
int dango_error_set_errno(struct dango_error *err, int errnum, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Puts context in front of the text: "context: text". Returns err->code (or DANGO_ERR_INTERNAL without err). */
int dango_error_prefix(struct dango_error *err, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The meaning of a code as text; never NULL. */
const char *dango_error_string(int code);

#ifdef __cplusplus
}
#endif

#endif
