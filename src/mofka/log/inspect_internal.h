/*
 * What the files of the inspection share. Not for others.
 */
#ifndef DANGO_MOFKA_LOG_INSPECT_INTERNAL_H
#define DANGO_MOFKA_LOG_INSPECT_INTERNAL_H

#include "mofka/log/inspect.h"

/* Gives a finding to the visitor; what it returns. `place`: everything but the texts. */
int mofka_inspect_report(const struct mofka_inspect_visitor *visitor, const struct mofka_finding *place,
                         const char *advice, const char *format, ...) __attribute__((format(printf, 4, 5)));

#endif
