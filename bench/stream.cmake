# What starts a server and streams through it.
set(streaming support/server.c support/streaming.c)

dango_bench(stream stream.c ${streaming} USES dango dango_bench_support)
dango_bench(stored stored.c ${streaming} USES dango dango_bench_support)
dango_bench(restart restart.c support/server.c USES mofka dango_bench_support)
dango_bench(servers servers.c support/server.c USES dango dango_bench_support)
