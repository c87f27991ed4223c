/*
 * Start and end of the engines, see engine.h; and which address each of them listens on.
 */
#include "bedrock/engine.h"
#include "margo/dango_margo.h"
#include "util/json.h"
#include "util/log.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/*
 * A single engine: the command line wins over "mercury.address". Several: each has its own, and the command line is
 * for those that have none.
 */
static const char *choose_address(const struct bdk_config *config, size_t i, const char *command_line)
{
    struct json_object *engine = json_object_array_get_idx(config->engines, i);
    const char *own = dango_json_get_string(dango_json_get(engine, "mercury"), "address");
    bool single = json_object_array_length(config->engines) == 1;
    return command_line && (single || !own) ? command_line : own;
}

static char *self_address(margo_instance_id mid)
{
    hg_addr_t self = HG_ADDR_NULL;
    hg_size_t size = 0;
    char *text = NULL;
    if (margo_addr_self(mid, &self) == HG_SUCCESS && margo_addr_to_string(mid, NULL, &size, self) == HG_SUCCESS &&
        (text = calloc(1, size + 1)) && margo_addr_to_string(mid, text, &size, self) != HG_SUCCESS) {
        free(text);
        text = NULL;
    }
    margo_addr_free(mid, self);
    return text;
}

static int start_one(struct bdk_engines *engines, const struct bdk_config *config, size_t i, const char *command_line,
                     struct dango_error *err)
{
    char path[BDK_PATH_BYTES];
    bdk_config_engine_path(config, i, path);
    const char *address = choose_address(config, i, command_line);
    if (!address)
        return dango_error_set(
            err, DANGO_ERR_INVALID,
            "%s.mercury.address: cannot infer a protocol; give one on the command line, as in \"bedrock "
            "na+sm -c config.json\" (margo-info lists what works here), or an address in this field",
            path);
    struct margo_init_info info = MARGO_INIT_INFO_INITIALIZER;
    info.parent_mid = i > 0 ? engines->list[0].mid : MARGO_INSTANCE_NULL;
    struct bdk_engine *engine = &engines->list[i];
    engine->mid = dango_margo_init_json(address, MARGO_SERVER_MODE, &info,
                                        json_object_array_get_idx(config->engines, i), path, err);
    if (engine->mid == MARGO_INSTANCE_NULL)
        return err->code;
    engines->count++;
    engine->address = self_address(engine->mid);
    if (!engine->address)
        return dango_error_set(err, DANGO_ERR_INTERNAL, "%s: the engine does not know its address", path);
    return 0;
}

int bdk_engines_start(struct bdk_engines *engines, const struct bdk_config *config, const char *address,
                      struct dango_error *err)
{
    size_t count = json_object_array_length(config->engines);
    *engines = (struct bdk_engines){.array = config->engines_are_array};
    engines->list = calloc(count, sizeof *engines->list);
    if (!engines->list)
        return dango_error_set(err, DANGO_ERR_NO_MEMORY, "out of memory");
    int status = 0;
    for (size_t i = 0; i < count && status == 0; i++) {
        char path[BDK_PATH_BYTES];
        status = dango_margo_check_config(json_object_array_get_idx(config->engines, i),
                                          bdk_config_engine_path(config, i, path), i > 0, err);
    }
    for (size_t i = 0; i < count && status == 0; i++)
        status = start_one(engines, config, i, address, err);
    if (status < 0)
        bdk_engines_stop(engines);
    return status;
}

void bdk_engines_stop(struct bdk_engines *engines)
{
    while (engines->count > 0) {
        struct bdk_engine *engine = &engines->list[--engines->count];
        margo_finalize_and_wait(engine->mid);
        free(engine->address);
    }
    free(engines->list);
    *engines = (struct bdk_engines){0};
}

struct json_object *bdk_engines_dump(const struct bdk_engines *engines)
{
    assert(engines->count > 0);
    if (!engines->array)
        return dango_margo_config(engines->list[0].mid);
    struct json_object *array = json_object_new_array();
    for (size_t i = 0; i < engines->count; i++)
        json_object_array_add(array, dango_margo_config(engines->list[i].mid));
    return array;
}
