/*
 * Client of running `bedrock` daemons: read their configuration, start providers, change pools, shut them down.
 *
 *     struct bedrock_client *client = NULL;
 *     struct bedrock_service *service = NULL;
 *     struct dango_error err = {0};
 *     char *config = NULL;
 *     if (bedrock_client_create(mid, &client, &err) < 0 ||
 *         bedrock_service_open(client, "na+sm://4843-0", 0, &service, &err) < 0 ||
 *         bedrock_service_get_config(service, &config, &err) < 0)
 *         fprintf(stderr, "%s\n", err.text);
 *     puts(config ? config : "");
 *     free(config);
 *     bedrock_service_close(service);
 *     bedrock_client_destroy(client);
 *
 * A *service* is one daemon, a *group* several of them. Group operations contact all members at the same time and do
 * what they can: a member that fails keeps nothing from the others. They return once all have answered or run out of
 * time, 0 if all members have succeeded; otherwise the error names all that failed, as far as its text has room.
 *
 * All functions return 0 or a negative code of dango/error.h and write a text that says which daemon said what.
 * Functions that contact a daemon block the calling ULT (or pthread) until the answer is there, the daemon is known to
 * be gone, or the time limit of the client has passed. Handles may be used from several ULTs and threads at the same
 * time, but closed only once nobody uses them. Services and groups must be closed before their client is destroyed,
 * and the client before its Margo instance is finalised. Closing and destroying NULL is allowed.
 *
 * Texts: JSON arguments are JSON text. A provider is named by a *spec*: its name, or "type:id". Returned texts are the
 * caller's, to be released with free().
 */
#ifndef BEDROCK_CLIENT_H
#define BEDROCK_CLIENT_H

#include <margo.h>

#include <dango/error.h>

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* How long a daemon may take to answer unless bedrock_client_set_timeout says otherwise. */
#define BEDROCK_CLIENT_TIMEOUT_MS 30000.0

/* Longest name or type of a provider, without the terminating NUL. */
#define BEDROCK_NAME_MAX 255

struct bedrock_client;
struct bedrock_service;
struct bedrock_group;

/* The instance must outlive the client; server and client instances are both fine. */
int bedrock_client_create(margo_instance_id mid, struct bedrock_client **client, struct dango_error *err);
void bedrock_client_destroy(struct bedrock_client *client);

/* Time limit of every later operation, in milliseconds (> 0). */
void bedrock_client_set_timeout(struct bedrock_client *client, double timeout_ms);

/*
 * One daemon. `provider_id` is the id of its management provider ("bedrock.provider_id", usually 0).
 * Opening only resolves the address; whether somebody answers there shows at the first operation.
 */
int bedrock_service_open(struct bedrock_client *client, const char *address, uint16_t provider_id,
                         struct bedrock_service **service, struct dango_error *err);
void bedrock_service_close(struct bedrock_service *service);

/* As given to bedrock_service_open; valid until the service is closed. */
const char *bedrock_service_address(const struct bedrock_service *service);

/* The effective configuration of the daemon: a compact JSON object with sorted keys. */
int bedrock_service_get_config(struct bedrock_service *service, char **config, struct dango_error *err);

/*
 * Value of an expression over $__config__ (the effective configuration) and $MPI_COMM_WORLD, as JSON text ("null" for
 * nothing): `$__config__.margo.mercury.address`. What does not exist counts as null inside of an expression; as the whole
 * result it is DANGO_ERR_NOT_FOUND, since it is mostly a slip.
 */
int bedrock_service_query(struct bedrock_service *service, const char *expression, char **result,
                          struct dango_error *err);

/* Loads a module library into the daemon; loading one a second time does nothing. */
int bedrock_service_load_module(struct bedrock_service *service, const char *library, struct dango_error *err);

/*
 * Starts a provider from its description, the same object as in "providers" of a configuration. `provider_id` may be
 * NULL; it receives the id, chosen by the daemon when the description names none.
 */
