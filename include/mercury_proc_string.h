/* mercury_proc_string.h - serialisation of NUL-terminated strings. */
#ifndef MERCURY_PROC_STRING_H
#define MERCURY_PROC_STRING_H

#include "mercury_proc.h"

HG_EXTERN_C_BEGIN

typedef char *hg_string_t;
typedef const char *hg_const_string_t;

/* `data` is a `hg_string_t *`. NULL travels as NULL. Decoding allocates with malloc(); HG_FREE
 * frees. To keep a decoded string, copy it or set the field to NULL before freeing the structure. */
HG_PUBLIC hg_return_t hg_proc_hg_string_t(hg_proc_t proc, void *data);
HG_PUBLIC hg_return_t hg_proc_hg_const_string_t(hg_proc_t proc, void *data);

HG_EXTERN_C_END

#endif /* MERCURY_PROC_STRING_H */
