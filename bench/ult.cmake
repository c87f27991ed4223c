dango_bench(ult ult.c USES argobots dango_bench_support)
