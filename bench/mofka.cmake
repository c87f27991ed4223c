dango_bench(mofka mofka.c USES dango dango_bench_support util)
add_dependencies(bench-mofka bedrock flock-bedrock-module yokan-bedrock-module mofka-bedrock-module)
