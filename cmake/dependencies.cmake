# What is called for every value and every allocation is in the program: calls into shared libraries
# take a detour. Programs and modules of others link as they like.
set(Boost_USE_STATIC_LIBS ON)
include(${CMAKE_CURRENT_LIST_DIR}/packages.cmake)

# The two header-only libraries whose packages have no CMake target on every distribution.
find_path(CALLBOARD_XXHASH_INCLUDE xxhash.h REQUIRED)
add_library(callboard_xxhash INTERFACE)
target_include_directories(callboard_xxhash SYSTEM INTERFACE ${CALLBOARD_XXHASH_INCLUDE})
find_path(CALLBOARD_TOML11_INCLUDE toml.hpp REQUIRED)
add_library(callboard_toml11 INTERFACE)
target_include_directories(callboard_toml11 SYSTEM INTERFACE ${CALLBOARD_TOML11_INCLUDE})

# Optional: the program is faster with it.
find_library(CALLBOARD_JEMALLOC NAMES libjemalloc_pic.a libjemalloc.a jemalloc)
