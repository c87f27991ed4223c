# How a part of Dango is declared. Eight functions are all that a component's CMakeLists.txt needs:
#
#   dango_component(NAME [USES lib…] [EXCLUDE regex…])
#                                                all .c/.S below the folder (except module/ and programs/) → part of libdango.so;
#                                                also a static library dango_NAME for unit tests that look inside
#   dango_module(NAME [USES lib…])               module/*.c → lib/libNAME-bedrock-module.so, linked to libdango
#   dango_plugin(NAME source… [USES lib…])       → lib/libdango-NAME.so: what needs a heavy library, loaded only when used
#   dango_program(NAME source… [USES lib…])      → bin/NAME, linked to libdango
#   dango_test(NAME source… [LABEL l] [USES component…] [TIMEOUT s] [SERIAL] [TRANSPORTS tcp] [NIGHTLY_TRANSPORTS ofi+tcp])
#                                                a cmocka program over the static components (and what they use); it
#                                                runs on na+sm, and as NAME-tcp … on what else is listed, on some only
#                                                with DANGO_NIGHTLY=1
#   dango_fuzz(NAME source… [USES component…])   a fuzz target with the driver of tests/support/fuzz.h, as a test labelled fuzz
#   dango_scenario(NAME file.py [LABEL l] [TIMEOUT s] [SERIAL] [TRANSPORTS tcp] [NIGHTLY_TRANSPORTS tcp]
#                  [PARTLY ofi+tcp word…])       a pytest file that starts real processes (tests/scenario/support.py); the
#                                                nightly ones are skipped unless DANGO_NIGHTLY is set when it runs; a
#                                                file of which every case is skipped counts as skipped, not as passed.
#                                                On the partly one, unless DANGO_NIGHTLY is set, only those tests run whose
#                                                names have one of the words
#   dango_bench(NAME source… [USES component…])  → bin/bench/NAME, not run by ctest
#
# USES of a component, test or benchmark names components above it; everything else given is a plain link library.

find_package(PkgConfig REQUIRED)
find_package(Threads REQUIRED)
pkg_check_modules(JSONC REQUIRED IMPORTED_TARGET json-c)
pkg_check_modules(ISAL REQUIRED IMPORTED_TARGET libisal)
pkg_check_modules(UUID REQUIRED IMPORTED_TARGET uuid)
pkg_check_modules(LIBFABRIC IMPORTED_TARGET libfabric) # optional: transports

set(CMAKE_RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin)
set(CMAKE_LIBRARY_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/lib)
set(CMAKE_ARCHIVE_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/lib/static)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_C_STANDARD 11)
set(CMAKE_C_EXTENSIONS ON)
set(CMAKE_CXX_STANDARD 17)

# Programs and modules find libdango next to themselves: in the build tree and after installation, wherever that is.
set(CMAKE_BUILD_WITH_INSTALL_RPATH ON)
set(CMAKE_INSTALL_RPATH "$ORIGIN/../${CMAKE_INSTALL_LIBDIR};$ORIGIN/../lib;$ORIGIN")

option(DANGO_LIBFUZZER "Also build the fuzz targets for libFuzzer (Clang; with DANGO_SANITIZE=address)" OFF)
set(DANGO_SANITIZE "" CACHE STRING "Sanitizers, as for -fsanitize= (address,undefined or thread)")
option(DANGO_COVERAGE "Instrument for gcov" OFF)
# pytest is the distribution's: another Python that comes first in PATH does not have it.
find_program(DANGO_PYTHON python3 PATHS /usr/bin NO_DEFAULT_PATH REQUIRED)

# Without a preset: optimised, too. Assertions stay on in every build; CMake's own release flags would turn them off.
if(NOT CMAKE_BUILD_TYPE)
    set(CMAKE_BUILD_TYPE RelWithDebInfo)
endif()
foreach(flags IN ITEMS FLAGS FLAGS_RELEASE FLAGS_RELWITHDEBINFO FLAGS_MINSIZEREL)
    string(REPLACE "-DNDEBUG" "" CMAKE_C_${flags} "${CMAKE_C_${flags}}")
    string(REPLACE "-DNDEBUG" "" CMAKE_CXX_${flags} "${CMAKE_CXX_${flags}}")
endforeach()

