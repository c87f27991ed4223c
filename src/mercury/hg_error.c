/*
 * Names of error codes, version, and the level of messages.
 */
#include "mercury/hg.h"

#include "util/log.h"

#include <string.h>

const char *HG_Error_to_string(hg_return_t errnum)
{
#define X(name) #name,
    static const char *const names[] = {HG_RETURN_VALUES};
#undef X
    return (unsigned)errnum <= HG_RETURN_MAX ? names[errnum] : "unknown error";
}

hg_return_t HG_Version_get(unsigned int *major, unsigned int *minor, unsigned int *patch)
{
    if (major)
        *major = HG_VERSION_MAJOR;
    if (minor)
        *minor = HG_VERSION_MINOR;
    if (patch)
        *patch = HG_VERSION_PATCH;
    return HG_SUCCESS;
}

void HG_Set_log_level(const char *level)
{
    enum dango_log_level parsed;

    if (!level)
        return;
    if (strcmp(level, "none") == 0)
        level = "off";
    if (dango_log_level_parse(level, &parsed, NULL) == 0)
        dango_log_set_level(parsed);
    else
        log_warning("mercury", "unknown log level \"%s\"", level);
}

void HG_Set_log_subsys(const char *subsys)
{
    (void)subsys;
}
