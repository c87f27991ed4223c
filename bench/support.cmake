# What benchmarks share: statistics, reference measurements, output. `USES dango_bench_support` links it.
add_library(dango_bench_support STATIC support/stats.c support/process.c support/reference.c
    support/fabric.c support/report.c)
target_include_directories(dango_bench_support PUBLIC ${CMAKE_SOURCE_DIR})
target_link_libraries(dango_bench_support PUBLIC dango_flags m)

dango_bench(references references.c USES dango_bench_support)
