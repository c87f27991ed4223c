/* mercury_types.h - handles, callbacks and their arguments. */
#ifndef MERCURY_TYPES_H
#define MERCURY_TYPES_H

#include "mercury_core_types.h"

typedef struct hg_class hg_class_t;     /* one endpoint: a transport, an address, its RPCs */
typedef struct hg_context hg_context_t; /* a queue of completions that is progressed on its own */
typedef struct hg_addr *hg_addr_t;      /* address of an endpoint, reference counted */
typedef struct hg_handle *hg_handle_t;  /* one call, on either side, reference counted */
typedef struct hg_bulk *hg_bulk_t;      /* description of memory, reference counted */
typedef struct hg_proc *hg_proc_t;      /* (de)serialisation in progress */
typedef struct hg_op_id *hg_op_id_t;    /* a bulk transfer or look-up in progress */

#define HG_ADDR_NULL    ((hg_addr_t)0)
#define HG_HANDLE_NULL  ((hg_handle_t)0)
#define HG_BULK_NULL    ((hg_bulk_t)0)
#define HG_PROC_NULL    ((hg_proc_t)0)
#define HG_OP_ID_NULL   ((hg_op_id_t)0)
#define HG_OP_ID_IGNORE ((hg_op_id_t *)1)

/* What a handle is about. Valid as long as the handle; `addr` is borrowed from it. */
struct hg_info {
    hg_class_t *hg_class;
    hg_context_t *context;
    hg_addr_t addr;     /* the other side: target at the origin, origin at the target */
    hg_id_t id;         /* the RPC */
    uint8_t context_id; /* context of the target */
};

typedef enum hg_bulk_op { HG_BULK_PUSH, HG_BULK_PULL } hg_bulk_op_t;

typedef enum { HG_ENCODE, HG_DECODE, HG_FREE } hg_proc_op_t;

typedef enum hg_mem_type {
    HG_MEM_TYPE_HOST,
    HG_MEM_TYPE_CUDA,
    HG_MEM_TYPE_ROCM,
    HG_MEM_TYPE_ZE,
    HG_MEM_TYPE_MAX,
    HG_MEM_TYPE_UNKNOWN = HG_MEM_TYPE_MAX
} hg_mem_type_t;

struct hg_bulk_attr {
    hg_mem_type_t mem_type; /* only HG_MEM_TYPE_HOST is supported */
    uint64_t device;
};

/* What the *remote* side may do with described memory. */
#define HG_BULK_READ_ONLY  (1 << 0)
#define HG_BULK_WRITE_ONLY (1 << 1)
#define HG_BULK_READWRITE  (HG_BULK_READ_ONLY | HG_BULK_WRITE_ONLY)

struct hg_cb_info_lookup {
    hg_addr_t addr; /* now owned by the callee: free with HG_Addr_free() */
};

struct hg_cb_info_forward {
    hg_handle_t handle;
};

struct hg_cb_info_respond {
    hg_handle_t handle;
};

struct hg_cb_info_bulk {
    hg_bulk_t origin_handle;
    hg_bulk_t local_handle;
    hg_bulk_op_t op;
    hg_size_t size; /* bytes transferred */
};

/* Argument of a completion callback; valid during the call only. */
struct hg_cb_info {
    union {
        struct hg_cb_info_lookup lookup;
        struct hg_cb_info_forward forward;
        struct hg_cb_info_respond respond;
        struct hg_cb_info_bulk bulk;
    } info;
    void *arg;         /* as given to the operation */
    hg_cb_type_t type; /* which member of `info` is valid */
    hg_return_t ret;   /* outcome */
};

typedef hg_return_t (*hg_rpc_cb_t)(hg_handle_t handle);
typedef hg_return_t (*hg_cb_t)(const struct hg_cb_info *callback_info);
typedef hg_return_t (*hg_proc_cb_t)(hg_proc_t proc, void *data);

#endif /* MERCURY_TYPES_H */
