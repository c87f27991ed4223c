/*
 * "did you mean": the closest of a list of names, for error messages. Pure functions.
 */
#ifndef DANGO_UTIL_SUGGEST_H
#define DANGO_UTIL_SUGGEST_H

#include <stddef.h>

/* The name closest to `word` if it is close enough to be a slip of the fingers, else NULL. Borrowed from `names`. */
const char *dango_suggest(const char *word, const char *const *names, size_t count);

/*
 * Writes the tail of a message into `buffer`: ` (LABEL: a, b, c; did you mean "b"?)`; "none" for an empty list.
 * Long lists are cut. Returns buffer.
 */
const char *dango_suggest_list(const char *label, const char *word, const char *const *names, size_t count,
                               char *buffer, size_t size);

#endif
