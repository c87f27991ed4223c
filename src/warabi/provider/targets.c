/*
 * The list of targets in this build.
 */
#include "warabi/provider/target.h"

#include "util/suggest.h"

#include <assert.h>
#include <string.h>

static const struct wb_target_type *const types[] = {
    &wb_target_memory,
    &wb_target_abtio,
};
#define TYPES (sizeof types / sizeof *types)

/* Targets of the original that this build does not have: worth a clearer answer than "unknown". */
static const char *const absent[] = {"pmdk", "pmem"};

static bool is_absent(const char *name)
{
    for (size_t i = 0; i < sizeof absent / sizeof *absent; i++) {
        if (strcmp(absent[i], name) == 0)
            return true;
    }
    return false;
}

const struct wb_target_type *wb_target_type_find(const char *name, struct dango_error *err)
{
    assert(name);
    const char *names[TYPES];
    for (size_t i = 0; i < TYPES; i++) {
        if (strcmp(types[i]->name, name) == 0)
            return types[i];
        names[i] = types[i]->name;
    }
    char list[256];
    dango_suggest_list("types", name, names, TYPES, list, sizeof list);
    if (is_absent(name))
        dango_error_set(err, DANGO_ERR_UNSUPPORTED, "the target type \"%s\" is not part of this build%s", name, list);
    else
        dango_error_set(err, DANGO_ERR_INVALID, "unknown target type \"%s\"%s", name, list);
    return NULL;
}
