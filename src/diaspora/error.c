/*
 * Errors as programs print them.
 */
#include <diaspora/diaspora.h>

#include <assert.h>

void diaspora_error_print(FILE *out, const diaspora_error *err)
{
    assert(out);
    if (err && err->code != 0)
        fprintf(out, "error: %s\n", err->text);
}
