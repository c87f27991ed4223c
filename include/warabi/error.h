/*
 * Errors of Warabi: success is NULL, a failure is an object with a text and a stable code.
 *
 * The object belongs to whoever received it and is released with warabi_err_free. Thread-safe as long as an object
 * is used by one thread at a time. Nothing here blocks.
 */
#ifndef WARABI_ERROR_H
#define WARABI_ERROR_H

#ifdef __cplusplus
extern "C" {
#endif

typedef struct warabi_err *warabi_err_t;
#define WARABI_SUCCESS ((warabi_err_t)0)

/* name, value, what it means; values never change */
#define WARABI_ERR_LIST(X)                                                                                             \
    X(OK, 0, "success")                                                                                                \
    X(INVALID, 1, "invalid argument or configuration")                                                                 \
    X(NOT_FOUND, 2, "no such region")                                                                                  \
    X(BOUNDS, 3, "out of bounds of the region or of the bulk memory")                                                  \
    X(NO_TARGET, 4, "the provider has no target")                                                                      \
    X(NO_SPACE, 5, "out of memory or of the space allowed")                                                            \
    X(IO, 6, "the storage failed")                                                                                     \
    X(TRANSPORT, 7, "the request did not reach the provider, or its answer did not come back")                         \
    X(TIMEOUT, 8, "no answer within the deadline")                                                                     \
    X(UNSUPPORTED, 9, "not built in or not possible here")                                                             \
    X(OTHER, 10, "other error")

enum warabi_err_code {
#define WARABI_ERR_ENUM(name, value, text) WARABI_ERR_##name = (value),
    WARABI_ERR_LIST(WARABI_ERR_ENUM)
#undef WARABI_ERR_ENUM
};

/* Text of an error, owned by it; "Success" for WARABI_SUCCESS. */
const char *warabi_err_message(warabi_err_t err);

/* One of enum warabi_err_code; WARABI_ERR_OK for WARABI_SUCCESS. */
int warabi_err_code(warabi_err_t err);

/* Releases an error; WARABI_SUCCESS is allowed. */
void warabi_err_free(warabi_err_t err);

#ifdef __cplusplus
}
#endif

#endif