add_library(dango_flags INTERFACE)
target_compile_options(dango_flags INTERFACE
    $<$<COMPILE_LANGUAGE:C,CXX>:-Wall -Wextra -Wshadow -Wconversion -Wno-sign-conversion -Werror>
    $<$<COMPILE_LANGUAGE:C>:-Wstrict-prototypes -Wmissing-prototypes>
    $<$<C_COMPILER_ID:Clang>:-Wno-string-conversion>
    $<$<COMPILE_LANGUAGE:C,CXX>:-fno-strict-aliasing -fno-plt -fcf-protection=none>)
target_compile_definitions(dango_flags INTERFACE _GNU_SOURCE DANGO_VERSION="${PROJECT_VERSION}")
target_include_directories(dango_flags INTERFACE ${CMAKE_SOURCE_DIR}/include ${CMAKE_SOURCE_DIR}/src)
target_link_libraries(dango_flags INTERFACE Threads::Threads)
if(DANGO_LIBFUZZER)
    target_compile_options(dango_flags INTERFACE -fsanitize=fuzzer-no-link)
endif()
if(DANGO_SANITIZE)
    target_compile_options(dango_flags INTERFACE -fsanitize=${DANGO_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer)
    target_link_options(dango_flags INTERFACE -fsanitize=${DANGO_SANITIZE})
else()
    # Thread-local state is read on every context switch; libdango is loaded at program start or is small enough to fit.
    target_compile_options(dango_flags INTERFACE -ftls-model=initial-exec)
endif()
if(DANGO_COVERAGE)
    target_compile_options(dango_flags INTERFACE --coverage)
    target_link_options(dango_flags INTERFACE --coverage)
endif()

set_property(GLOBAL PROPERTY DANGO_OBJECT_LIBS "")
set_property(GLOBAL PROPERTY DANGO_LINK_LIBS "")

# Splits USES into components (→ dango_X static libraries) and plain libraries.
function(dango_split_uses out_components out_libraries)
    set(components "")
    set(libraries "")
    foreach(use IN LISTS ARGN)
        if(use IN_LIST DANGO_COMPONENTS)
            list(APPEND components dango_${use})
        else()
            list(APPEND libraries ${use})
        endif()
    endforeach()
    set(${out_components} ${components} PARENT_SCOPE)
    set(${out_libraries} ${libraries} PARENT_SCOPE)
endfunction()

function(dango_component name)
    cmake_parse_arguments(A "" "" "USES;EXCLUDE" ${ARGN})
    file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/*.c ${CMAKE_CURRENT_SOURCE_DIR}/*.S)
    foreach(part IN LISTS A_EXCLUDE)
        list(FILTER sources EXCLUDE REGEX "${part}")
    endforeach()
    list(FILTER sources EXCLUDE REGEX "/${name}/(.*/)?(module|programs|server|plugins)/")
    dango_split_uses(components libraries ${A_USES})
    add_library(dango_${name}_objects OBJECT ${sources})
    target_link_libraries(dango_${name}_objects PRIVATE dango_flags ${libraries})
    add_library(dango_${name} STATIC $<TARGET_OBJECTS:dango_${name}_objects>)
    target_link_libraries(dango_${name} PUBLIC dango_flags ${components} ${libraries})
    set_property(GLOBAL APPEND PROPERTY DANGO_OBJECT_LIBS dango_${name}_objects)
    set_property(GLOBAL APPEND PROPERTY DANGO_LINK_LIBS ${libraries})
endfunction()

