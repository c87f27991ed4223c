/*
 * The network driver: registered as "mofka".
 *
 * Opening reads the group file, starts (or shares) the network engine for its protocol, asks the servers for their
 * configuration, one after the other, and takes the first Yokan provider tagged "mofka:master" as the registry of topics.
 * Servers that are dead are no obstacle, unless it was theirs. Data do not pass through here: topics know where their
 * partitions are.
 */
#include "mofka/client/driver.h"
#include "mercury/dango_hg.h"
#include "mofka/client/options.h"
#include "util/log.h"

#include <stdlib.h>
#include <string.h>

static int open_network(struct mofka_driver *driver, const struct mofka_driver_options *options,
                        struct dango_error *err)
{
    char **addresses;
    size_t count;
    int code = bedrock_group_file_read(driver->group_file, &addresses, &count, err);
    if (code != 0)
        return code;
    char *protocol = dango_hg_client_protocol(addresses[0]);
    code = protocol ? mofka_engine_get(protocol, options->margo, &driver->engine, err)
                    : dango_error_set(err, DANGO_ERR_NO_MEMORY, "out of memory");
    free(protocol);
    if (code != 0)
        goto out;
    code = mofka_leases_init(&driver->leases, driver->engine, err);
    if (code != 0) {
        mofka_engine_put(driver->engine);
        driver->engine = NULL;
        goto out;
    }
    code = bedrock_client_create(mofka_engine_instance(driver->engine), &driver->bedrock, err);
    if (code == 0)
        code = mofka_search_init(driver, err);
    if (code == 0 && mofka_find_master(driver, true, err) != 0)
        code = dango_error_prefix(err, "group file %s", driver->group_file);
out:
    bedrock_addresses_free(addresses, count);
    return code;
}

static void mofka_driver_close(void *driver)
{
    struct mofka_driver *self = driver;
    mofka_search_fini(self);
    bedrock_client_destroy(self->bedrock);
    if (self->engine) {
        mofka_leases_fini(&self->leases);
        mofka_engine_put(self->engine);
    }
    free(self->group_file);
    pthread_mutex_destroy(&self->losses_lock);
    free(self);
}

/* ---- what the user hears of lost servers ---- */

void mofka_driver_note_loss(struct mofka_driver *driver, const char *why)
{
    pthread_mutex_lock(&driver->losses_lock);
    bool first = driver->losses++ == 0;
    pthread_mutex_unlock(&driver->losses_lock);
    if (first)
        log_warning("mofka", "lost: %s; looking for it for up to %g s", why, driver->reconnect_timeout_ms / 1000);
}

void mofka_driver_note_end(struct mofka_driver *driver, bool found, const char *address, double seconds)
{
    pthread_mutex_lock(&driver->losses_lock);
    bool last = --driver->losses == 0;
    pthread_mutex_unlock(&driver->losses_lock);
    if (last && found)
        log_warning("mofka", "back after %.1f s: the partition is at %s", seconds, address);
    else if (last)
        log_warning("mofka", "given up after %.1f s", seconds);
}

/* ---- opening ---- */

static int mofka_driver_open(struct json_object *options, void **driver, struct dango_error *err)
{
    struct mofka_driver_options parsed = {0};
    struct dango_error mine;
    if (!err)
        err = &mine;
    int code = dango_options_parse(dango_mofka_driver_options, options, "driver", &parsed, err);
    if (code != 0)
        return code;
    struct mofka_driver *new = calloc(1, sizeof *new);
    if (new) {
        new->group_file = strdup(parsed.group_file);
        new->view = (flock_group_view_t)FLOCK_GROUP_VIEW_INITIALIZER;
        new->reconnect_timeout_ms = (double)parsed.reconnect_timeout_ms;
        pthread_mutex_init(&new->losses_lock, NULL);
    }
    if (!new || !new->group_file)
        code = dango_error_set(err, DANGO_ERR_NO_MEMORY, "out of memory");
    else
        code = open_network(new, &parsed, err);
    dango_options_release(dango_mofka_driver_options, &parsed);
    if (code != 0) {
        if (new)
            mofka_driver_close(new);
        return code;
    }
    *driver = new;
    return 0;
}

static const struct diaspora_driver_ops ops = {
    .abi = DIASPORA_DRIVER_ABI,
    .type = "mofka",
    .options = dango_mofka_driver_options,
    .topic_options = dango_mofka_topic_options,
    .driver_open = mofka_driver_open,
    .driver_close = mofka_driver_close,
    .topic_create = mofka_topic_create,
    .topic_import = mofka_topic_import,
    .topic_exists = mofka_topic_exists,
    .topic_list = mofka_topic_list,
    .topic_open = mofka_topic_open,
    .topic_close = mofka_topic_close,
    .buffer_allocate = mofka_buffer_allocate,
    .buffer_free = mofka_buffer_free,
    .sink_open = mofka_sink_open,
    .sink_submit = mofka_sink_submit,
    .sink_close = mofka_sink_close,
    .sink_settle = mofka_sink_settle,
    .source_open = mofka_source_open,
    .source_fetch = mofka_source_fetch,
    .source_read = mofka_source_read,
    .source_acknowledge = mofka_source_acknowledge,
    .source_extent = mofka_source_extent,
    .source_skipped = mofka_source_skipped,
    .source_close = mofka_source_close,
    .topic_delete = mofka_topic_delete,
    .topic_inspect = mofka_topic_inspect,
    .topic_set_position = mofka_topic_set_position,
    .topic_complete = mofka_topic_complete,
};

__attribute__((constructor)) static void register_driver(void)
{
    struct dango_error err;
    if (dango_diaspora_register_driver(&ops, &err) != 0)
        log_error("mofka", "%s", err.text);
}
