dango_bench(rpc rpc.c USES mercury util dango_bench_support)
dango_bench(bulk bulk.c USES mercury util dango_bench_support)
