/*
 * Error texts: formatting into the fixed buffer of a struct dango_error, and prefixing on the way up.
 */
#include <dango/error.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>

static const char cut_mark[] = "…";

/* Formats into `text`; a text that does not fit ends in an ellipsis instead of in the middle of a word unnoticed. */
static void format_text(char *text, const char *format, va_list args)
{
    int n = vsnprintf(text, DANGO_ERROR_TEXT_MAX, format, args);
    if (n >= DANGO_ERROR_TEXT_MAX)
        memcpy(text + DANGO_ERROR_TEXT_MAX - sizeof cut_mark, cut_mark, sizeof cut_mark);
}

static int code_of_errno(int errnum)
{
    switch (errnum) {
    case ENOENT:
        return DANGO_ERR_NOT_FOUND;
    case EEXIST:
        return DANGO_ERR_EXISTS;
    case ENOMEM:
        return DANGO_ERR_NO_MEMORY;
    case EACCES:
    case EPERM:
    case EROFS:
        return DANGO_ERR_PERMISSION;
    case EINVAL:
        return DANGO_ERR_INVALID;
    case EBUSY:
        return DANGO_ERR_BUSY;
    case ETIMEDOUT:
        return DANGO_ERR_TIMEOUT;
    default:
        return DANGO_ERR_IO;
    }
}

int dango_error_set(struct dango_error *err, int code, const char *format, ...)
{
    if (err) {
        va_list args;
        va_start(args, format);
        err->code = code;
        format_text(err->text, format, args);
        va_end(args);
    }
    return code;
}

int dango_error_set_errno(struct dango_error *err, int errnum, const char *format, ...)
{
    char where[DANGO_ERROR_TEXT_MAX];
    va_list args;
    va_start(args, format);
    format_text(where, format, args);
    va_end(args);
    return dango_error_set(err, code_of_errno(errnum), "%s: %s", where, strerror(errnum));
}

int dango_error_prefix(struct dango_error *err, const char *format, ...)
{
    if (!err)
        return DANGO_ERR_INTERNAL;
    char context[DANGO_ERROR_TEXT_MAX];
    char text[DANGO_ERROR_TEXT_MAX];
    va_list args;
    va_start(args, format);
    format_text(context, format, args);
    va_end(args);
    memcpy(text, err->text, sizeof text);
    return dango_error_set(err, err->code, "%s: %s", context, text);
}

const char *dango_error_string(int code)
{
    switch (code) {
#define ERROR_CASE(name, value, text)                                                                                  \
    case value:                                                                                                        \
        return text;
        DANGO_ERROR_LIST(ERROR_CASE)
#undef ERROR_CASE
    default:
        return "unknown error";
    }
}
