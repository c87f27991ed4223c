# Package files under the names of the original components: a user's build that asks pkg-config or find_package for
# `margo`, `yokan-client`, … finds libdango. All paths are relative to the package file itself, so that an installed
# tree can be moved.
#
# Every name comes with the version of the original interface that it stands for (ours where there is none to match).

set(DANGO_PACKAGES
    argobots:1.2 mercury:2.4.1 margo:0.24.0 abt-io:0.9.0
    flock-client:${PROJECT_VERSION} flock-server:${PROJECT_VERSION}
    yokan-client:${PROJECT_VERSION} yokan-server:${PROJECT_VERSION}
    warabi-client:${PROJECT_VERSION} warabi-server:${PROJECT_VERSION}
    warabi-c-error:${PROJECT_VERSION} warabi-c-client:${PROJECT_VERSION} warabi-c-server:${PROJECT_VERSION}
    bedrock-client:0.16.1 bedrock-server:0.16.1 bedrock-module-api:0.2.0
    diaspora-stream-api:${PROJECT_VERSION} mofka:${PROJECT_VERSION})

# Where the original has one CMake package for all its libraries: find_package(flock), target flock::client.
set(DANGO_CMAKE_PACKAGES flock yokan warabi)
set(DANGO_TARGETS_OF_flock flock::client flock::server)
set(DANGO_TARGETS_OF_yokan yokan::client yokan::server)
set(DANGO_TARGETS_OF_warabi warabi::client warabi::server warabi::c-error warabi::c-client warabi::c-server)

set(DANGO_PKGCONFIG_DIR ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
set(packages_built ${CMAKE_BINARY_DIR}/packages)

# From the directory of a .pc file, and from that of a CMake package, to the prefix.
file(RELATIVE_PATH DANGO_PC_TO_PREFIX /prefix/${DANGO_PKGCONFIG_DIR} /prefix)
file(RELATIVE_PATH DANGO_CMAKE_TO_PREFIX /prefix/${CMAKE_INSTALL_LIBDIR}/cmake/dango /prefix)
string(REGEX REPLACE "/$" "" DANGO_PC_TO_PREFIX "${DANGO_PC_TO_PREFIX}")
string(REGEX REPLACE "/$" "" DANGO_CMAKE_TO_PREFIX "${DANGO_CMAKE_TO_PREFIX}")

include(CMakePackageConfigHelpers)

set(DANGO_PACKAGE_VERSION ${PROJECT_VERSION})
configure_file(${CMAKE_SOURCE_DIR}/cmake/packages/dango.pc.in ${packages_built}/dango.pc @ONLY)
configure_file(${CMAKE_SOURCE_DIR}/cmake/packages/dango-config.cmake.in ${packages_built}/dango-config.cmake @ONLY)
write_basic_package_version_file(${packages_built}/dango-config-version.cmake COMPATIBILITY AnyNewerVersion)
install(FILES ${packages_built}/dango.pc DESTINATION ${DANGO_PKGCONFIG_DIR})
install(FILES ${packages_built}/dango-config.cmake ${packages_built}/dango-config-version.cmake
    DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/dango)

# The CMake package DANGO_PACKAGE with these targets.
function(dango_install_cmake_package targets)
    string(REPLACE ";" " " DANGO_TARGETS "${targets}")
    set(files ${packages_built}/${DANGO_PACKAGE})
    configure_file(${CMAKE_SOURCE_DIR}/cmake/packages/component-config.cmake.in ${files}-config.cmake @ONLY)
    write_basic_package_version_file(${files}-config-version.cmake
        VERSION ${DANGO_PACKAGE_VERSION} COMPATIBILITY AnyNewerVersion)
    install(FILES ${files}-config.cmake ${files}-config-version.cmake
        DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/${DANGO_PACKAGE})
endfunction()

foreach(package IN LISTS DANGO_PACKAGES)
    string(REPLACE ":" ";" package ${package})
    list(GET package 0 DANGO_PACKAGE)
    list(GET package 1 DANGO_PACKAGE_VERSION)
    set(file ${packages_built}/${DANGO_PACKAGE}.pc)
    configure_file(${CMAKE_SOURCE_DIR}/cmake/packages/component.pc.in ${file} @ONLY)
    install(FILES ${file} DESTINATION ${DANGO_PKGCONFIG_DIR})
    dango_install_cmake_package(${DANGO_PACKAGE})
endforeach()

foreach(DANGO_PACKAGE IN LISTS DANGO_CMAKE_PACKAGES)
    set(DANGO_PACKAGE_VERSION ${PROJECT_VERSION})
    dango_install_cmake_package("${DANGO_TARGETS_OF_${DANGO_PACKAGE}}")
endforeach()
