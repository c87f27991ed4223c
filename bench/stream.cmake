# What starts a server and streams through it.
set(streaming support/server.c support/streaming.c)

dango_bench(stream stream.c ${streaming} USES dango dango_bench_support)
dango_bench(stored stored.c ${streaming} USES dango dango_bench_support)
dango_bench(restart restart.c support/server.c USES mofka dango_bench_support)
dango_bench(servers servers.c support/server.c USES dango dango_bench_support)

# For bench-stored, to be preloaded: plain C without sanitizers.
add_library(steady-medium SHARED ${CMAKE_CURRENT_LIST_DIR}/support/steady_medium.c)
target_compile_definitions(steady-medium PRIVATE _GNU_SOURCE)
target_compile_options(steady-medium PRIVATE -Wall -Wextra -Wshadow -Wconversion -Wno-sign-conversion -Werror)
target_link_libraries(steady-medium PRIVATE ${CMAKE_DL_LIBS})
set_target_properties(steady-medium PROPERTIES LIBRARY_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bench)
