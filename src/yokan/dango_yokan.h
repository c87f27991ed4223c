/*
 * What Yokan offers to the other components beyond the public headers. Pure functions.
 */
#ifndef DANGO_YOKAN_DANGO_YOKAN_H
#define DANGO_YOKAN_DANGO_YOKAN_H

#include <yokan/common.h>

/* What a return value means, for messages; never NULL, also for values that there are not. */
const char *dango_yokan_text(yk_return_t ret);

#endif
