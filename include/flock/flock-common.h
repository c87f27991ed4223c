/*
 * Flock: common definitions. Flock keeps track of the members of a group of providers; a member is the pair (address,
 * provider id). See flock/flock-group-view.h (the set of members), flock/flock-group.h (clients) and
 * flock/flock-server.h (providers).
 */
#ifndef FLOCK_COMMON_H
#define FLOCK_COMMON_H

#include <margo.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/* MOVED: a member is published under another address, the given one (flock_provider_update_address). */
typedef enum flock_update_t {
    FLOCK_MEMBER_JOINED = 0,
    FLOCK_MEMBER_LEFT = 1,
    FLOCK_MEMBER_DIED = 2,
    FLOCK_MEMBER_MOVED = 3
} flock_update_t;

/* Bits of the mode of a group handle. */
#define FLOCK_MODE_INIT_UPDATE 0x1 /* fetch the view from the group before returning */
#define FLOCK_MODE_SUBSCRIBE   0x2 /* keep the view up to date, see flock_group_subscribe */

/* Return codes: X(code, text), dense from 0. Users define X and expand the list. */
#define FLOCK_RETURN_VALUES                                                                                            \
    X(FLOCK_SUCCESS, "Success")                                                                                        \
    X(FLOCK_ERR_ALLOCATION, "Allocation error")                                                                        \
    X(FLOCK_ERR_INVALID_ARGS, "Invalid argument")                                                                      \
    X(FLOCK_ERR_INVALID_PROVIDER, "Invalid provider id")                                                               \
    X(FLOCK_ERR_INVALID_GROUP, "Invalid group id")                                                                     \
    X(FLOCK_ERR_INVALID_BACKEND, "Invalid backend type")                                                               \
    X(FLOCK_ERR_INVALID_CONFIG, "Invalid configuration")                                                               \
    X(FLOCK_ERR_FROM_MERCURY, "Mercury error")                                                                         \
    X(FLOCK_ERR_FROM_ARGOBOTS, "Argobots error")                                                                       \
    X(FLOCK_ERR_FROM_MPI, "MPI error")                                                                                 \
    X(FLOCK_ERR_OP_UNSUPPORTED, "Unsupported operation")                                                               \
    X(FLOCK_ERR_OP_FORBIDDEN, "Forbidden operation")                                                                   \
    X(FLOCK_ERR_NO_MEMBER, "No member at this index")                                                                  \
    X(FLOCK_ERR_NO_METADATA, "Invalid metadata key")                                                                   \
    X(FLOCK_ERR_NOT_A_MEMBER, "Process is not member")                                                                 \
    X(FLOCK_ERR_OTHER, "Other error")

#define X(code, text) code,
typedef enum flock_return_t { FLOCK_RETURN_VALUES } flock_return_t;
#undef X

/* Told of changes of the membership or metadata; strings are valid during the call. The first argument is the context
 * given at registration. */
typedef void (*flock_membership_update_fn)(void *context, flock_update_t update, const char *address,
                                           uint16_t provider_id);
typedef void (*flock_metadata_update_fn)(void *context, const char *key, const char *value);

#ifdef __cplusplus
}
#endif

#endif
