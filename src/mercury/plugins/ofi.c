/*
 * The plug-in libdango-ofi.so: what binds Dango to libfabric. The transport itself is in src/mercury/na/ofi/.
 */
#include "mercury/na/ofi/libfabric.h"

const struct dango_libfabric dango_libfabric = {
    .abi = DANGO_LIBFABRIC_ABI,
    .getinfo = fi_getinfo,
    .freeinfo = fi_freeinfo,
    .dupinfo = fi_dupinfo,
    .fabric = fi_fabric,
    .strerror = fi_strerror,
};
