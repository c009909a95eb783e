# Libraries, all from distribution packages. Boost 1.81 or later; Debian 12 also has 1.74, so the
# versioned package is asked for.
find_package(Threads REQUIRED)
find_package(fmt REQUIRED)
find_package(spdlog REQUIRED)
find_package(Protobuf REQUIRED)
find_package(OpenSSL 3 REQUIRED)
find_package(ZLIB REQUIRED)
find_package(Boost 1.81 REQUIRED COMPONENTS json)
find_package(CURL 7.87 REQUIRED)
find_package(RocksDB REQUIRED)
find_package(prometheus-cpp REQUIRED COMPONENTS core)
find_package(CLI11 REQUIRED)
list(APPEND CMAKE_MODULE_PATH ${CMAKE_SOURCE_DIR}/cmake)
find_package(CAF 0.17.6 REQUIRED MODULE)

# The two header-only libraries whose packages have no CMake target on every distribution.
find_path(CALLBOARD_XXHASH_INCLUDE xxhash.h REQUIRED)
add_library(callboard_xxhash INTERFACE)
target_include_directories(callboard_xxhash SYSTEM INTERFACE ${CALLBOARD_XXHASH_INCLUDE})
find_path(CALLBOARD_TOML11_INCLUDE toml.hpp REQUIRED)
add_library(callboard_toml11 INTERFACE)
target_include_directories(callboard_toml11 SYSTEM INTERFACE ${CALLBOARD_TOML11_INCLUDE})

# Optional: the program is faster with it.
find_library(CALLBOARD_JEMALLOC jemalloc)
