dango_bench(margo-rpc margo_rpc.c USES margo mercury argobots util dango_bench_support)
