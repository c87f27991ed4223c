dango_bench(abt-io abt_io.c USES abt-io dango_bench_support)
