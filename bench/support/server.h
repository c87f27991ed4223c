/*
 * A bedrock for benchmarks, on bench_protocol(): started from the same build tree with a configuration, in a temporary
 * directory of its own (below TMPDIR or /tmp) that goes when the server goes. One service at a time, to which further
 * servers can be added. A failure ends the program with a message; so does, for the servers, the end of the program.
 */
#ifndef DANGO_BENCH_SUPPORT_SERVER_H
#define DANGO_BENCH_SUPPORT_SERVER_H

#include <stdint.h>

/*
 * Group, master database and three I/O controllers: `io` runs where everything else does, `io_pool` in two streams of its
 * own, `io_uring` in the kernel. To be filled in: further providers, each with a comma in front.
 */
#define BENCH_SERVER_CONFIG                                                                                            \
    "{\"libraries\":[\"libflock-bedrock-module.so\",\"libyokan-bedrock-module.so\","                                   \
    "\"libabt-io-bedrock-module.so\",\"libmofka-bedrock-module.so\"],"                                                 \
    "\"margo\":{\"argobots\":{"                                                                                        \
    "\"pools\":[{\"name\":\"__primary__\",\"kind\":\"fifo_wait\"},{\"name\":\"io_pool\",\"kind\":\"fifo_wait\"}],"     \
    "\"xstreams\":["                                                                                                   \
    "{\"name\":\"__primary__\",\"scheduler\":{\"type\":\"basic_wait\",\"pools\":[\"__primary__\"]}},"                  \
    "{\"name\":\"io_es_0\",\"scheduler\":{\"type\":\"basic_wait\",\"pools\":[\"io_pool\"]}},"                          \
    "{\"name\":\"io_es_1\",\"scheduler\":{\"type\":\"basic_wait\",\"pools\":[\"io_pool\"]}}]}},"                       \
    "\"providers\":["                                                                                                  \
    "{\"name\":\"group\",\"type\":\"flock\",\"provider_id\":1,"                                                        \
    "\"config\":{\"bootstrap\":\"self\",\"file\":\"mofka.json\",\"group\":{\"type\":\"static\"}}},"                    \
    "{\"name\":\"master\",\"type\":\"yokan\",\"provider_id\":2,\"tags\":[\"mofka:master\"],"                           \
    "\"config\":{\"database\":{\"type\":\"map\"}}},"                                                                   \
    "{\"name\":\"io\",\"type\":\"abt_io\",\"provider_id\":3,\"dependencies\":{\"pool\":\"__primary__\"}},"             \
    "{\"name\":\"io_pool\",\"type\":\"abt_io\",\"provider_id\":5,\"dependencies\":{\"pool\":\"io_pool\"}},"            \
    "{\"name\":\"io_uring\",\"type\":\"abt_io\",\"provider_id\":6,\"config\":{\"num_urings\":1},"                      \
    "\"dependencies\":{\"pool\":\"__primary__\"}}%s]}"

/* Starts it, waits for its group file, and returns how long that took, in nanoseconds. */
int64_t bench_server_start(const char *config);
/* Adds one to the group of the first, in the same directory; returns when the group file names it. Its configuration has to
 * say that it joins. */
void bench_server_add(const char *config);
/* Ends all in order, and takes the directory away. */
void bench_server_stop(void);

/* TMPDIR, or /tmp. */
const char *bench_temporary(void);
const char *bench_server_directory(void);
const char *bench_server_group_file(void);
/* Resident memory of the first server that no file backs, in bytes. */
double bench_server_memory(void);

#endif
