dango_bench(stream stream.c USES dango dango_bench_support)
