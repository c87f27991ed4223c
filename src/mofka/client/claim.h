/*
 * Who creates a topic: a mark in the master database that keeps others away, and that others can tell from one whose maker
 * has died.
 *
 *     {"id", "host", "scope", "time"}
 *
 * As long as its maker lives, an abstract socket of the name of `id` is bound; the kernel lets go of it with the process.
 * Within one `scope` (one boot of a machine, one network name space) this is certain at once. Of a mark from elsewhere only
 * the age is known: its maker renews `time` while it works, and after MOFKA_CLAIM_STALE_S without that it counts as dead.
 */
#ifndef DANGO_MOFKA_CLIENT_CLAIM_H
#define DANGO_MOFKA_CLIENT_CLAIM_H

#include <dango/error.h>

#include <stdbool.h>
#include <stdint.h>

struct json_object;

/* Longer than any step of a creation may take, since every step has a deadline. */
#define MOFKA_CLAIM_STALE_S 180
/* After this the maker renews its mark before the next step. */
#define MOFKA_CLAIM_RENEW_S 30

struct mofka_claim {
    int socket; /* -1: none */
    struct json_object *json;
};

int mofka_claim_init(struct mofka_claim *claim, struct dango_error *err);
/* Lets go of it; from here on the mark is a dead one. Safe on one whose init has failed. */
void mofka_claim_fini(struct mofka_claim *claim);

/* Whether it is time to write the mark again; sets its time then. */
bool mofka_claim_needs_renewal(struct mofka_claim *claim);

/* Of marks found in the database; anything that is none is a dead one. */
bool mofka_claim_is_dead(struct json_object *json);
bool mofka_claim_is_same(struct json_object *a, struct json_object *b);
/* An error that says who is creating the topic, and what to do. Returns its code, DANGO_ERR_BUSY. */
int mofka_claim_refuse(struct json_object *json, const char *topic, struct dango_error *err);

#endif
