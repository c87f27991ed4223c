/*
 * The directory of a persistent database: made, checked and locked before a storage library sees it, so that all
 * backends answer to a wrong path in the same words.
 */
#ifndef YOKAN_PLUGINS_DIRECTORY_H
#define YOKAN_PLUGINS_DIRECTORY_H

#include "yokan/backend.h"

struct yokan_directory_request {
    const char *path;
    const char *type; /* of the backend that asks */
    bool create_if_missing;
    bool error_if_exists;
};

/*
 * Makes the directory (with its parents) if that is asked for, refuses one that is not fit for `type`, and locks it
 * until yokan_directory_close: one process, and one provider in it, at a time. *lock is a file descriptor.
 * YOKAN_ERR_INVALID_CONFIG, _IO, _PERMISSION, _BUSY with a text.
 */
yk_return_t yokan_directory_open(const struct yokan_directory_request *request, int *lock, struct dango_error *err);
void yokan_directory_close(int lock);

/* The return code of a status text of LevelDB and its descendants: "IO error: …", "Corruption: …". */
yk_return_t yokan_status_code(const char *text);

/* The code of error texts that belongs to a return code. */
int yokan_error_code(yk_return_t ret);

#endif
