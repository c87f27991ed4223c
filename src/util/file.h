/*
 * Whole files: read into memory with a limit, and written atomically so that a reader or a crash never sees half of
 * one. All functions block on file I/O and may be called from any thread.
 */
#ifndef DANGO_UTIL_FILE_H
#define DANGO_UTIL_FILE_H

#include <dango/error.h>

#include <stddef.h>

/* Reports a failed call on a file: "<format>: <text of errnum>", followed by what can be done about it. */
int dango_file_error(struct dango_error *err, int errnum, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Contents of `path` with a NUL appended (not counted), to be freed by the caller; NULL on error (text carries the
 * path). */
char *dango_file_read(const char *path, size_t size_max, size_t *size, struct dango_error *err);

/*
 * Replaces `path` by `size` bytes: temporary file beside it, fsync, rename, fsync of the directory. On failure the old
 * file stays as it was; only when the last step fails (the text says so) the new one is in place, though not for certain
 * after a power failure. A symbolic link stays, and where it leads is written; what is no file (a terminal, a pipe,
 * /dev/null) is written into.
 */
int dango_file_write(const char *path, const void *bytes, size_t size, struct dango_error *err);

/*
 * Removes what processes that died in dango_file_write(path) have left beside it: its temporaries ("<path>.new-" and six
 * characters) that belong to this user and have not been touched for `age_s` seconds. A writer that lives, but was stopped
 * for that long, fails. Litter does no harm, so errors are not reported.
 */
void dango_file_remove_litter(const char *path, unsigned age_s);

/* Makes a directory and those above it that are missing, durably; one that exists already is fine. */
int dango_file_make_directories(const char *path, struct dango_error *err);
/* The same for the directory that the file `path` is to lie in. */
int dango_file_make_parents(const char *path, struct dango_error *err);

/* Waits until the names in a directory are on the medium: what was made, renamed or removed in it. */
int dango_file_sync_directory(const char *path, struct dango_error *err);
/* The same for the directory in which `path` lies. */
int dango_file_sync_parent(const char *path, struct dango_error *err);

#endif
