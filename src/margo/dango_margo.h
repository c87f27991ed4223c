/*
 * What Margo offers to the other components beyond margo.h: initialisation and changes at run time with an error text
 * instead of a log line, and the effective configuration as JSON objects.
 *
 * Texts have the form "<JSON path>: <problem>" (a path below `path`, "margo" by default). Functions that return `int`
 * give 0 or a negative code of dango/error.h. JSON objects given are only read; those returned have one reference, the
 * caller's. Thread-safe; what starts or joins an execution stream may block the caller.
 */
#ifndef DANGO_MARGO_DANGO_MARGO_H
#define DANGO_MARGO_DANGO_MARGO_H

#include <dango/error.h>
#include <dango/options.h>
#include <margo.h>

struct json_object;

/* ---- start ---- */

/* margo_init_ext that says why it failed. */
margo_instance_id dango_margo_init(const char *address, int mode, const struct margo_init_info *info,
                                   struct dango_error *err);

/* The same with a parsed configuration (NULL: {}) and its place in its document ("margo[1]"), for messages. `info` may
 * be NULL; its json_config is not looked at. */
margo_instance_id dango_margo_init_json(const char *address, int mode, const struct margo_init_info *info,
                                        struct json_object *config, const char *path, struct dango_error *err);

/* Checks a configuration without any side effect: everything that can be wrong without touching the network. With
 * `secondary`, by the rules of an instance that shares another's pools (references are then checked at start only). */
int dango_margo_check_config(struct json_object *config, const char *path, bool secondary, struct dango_error *err);

/* ---- effective configuration ---- */

/* Complete, pools referred to by name; keys in the order of the option tables. */
struct json_object *dango_margo_config(margo_instance_id mid);

/* ---- look-up ---- */

/* `reference` is the name or the index of a pool (a JSON string or integer), `path` its place. The error lists the
 * pools and suggests one. `info` may be NULL. */
int dango_margo_find_pool(margo_instance_id mid, struct json_object *reference, const char *path,
                          struct margo_pool_info *info, struct dango_error *err);
int dango_margo_find_xstream(margo_instance_id mid, struct json_object *reference, const char *path,
                             struct margo_xstream_info *info, struct dango_error *err);

/* ---- changes at run time; rules as in margo-config.h ---- */

int dango_margo_add_pool(margo_instance_id mid, struct json_object *config, const char *path,
                         struct margo_pool_info *info, struct dango_error *err);
int dango_margo_add_xstream(margo_instance_id mid, struct json_object *config, const char *path,
                            struct margo_xstream_info *info, struct dango_error *err);
int dango_margo_remove_pool(margo_instance_id mid, const char *name, struct dango_error *err);
int dango_margo_remove_xstream(margo_instance_id mid, const char *name, struct dango_error *err);

/* ---- peers that do not answer ---- */

/*
 * Calls `told` when a call that has a deadline has been without an answer for so long, for people who would otherwise
 * look at nothing happening until the deadline; the call goes on. Of a peer that stays silent it is told again after
 * half a minute at the soonest. `told` runs on the thread of the timers: it must be short and not block. To be set
 * before the instance's first call.
 */
void dango_margo_on_silence(margo_instance_id mid, double after_ms, void (*told)(void *arg, const char *address),
                            void *arg);

/* ---- option tables, for the reference pages ---- */

extern const struct dango_option dango_margo_options[];         /* the "margo" section */
extern const struct dango_option dango_margo_pool_options[];    /* an entry of argobots.pools */
extern const struct dango_option dango_margo_xstream_options[]; /* an entry of argobots.xstreams */

#endif
