/*
 * Opening and describing databases: see store.h.
 */
#include "yokan/store.h"

#include "util/json.h"

#include <assert.h>
#include <stdlib.h>

struct selection {
    char *type;
    struct json_object *config;
};

static const struct dango_option selection_options[] = {
    DANGO_OPTION_STRING_REQUIRED("type", struct selection, type, "kind of database: map, rocksdb, lmdb, leveldb"),
    DANGO_OPTION_JSON("config", struct selection, config, DANGO_JSON_OBJECT, "{}", "options of that kind"),
    DANGO_OPTION_END,
};

/* Finds the backend and parses its options into new settings, which the caller releases. */
static const struct yokan_backend *parse(struct json_object *config, const char *path, void **settings,
                                         struct dango_error *err)
{
    assert(path && settings);
    struct selection selection = {0};
    char place[256];
    if (dango_options_parse(selection_options, config, path, &selection, err) != 0)
        return NULL;
    snprintf(place, sizeof place, "%s.type", path);
    const struct yokan_backend *backend = yokan_backend_find(selection.type, place, err);
    snprintf(place, sizeof place, "%s.config", path);
    *settings = backend ? calloc(1, backend->settings_size) : NULL;
    if (backend && !*settings)
        dango_error_set(err, DANGO_ERR_NO_MEMORY, "out of memory");
    bool parsed = *settings && dango_options_parse(backend->options, selection.config, place, *settings, err) == 0;
    if (!parsed)
        free(*settings);
    dango_options_release(selection_options, &selection);
    return parsed ? backend : NULL;
}

int yokan_database_check(struct json_object *config, const char *path, struct dango_error *err)
{
    void *settings;
    struct dango_error local = {0};
    const struct yokan_backend *backend = parse(config, path, &settings, err ? err : &local);
    if (!backend)
        return err ? err->code : local.code;
    dango_options_release(backend->options, settings);
    free(settings);
    return 0;
}

/* On failure everything is released again, and nothing was created. */
yk_return_t yokan_database_open(struct json_object *config, const char *path, struct yokan_database **database,
                                struct dango_error *err)
{
    assert(config && path);
    struct yokan_database *d = calloc(1, sizeof *d);
    if (!d) {
        dango_error_set(err, DANGO_ERR_NO_MEMORY, "out of memory");
        return YOKAN_ERR_ALLOCATION;
    }
    yk_return_t ret = YOKAN_ERR_INVALID_CONFIG;
    d->backend = parse(config, path, &d->settings, err);
    if (d->backend) {
        d->lock_documents = !((struct yokan_common_settings *)d->settings)->disable_doc_mixin_lock;
        ret = d->backend->open(d->settings, &d->db, err);
        if (ret != YOKAN_SUCCESS)
            dango_error_prefix(err, "%s.config", path);
    }
    if (ret == YOKAN_SUCCESS) {
        *database = d;
        return ret;
    }
    if (d->backend) {
        dango_options_release(d->backend->options, d->settings);
        free(d->settings);
    }
    free(d);
    return ret;
}

void yokan_database_close(struct yokan_database *database)
{
    assert(database);
    database->backend->close(database->db);
    dango_options_release(database->backend->options, database->settings);
    free(database->settings);
    free(database);
}

struct json_object *yokan_database_config(const struct yokan_database *database)
{
    assert(database);
    struct json_object *json = json_object_new_object();
    json_object_object_add(json, "type", json_object_new_string(database->backend->type));
    json_object_object_add(json, "config", dango_options_dump(database->backend->options, database->settings));
    return json;
}
