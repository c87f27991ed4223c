/* margo-version.h - the Margo interface version that these headers offer. */
#ifndef MARGO_VERSION_H
#define MARGO_VERSION_H

#define MARGO_VERSION_MAJOR 0
#define MARGO_VERSION_MINOR 24
#define MARGO_VERSION_PATCH 0
#define MARGO_VERSION       "0.24.0"
#define MARGO_VERSION_NUM   (MARGO_VERSION_MAJOR * 10000 + MARGO_VERSION_MINOR * 100 + MARGO_VERSION_PATCH)

#endif
