/* mercury_proc_bulk.h - serialisation of bulk handles. */
#ifndef MERCURY_PROC_BULK_H
#define MERCURY_PROC_BULK_H

#include "mercury_bulk.h"
#include "mercury_proc.h"

HG_EXTERN_C_BEGIN

/* `data` is a `hg_bulk_t *`; HG_BULK_NULL travels as such. Decoding makes a new handle with one
 * reference, HG_FREE drops it: keep it with HG_Bulk_ref_incr(). */
HG_PUBLIC hg_return_t hg_proc_hg_bulk_t(hg_proc_t proc, void *data);

HG_EXTERN_C_END

#endif /* MERCURY_PROC_BULK_H */
