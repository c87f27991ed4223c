/*
 * Error objects: see err.h. When memory for one is short, a constant object stands in, which is never freed.
 */
#include "warabi/err.h"

#include <assert.h>
#include <mercury.h>
#include <stdio.h>
#include <stdlib.h>

struct warabi_err {
    int code;
    char text[DANGO_ERROR_TEXT_MAX];
};

static struct warabi_err out_of_memory = {.code = WARABI_ERR_NO_SPACE, .text = "out of memory"};

const char *warabi_err_message(warabi_err_t err)
{
    return err ? err->text : "Success";
}

int warabi_err_code(warabi_err_t err)
{
    return err ? err->code : WARABI_ERR_OK;
}

void warabi_err_free(warabi_err_t err)
{
    if (err != &out_of_memory)
        free(err);
}

static void format_text(char *text, size_t size, const char *format, va_list args)
{
    vsnprintf(text, size, format, args);
}

warabi_err_t wb_err_new(int code, const char *format, ...)
{
    assert(code != WARABI_ERR_OK);
    struct warabi_err *err = malloc(sizeof *err);
    if (!err)
        return &out_of_memory;
    va_list args;
    va_start(args, format);
    format_text(err->text, sizeof err->text, format, args);
    va_end(args);
    err->code = code;
    return err;
}

warabi_err_t wb_err_from(const struct dango_error *err)
{
    return wb_err_new(wb_err_public_code(err->code), "%s", err->text);
}

warabi_err_t wb_err_from_hg(hg_return_t status, const char *doing)
{
    assert(status != HG_SUCCESS);
    int code = status == HG_TIMEOUT ? WARABI_ERR_TIMEOUT
               : status == HG_NOMEM ? WARABI_ERR_NO_SPACE
                                    : WARABI_ERR_TRANSPORT;
    const char *hint = status == HG_NOENTRY ? " (no Warabi provider with this id at this address)" : "";
    return wb_err_new(code, "%s: %s%s", doing, HG_Error_to_string(status), hint);
}

int wb_err_public_code(int code)
{
    switch (code) {
    case DANGO_ERR_INVALID:
    case DANGO_ERR_EXISTS:
        return WARABI_ERR_INVALID;
    case DANGO_ERR_NOT_FOUND:
        return WARABI_ERR_NOT_FOUND;
    case DANGO_ERR_RANGE:
        return WARABI_ERR_BOUNDS;
    case DANGO_ERR_NO_MEMORY:
        return WARABI_ERR_NO_SPACE;
    case DANGO_ERR_IO:
    case DANGO_ERR_CORRUPT:
        return WARABI_ERR_IO;
    case DANGO_ERR_TIMEOUT:
        return WARABI_ERR_TIMEOUT;
    case DANGO_ERR_DISCONNECTED:
    case DANGO_ERR_PROTOCOL:
        return WARABI_ERR_TRANSPORT;
    case DANGO_ERR_UNSUPPORTED:
        return WARABI_ERR_UNSUPPORTED;
    default:
        return WARABI_ERR_OTHER;
    }
}
