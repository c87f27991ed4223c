/*
 * The texts of the return values, from their one list in yokan/common.h.
 */
#include "yokan/dango_yokan.h"

#include <stddef.h>

const char *dango_yokan_text(yk_return_t ret)
{
    static const char *const texts[] = {
#define X(name, message) [name] = message,
        YOKAN_RETURN_VALUES
#undef X
    };
    return (size_t)ret < sizeof texts / sizeof *texts ? texts[ret] : "unknown error";
}
