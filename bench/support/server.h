/*
 * A bedrock for benchmarks: started from the same build tree with a configuration, in a temporary directory of its own
 * that goes when the server goes. One at a time. A failure ends the program with a message; so does, for the server, the
 * end of the program.
 */
#ifndef DANGO_BENCH_SUPPORT_SERVER_H
#define DANGO_BENCH_SUPPORT_SERVER_H

#include <stdint.h>

/* Group, master database and I/O controller. To be filled in: further providers, each with a comma in front. */
#define BENCH_SERVER_CONFIG                                                                                            \
    "{\"libraries\":[\"libflock-bedrock-module.so\",\"libyokan-bedrock-module.so\","                                   \
    "\"libabt-io-bedrock-module.so\",\"libmofka-bedrock-module.so\"],"                                                 \
    "\"providers\":["                                                                                                  \
    "{\"name\":\"group\",\"type\":\"flock\",\"provider_id\":1,"                                                        \
    "\"config\":{\"bootstrap\":\"self\",\"file\":\"mofka.json\",\"group\":{\"type\":\"static\"}}},"                    \
    "{\"name\":\"master\",\"type\":\"yokan\",\"provider_id\":2,\"tags\":[\"mofka:master\"],"                           \
    "\"config\":{\"database\":{\"type\":\"map\"}}},"                                                                   \
    "{\"name\":\"io\",\"type\":\"abt_io\",\"provider_id\":3,\"dependencies\":{\"pool\":\"__primary__\"}}%s]}"

/* Starts it, waits for its group file, and returns how long that took, in nanoseconds. */
int64_t bench_server_start(const char *config);
/* Ends it in order, and takes its directory away. */
void bench_server_stop(void);

const char *bench_server_directory(void);
const char *bench_server_group_file(void);
/* Resident memory of the server that no file backs, in bytes. */
double bench_server_memory(void);

#endif
