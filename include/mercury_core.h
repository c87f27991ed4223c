/* mercury_core.h - kept so that sources which include it compile; there is one layer only. */
#ifndef MERCURY_CORE_H
#define MERCURY_CORE_H

#include "mercury.h"

#endif /* MERCURY_CORE_H */
