/*
 * A Yokan provider from the inside.
 *
 * Every RPC is served by one ULT that runs yokan_serve: it decodes the request, checks what is common to all operations,
 * calls the operation's function, sends the response and releases everything. Operations see a struct yokan_job.
 *
 * Destruction: the gate keeps the provider alive under jobs; when it is closed the database is closed and the RPCs are
 * deregistered. The struct itself lives until margo is finalised, because a request that arrives at that moment
 * may still find it.
 */
#ifndef YOKAN_PROVIDER_PROVIDER_H
#define YOKAN_PROVIDER_PROVIDER_H

#include "yokan/store.h"
#include "yokan/wire.h"

#include "argobots/gate.h"

#include <yokan/server.h>

struct yk_provider;

struct yokan_rpc {
    struct yk_provider *provider; /* what margo keeps with the RPC */
    enum yokan_op op;
    hg_id_t id;
};

struct yk_provider {
    margo_instance_id mid;
    uint16_t id;
    struct dango_gate gate;          /* jobs inside; closed by destruction */
    struct json_object *config;      /* effective "buffer_cache" */
    struct yokan_database *database; /* NULL: none */
    yk_bulk_cache_t cache;           /* table of the buffer cache … */
    void *cache_context;             /* … and its object */
    struct yokan_rpc rpcs[YOKAN_OP_COUNT];
};

#define YOKAN_JOB_READS 2 /* parts of a region that one operation reads */

/* Output that grows as it is collected. */
struct yokan_bytes {
    char *data;
    size_t size, capacity;
};

/* A part of the output: where it is in the region, and its bytes, which live until the job ends. */
struct yokan_output {
    uint64_t place;
    struct yokan_slice bytes;
};

/* One request being served. */
struct yokan_job {
    struct yk_provider *provider;
    struct yokan_database *database;
    const struct yokan_request *request;
    hg_addr_t sender;
    double transfer_timeout_ms;
    yk_buffer_t reads[YOKAN_JOB_READS]; /* pulled parts of the region */
    struct yokan_output *outputs;
    size_t output_count, output_capacity;
    void *memory[8]; /* allocations that are freed with the job */
    size_t memory_count;
    uint64_t value; /* of the response */
};

typedef yk_return_t (*yokan_run_fn)(struct yokan_job *job);

/* The operations: pairs.c, list.c, documents.c. */
#define X(op) yk_return_t yokan_run_##op(struct yokan_job *job);
YOKAN_OPERATIONS(X)
#undef X

/* ---- serve.c ---- */

void yokan_serve(hg_handle_t handle);
DECLARE_MARGO_RPC_HANDLER(yokan_serve)

/* The part of serving that needs no RPC: checks, the operation, its output as response (or pushed). */
void yokan_job_run(struct yokan_job *job, enum yokan_op op, struct yokan_response *response);
/* Releases everything of a job; the response must have been sent. */
void yokan_job_release(struct yokan_job *job);

/* Zeroed memory that lives until the job ends; NULL when there is none. */
void *yokan_job_alloc(struct yokan_job *job, size_t count, size_t size);
/* The same for memory that was allocated elsewhere. */
void yokan_job_keep(struct yokan_job *job, void *memory);

/* ---- region.c ---- */

/* Bytes [place, place + size) of the input; pulled if they are not in the message. At most YOKAN_JOB_READS times. */
yk_return_t yokan_read(struct yokan_job *job, uint64_t place, uint64_t size, const char **bytes);
/* Bytes of the whole region, or of the inline input. */
uint64_t yokan_region_size(const struct yokan_job *job);
/* Adds a part to the output; `place` matters for bulk only. The bytes must live until the job ends. */
yk_return_t yokan_write(struct yokan_job *job, uint64_t place, const void *bytes, size_t size);
/* Pushes the output of a bulk request to its places. */
yk_return_t yokan_push(struct yokan_job *job);
/* Releases what was read and written. */
void yokan_region_release(struct yokan_job *job);

/* ---- buffer_cache.c ---- */

struct yokan_cache_settings {
    int type;
    double margin;
    int64_t capacity;
};

extern const struct dango_option yokan_cache_options[];
extern struct yk_bulk_cache yokan_buffer_cache;

#endif
