dango_bench(stream-core stream_core.c USES diaspora dango_bench_support)
