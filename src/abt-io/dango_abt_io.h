/*
 * What ABT-IO offers inside Dango beyond abt-io.h: creation from parsed JSON with errors as values instead of log
 * lines, for the Bedrock module and for components that own an instance.
 */
#ifndef DANGO_ABT_IO_DANGO_ABT_IO_H
#define DANGO_ABT_IO_DANGO_ABT_IO_H

#include <abt-io.h>
#include <dango/options.h>

struct json_object;

/* The options of an instance; they fill in a struct abtio_settings (abtio.h). */
extern const struct dango_option dango_abt_io_options[];

/*
 * Creates an instance. `config`: an object or NULL for {}, borrowed; unknown fields are errors. `pool`: where
 * operations run, ABT_POOL_NULL for a pool and execution streams of its own. NULL on failure.
 */
abt_io_instance_id dango_abt_io_create(struct json_object *config, ABT_pool pool, struct dango_error *err);

/* The pool whose streams are blocked by operations; ABT_POOL_NULL when they are the kernel's business (rings). */
ABT_pool dango_abt_io_pool(abt_io_instance_id aid);

/*
 * Runs several system calls as one operation: in the instance's pool, also where there are rings. The calling ULT waits.
 * `body` can be in a tasklet: it may wait for files and locks of the system, not for anything of Argobots. 0, or a negative
 * errno value, and `body` has not been run.
 */
int dango_abt_io_run(abt_io_instance_id aid, void (*body)(void *argument), void *argument);

/* The effective configuration, one new reference. */
struct json_object *dango_abt_io_config(abt_io_instance_id aid);

#endif