int bedrock_service_start_provider(struct bedrock_service *service, const char *description, uint16_t *provider_id,
                                   struct dango_error *err);

/* Stops a provider; refused while another provider of that process depends on it. */
int bedrock_service_remove_provider(struct bedrock_service *service, const char *spec, struct dango_error *err);

/* Changes fields of the configuration of a running provider: all of them or, on an error, none. */
int bedrock_service_update_provider(struct bedrock_service *service, const char *spec, const char *config,
                                    struct dango_error *err);

struct bedrock_provider_info {
    char name[BEDROCK_NAME_MAX + 1];
    char type[BEDROCK_NAME_MAX + 1];
    uint16_t provider_id;
};

/*
 * Finds a provider, waiting up to `timeout_s` seconds for it to be started; DANGO_ERR_TIMEOUT after that. The wait is
 * the daemon's and comes on top of the time limit of the client.
 */
int bedrock_service_lookup_provider(struct bedrock_service *service, const char *spec, double timeout_s,
                                    struct bedrock_provider_info *info, struct dango_error *err);

/* Pools and execution streams of the daemon, from JSON objects as in "margo.argobots"; removal is by name. */
int bedrock_service_add_pool(struct bedrock_service *service, const char *config, struct dango_error *err);
int bedrock_service_remove_pool(struct bedrock_service *service, const char *name, struct dango_error *err);
int bedrock_service_add_xstream(struct bedrock_service *service, const char *config, struct dango_error *err);
int bedrock_service_remove_xstream(struct bedrock_service *service, const char *name, struct dango_error *err);

/* Asks for an orderly shutdown; returns when the daemon has accepted, which is before it has ended. */
int bedrock_service_shutdown(struct bedrock_service *service, struct dango_error *err);

/* Several daemons; equal addresses count once. Fails as a whole when one address cannot be resolved. */
int bedrock_group_open(struct bedrock_client *client, const char *const *addresses, size_t count, uint16_t provider_id,
                       struct bedrock_group **group, struct dango_error *err);

/* The members of a group file as Flock writes it ("members[*].address"). */
int bedrock_group_open_file(struct bedrock_client *client, const char *path, uint16_t provider_id,
                            struct bedrock_group **group, struct dango_error *err);
void bedrock_group_close(struct bedrock_group *group);

/* Members in the order given. A service of a group is borrowed: valid until the group is closed. */
size_t bedrock_group_size(const struct bedrock_group *group);
struct bedrock_service *bedrock_group_service(const struct bedrock_group *group, size_t i); /* NULL beyond the last */

/*
 * Called by the operations below for each member that fails, in the caller's ULT or thread, before they return. To be
 * set before the group is used; NULL: nobody is called.
 */
typedef void (*bedrock_group_failure_fn)(struct bedrock_service *member, const struct dango_error *why, void *arg);
void bedrock_group_on_failure(struct bedrock_group *group, bedrock_group_failure_fn on_failure, void *arg);

/*
 * For all members at the same time: one JSON object {address: configuration or result}, sorted and compact. It is there
 * (and to be released) after a failure, too, without the members that failed.
 */
int bedrock_group_get_config(struct bedrock_group *group, char **config, struct dango_error *err);
int bedrock_group_query(struct bedrock_group *group, const char *expression, char **result, struct dango_error *err);

/* Shuts all members down. One that has not answered may go on running. */
int bedrock_group_shutdown(struct bedrock_group *group, struct dango_error *err);

/*
 * The addresses in a group file, without duplicates, in its order. Errors: the file is missing, is not a group file,
 * or has no members. Does not use the network. Released with bedrock_addresses_free.
 */
int bedrock_group_file_read(const char *path, char ***addresses, size_t *count, struct dango_error *err);
void bedrock_addresses_free(char **addresses, size_t count);

#ifdef __cplusplus
}
#endif

#endif
