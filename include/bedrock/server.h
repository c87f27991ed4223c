/*
 * A Bedrock daemon inside of a program: the `bedrock` program itself is little more than these calls.
 *
 *     struct bedrock_server *server = bedrock_server_create();
 *     if (bedrock_server_start(server, "na+sm", text, strlen(text), &err) == 0)
 *         bedrock_server_wait(server);
 *     bedrock_server_destroy(server);
 *
 * Create, start, wait and destroy belong to one thread, the first that uses Argobots in this process (it becomes the
 * primary ULT). bedrock_server_request_stop may come from any thread.
 */
#ifndef BEDROCK_SERVER_H
#define BEDROCK_SERVER_H

#include <margo.h>

#include <dango/error.h>

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

#define BEDROCK_SERVER_NAME_MAX 128

struct bedrock_server;

/* NULL when out of memory. */
struct bedrock_server *bedrock_server_create(void);

/*
 * Gives the server its name: what its partitions are found by after a restart, unique in its group. Before the start, and
 * before anything else that may name it: the environment (DANGO_SERVER_NAME), "bedrock.name" of the configuration, the
 * rank that a launcher gave. Letters, digits, '.', '_' and '-', at most BEDROCK_SERVER_NAME_MAX.
 */
int bedrock_server_set_name(struct bedrock_server *server, const char *name, struct dango_error *err);

/*
 * Starts engines and providers from the text of a configuration (JSON). `address` is a protocol or a listening
 * address, or NULL when the configuration says it. On failure everything that was started has been ended again, and
 * the server can only be destroyed. Blocks until all providers exist and are ready.
 */
int bedrock_server_start(struct bedrock_server *server, const char *address, const char *config, size_t length,
                         struct dango_error *err);

/* Blocks until somebody asks the daemon to stop: a client, or bedrock_server_request_stop. */
void bedrock_server_wait(struct bedrock_server *server);

/* Makes bedrock_server_wait return; before that, a start in progress is given up between two providers. Any thread. */
void bedrock_server_request_stop(struct bedrock_server *server);

/* Orderly end: providers in reverse order, then the engines. Blocks until running handlers have ended. */
void bedrock_server_destroy(struct bedrock_server *server);

/* Of a started server: the address of engine 0 (valid until destroy), the engines (MARGO_INSTANCE_NULL beyond the
 * last), and the effective configuration as compact JSON text, to be released with free(). */
const char *bedrock_server_address(const struct bedrock_server *server);
margo_instance_id bedrock_server_instance(const struct bedrock_server *server, size_t engine);
int bedrock_server_get_config(struct bedrock_server *server, char **config, struct dango_error *err);

#ifdef __cplusplus
}
#endif

#endif
