/*
 * The functions of libfabric that are symbols (all others are inline calls through its objects), as the plug-in
 * libdango-ofi.so offers them. Thus a machine without libfabric runs everything else.
 */
#ifndef DANGO_MERCURY_NA_OFI_LIBFABRIC_H
#define DANGO_MERCURY_NA_OFI_LIBFABRIC_H

#include <rdma/fabric.h>

#define DANGO_LIBFABRIC_ABI 1

struct dango_libfabric {
    int abi;
    int (*getinfo)(uint32_t version, const char *node, const char *service, uint64_t flags, const struct fi_info *hints,
                   struct fi_info **info);
    void (*freeinfo)(struct fi_info *info);
    struct fi_info *(*dupinfo)(const struct fi_info *info);
    int (*fabric)(struct fi_fabric_attr *attr, struct fid_fabric **fabric, void *context);
    const char *(*strerror)(int errnum);
};

/* In the plug-in. */
extern const struct dango_libfabric dango_libfabric;

#endif
