/*
 * trace_io: a header and one tab-separated line per completed operation on standard error, in the layout of Darshan's
 * DXT text files. Each line is one write, so that lines of several threads do not mix.
 */
#include "abt-io/abtio.h"

#include "util/clock.h"

#include <inttypes.h>
#include <stdio.h>

void abtio_trace_header(void)
{
    fputs("#Module\tRank\tOp\tSegment\tOffset\tLength\tStart(s)\tEnd(s)\n", stderr);
}

void abtio_trace_line(const struct abt_io_instance *instance, const struct abtio_call *call, int64_t start_ns,
                      int64_t end_ns)
{
    int64_t length = (int64_t)abtio_call_bytes(call) + call->length;
    double start_s = (double)(start_ns - instance->start_ns) / (double)DANGO_NS_PER_S;
    double end_s = (double)(end_ns - instance->start_ns) / (double)DANGO_NS_PER_S;
    fprintf(stderr, "X_ABTIO\t-1\t%s\t-1\t%" PRId64 "\t%" PRId64 "\t%f\t%f\n", abtio_call_name(call->code),
            (int64_t)call->offset, length, start_s, end_s);
}