function(dango_library)
    get_property(objects GLOBAL PROPERTY DANGO_OBJECT_LIBS)
    get_property(libraries GLOBAL PROPERTY DANGO_LINK_LIBS)
    list(REMOVE_DUPLICATES libraries)
    set(sources "")
    foreach(object IN LISTS objects)
        list(APPEND sources $<TARGET_OBJECTS:${object}>)
    endforeach()
    add_library(dango SHARED ${sources})
    target_link_libraries(dango PRIVATE dango_flags ${libraries})
    target_link_options(dango PRIVATE
        -Wl,--version-script=${CMAKE_SOURCE_DIR}/src/libdango.map -Wl,-z,now -Wl,--as-needed -Wl,-Bsymbolic-functions)
    set_target_properties(dango PROPERTIES VERSION ${PROJECT_VERSION} SOVERSION 0
        LINK_DEPENDS ${CMAKE_SOURCE_DIR}/src/libdango.map)
    install(TARGETS dango LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
endfunction()

function(dango_module name)
    cmake_parse_arguments(A "" "" "USES" ${ARGN})
    file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/module/*.c ${CMAKE_CURRENT_SOURCE_DIR}/server/*.c)
    add_library(${name}-bedrock-module MODULE ${sources})
    target_link_libraries(${name}-bedrock-module PRIVATE dango_flags dango PkgConfig::JSONC ${A_USES})
    install(TARGETS ${name}-bedrock-module LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
endfunction()

function(dango_plugin name)
    cmake_parse_arguments(A "" "" "USES" ${ARGN})
    add_library(dango-${name} MODULE ${A_UNPARSED_ARGUMENTS})
    target_link_libraries(dango-${name} PRIVATE dango_flags dango PkgConfig::JSONC ${A_USES})
    target_link_options(dango-${name} PRIVATE -Wl,--as-needed)
    install(TARGETS dango-${name} LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
endfunction()

function(dango_program name)
    cmake_parse_arguments(A "" "" "USES" ${ARGN})
    add_executable(${name} ${A_UNPARSED_ARGUMENTS})
    target_link_libraries(${name} PRIVATE dango_flags dango PkgConfig::JSONC ${A_USES})
    install(TARGETS ${name} RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
endfunction()

function(dango_test name)
    cmake_parse_arguments(A "SERIAL" "LABEL;TIMEOUT" "USES;TRANSPORTS;NIGHTLY_TRANSPORTS" ${ARGN})
    if(NOT A_LABEL)
        set(A_LABEL unit)
    endif()
    if(NOT A_TIMEOUT)
        set(A_TIMEOUT 60)
    endif()
    dango_split_uses(components libraries ${A_USES})
    add_executable(test-${name} ${A_UNPARSED_ARGUMENTS})
    target_include_directories(test-${name} PRIVATE ${CMAKE_SOURCE_DIR})
    target_link_libraries(test-${name} PRIVATE dango_flags ${components} ${libraries} cmocka)
    set_target_properties(test-${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
    add_test(NAME ${name} COMMAND test-${name})
    set_tests_properties(${name} PROPERTIES LABELS "${A_LABEL}" TIMEOUT ${A_TIMEOUT} RUN_SERIAL ${A_SERIAL})
    foreach(transport IN LISTS A_TRANSPORTS A_NIGHTLY_TRANSPORTS)
        if(transport MATCHES "^ofi" AND NOT LIBFABRIC_FOUND)
            continue()
        endif()
        # libfabric is not instrumented, but its locks are seen: ThreadSanitizer checks our own code, which is the same over
        # all of its providers.
        if(transport MATCHES "^ofi[+]sockets" AND DANGO_SANITIZE MATCHES thread)
            continue()
        endif()
        if(transport IN_LIST A_NIGHTLY_TRANSPORTS)
            add_test(NAME ${name}-${transport}
                COMMAND sh -c "[ \"$DANGO_NIGHTLY\" ] || exit 77; exec $<TARGET_FILE:test-${name}>")
        else()
            add_test(NAME ${name}-${transport} COMMAND test-${name})
        endif()
        set(environment DANGO_TEST_PROTOCOL=${transport}://127.0.0.1 LD_LIBRARY_PATH=${CMAKE_LIBRARY_OUTPUT_DIRECTORY}
            LSAN_OPTIONS=suppressions=${CMAKE_SOURCE_DIR}/tests/support/lsan.supp:print_suppressions=0)
        set_tests_properties(${name}-${transport} PROPERTIES LABELS "${A_LABEL}" TIMEOUT ${A_TIMEOUT}
            RUN_SERIAL ${A_SERIAL} SKIP_RETURN_CODE 77 ENVIRONMENT "${environment}")
    endforeach()
endfunction()

function(dango_fuzz name)
    cmake_parse_arguments(A "" "" "USES" ${ARGN})
    set(driver ${CMAKE_SOURCE_DIR}/tests/support/fuzz.c)
    dango_test(${name} ${A_UNPARSED_ARGUMENTS} ${driver} LABEL fuzz TIMEOUT 300 USES ${A_USES})
    if(DANGO_LIBFUZZER)
        dango_split_uses(components libraries ${A_USES})
        add_executable(fuzz-${name} ${A_UNPARSED_ARGUMENTS} ${driver})
        target_include_directories(fuzz-${name} PRIVATE ${CMAKE_SOURCE_DIR})
        target_compile_definitions(fuzz-${name} PRIVATE FUZZ_BY_LIBFUZZER)
        target_link_libraries(fuzz-${name} PRIVATE dango_flags ${components} ${libraries} cmocka)
        target_link_options(fuzz-${name} PRIVATE -fsanitize=fuzzer)
        set_target_properties(fuzz-${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
    endif()
endfunction()

# The time limits inside the scenarios grow with DANGO_TEST_SLOWNESS: sanitizers make everything slower.
function(dango_scenario name file)
    cmake_parse_arguments(A "SERIAL" "LABEL;TIMEOUT" "TRANSPORTS;NIGHTLY_TRANSPORTS;PARTLY" ${ARGN})
    if(NOT A_LABEL)
        set(A_LABEL scenario)
    endif()
    if(NOT A_TIMEOUT)
        set(A_TIMEOUT 120)
    endif()
    set(slowness 1)
    if(DANGO_SANITIZE)
        set(slowness 5)
        math(EXPR A_TIMEOUT "${A_TIMEOUT} * 5")
    endif()
    set(command ${DANGO_PYTHON} -m pytest -q -rs -p no:cacheprovider ${CMAKE_CURRENT_SOURCE_DIR}/${file})
    set(environment "DANGO_BUILD=${CMAKE_BINARY_DIR};DANGO_TEST_SLOWNESS=${slowness};PYTHONDONTWRITEBYTECODE=1;PYTHONPATH=${CMAKE_SOURCE_DIR}/tests/scenario")
    if(DANGO_SANITIZE) # programs that tests compile against the build tree
        string(APPEND environment ";DANGO_SANITIZE_FLAGS=-fsanitize=${DANGO_SANITIZE}")
    endif()
    add_test(NAME ${name} COMMAND ${command})
    set_tests_properties(${name} PROPERTIES LABELS "${A_LABEL}" TIMEOUT ${A_TIMEOUT} RUN_SERIAL ${A_SERIAL}
        SKIP_RETURN_CODE 77 ENVIRONMENT "${environment}")
    string(APPEND environment ";LSAN_OPTIONS=suppressions=${CMAKE_SOURCE_DIR}/tests/support/lsan.supp:print_suppressions=0")
    set(part "")
    if(A_PARTLY)
        list(POP_FRONT A_PARTLY part)
        string(JOIN "," words ${A_PARTLY})
    endif()
    foreach(transport IN LISTS A_TRANSPORTS A_NIGHTLY_TRANSPORTS part)
        if(transport MATCHES "^ofi" AND NOT LIBFABRIC_FOUND)
            continue()
        endif()
        set(nightly "")
        if(transport IN_LIST A_NIGHTLY_TRANSPORTS)
            set(nightly ";DANGO_TEST_NIGHTLY=1")
        elseif(transport STREQUAL "${part}")
            set(nightly ";DANGO_TEST_PART=${words}")
        endif()
        add_test(NAME ${name}-${transport} COMMAND ${command})
        set_tests_properties(${name}-${transport} PROPERTIES LABELS "${A_LABEL}" TIMEOUT ${A_TIMEOUT}
            RUN_SERIAL ${A_SERIAL} SKIP_RETURN_CODE 77
            ENVIRONMENT "${environment};DANGO_TEST_PROTOCOL=${transport}://127.0.0.1${nightly}")
    endforeach()
endfunction()

function(dango_bench name)
    cmake_parse_arguments(A "" "" "USES" ${ARGN})
    dango_split_uses(components libraries ${A_USES})
    add_executable(bench-${name} ${A_UNPARSED_ARGUMENTS})
    target_include_directories(bench-${name} PRIVATE ${CMAKE_SOURCE_DIR})
    target_link_libraries(bench-${name} PRIVATE dango_flags ${components} ${libraries} m)
    set_target_properties(bench-${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bench)
    if(DANGO_SANITIZE) # nobody measures these; `ninja bench-NAME` still builds one
        set_target_properties(bench-${name} PROPERTIES EXCLUDE_FROM_ALL TRUE)
    endif()
endfunction()

# Headers, pkg-config files under the names of the original components, and the CMake package.
function(dango_install)
    install(DIRECTORY ${CMAKE_SOURCE_DIR}/include/ DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
    if(EXISTS ${CMAKE_SOURCE_DIR}/cmake/Packages.cmake)
        include(Packages)
    endif()
endfunction()
