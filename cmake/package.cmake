# The build folder as a CMake package, for programs with workflows of their own outside this tree:
# `find_package(callboard REQUIRED)` with -Dcallboard_DIR=<build folder>, then link
# callboard::program. Nothing is installed: it refers to the libraries where they were built.
get_property(modules GLOBAL PROPERTY CALLBOARD_MODULES)
export(
  TARGETS ${modules} callboard_proto callboard_options callboard_xxhash callboard_toml11
  NAMESPACE callboard::
  FILE ${CMAKE_BINARY_DIR}/callboard-targets.cmake)
file(CONFIGURE OUTPUT ${CMAKE_BINARY_DIR}/callboard-config.cmake @ONLY CONTENT
[[include(@CMAKE_SOURCE_DIR@/cmake/coroutines.cmake)
include(@CMAKE_SOURCE_DIR@/cmake/packages.cmake)
include(@CMAKE_BINARY_DIR@/callboard-targets.cmake)
]])
