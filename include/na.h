/* na.h - kept so that sources which include it compile. The transport interface is internal. */
#ifndef NA_H
#define NA_H

#include "na_types.h"

#endif /* NA_H */
