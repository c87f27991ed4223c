/*
 * What the module does for a server as a whole: it brings the server's partitions back at a start.
 *
 *     host.c          when: before the server announces itself, and, if the master is not there yet, in the background
 *     surroundings.c  the group around the server, and where the master database is
 *     restore.c       the name of the server, and its partitions
 *     directories.c   partitions that lie in a directory and that nobody knows
 *
 * The steps of one attempt: look around; name the server (its position in the group, if nobody has named it); claim the
 * name in the master database; start each partition that the registry gives to this name, and write down where it is.
 *
 *   nobody but this server, and no master in it   nothing to restore; nothing is retried
 *   no master found, but others might have it     again, after a growing pause, until there is one or the server ends
 *   another server of the group has the name      the start fails; in the background: an error in the log, no restore
 *   a partition needs a server that is not up yet the same, for this partition
 *   a partition cannot be started                 said in the log and, for clients, in its document; the others go on
 *   the master is lost half-way                   again; what runs already is only entered anew
 *
 * Everything here runs in ULTs and may block.
 */
#ifndef DANGO_MOFKA_SERVER_HOST_H
#define DANGO_MOFKA_SERVER_HOST_H

#include "mofka/registry/registry.h"

#include <bedrock/module.h>
#include <margo.h>

#include <stdbool.h>

/* For struct bedrock_module. */
int mofka_host_attach(struct bedrock_host *bedrock, void **host, struct dango_error *err);
void mofka_host_detach(void *host);

/* ---- inside ---- */

/* How long another server may take to say what it has. */
#define MOFKA_ASK_MS 5000.0

struct mofka_surroundings {
    struct json_object *config; /* of this server */
    char **members;             /* addresses of the group, sorted, this server's included; at least that */
    size_t member_count;
    char *master; /* address of the master database's server; NULL: not found */
    uint16_t master_id;
};

/* Fills in what there is. The failure of another server is not one of this call: it only has no master then. */
int mofka_look_around(struct bedrock_host *bedrock, struct mofka_surroundings *around, struct dango_error *err);
void mofka_surroundings_release(struct mofka_surroundings *around);
/* Whether a server of the group answers at this address. */
bool mofka_is_alive(struct bedrock_host *bedrock, const struct mofka_surroundings *around, const char *address);

/* Gives a server that is alone a name, if it has none; others get theirs from mofka_restore. */
int mofka_name_server(struct bedrock_host *bedrock, const struct mofka_surroundings *around, struct dango_error *err);
/* The rest of an attempt, when the master is known. DANGO_ERR_INVALID: another server has the name; DANGO_ERR_AGAIN: the
 * master database does not work. */
int mofka_restore(struct bedrock_host *bedrock, const struct mofka_surroundings *around, struct dango_error *err);

#endif
