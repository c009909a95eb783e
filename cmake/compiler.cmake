# The compiler, its warnings and its sanitizers.
include(${CMAKE_CURRENT_LIST_DIR}/coroutines.cmake)

set(CMAKE_CXX_STANDARD 23)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE RelWithDebInfo)
endif()
set(CMAKE_CXX_FLAGS_RELWITHDEBINFO "-O2 -g1")
# Lines are what a sanitizer's report shows; more costs an eighth of the build.
set(CMAKE_CXX_FLAGS_DEBUG "-g1")

find_program(CALLBOARD_CCACHE ccache)
if(CALLBOARD_CCACHE)
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CMAKE_CURRENT_LIST_DIR}/ccache)
endif()
find_program(CALLBOARD_LLD NAMES ld.lld-19 ld.lld)
if(CALLBOARD_LLD)
  add_link_options(--ld-path=${CALLBOARD_LLD})
endif()

# The program as it is shipped: "generate" = one that notes which code it runs, a file = made by what
# was noted and linked as a whole.
set(CALLBOARD_PROFILE "" CACHE STRING "profile of an optimized build")
if(CALLBOARD_PROFILE STREQUAL "generate")
  add_compile_options(-fprofile-generate)
  add_link_options(-fprofile-generate)
elseif(CALLBOARD_PROFILE)
  add_compile_options(-flto=thin -fprofile-use=${CALLBOARD_PROFILE}
    -Wno-profile-instr-unprofiled -Wno-profile-instr-out-of-date -Wno-backend-plugin)
  add_link_options(-flto=thin -Wl,--export-dynamic)
  find_program(CALLBOARD_LLVM_AR NAMES llvm-ar-19 llvm-ar REQUIRED)
  find_program(CALLBOARD_LLVM_RANLIB NAMES llvm-ranlib-19 llvm-ranlib REQUIRED)
  set(CMAKE_AR ${CALLBOARD_LLVM_AR})
  set(CMAKE_RANLIB ${CALLBOARD_LLVM_RANLIB})
endif()

# "", "address" (with undefined), "thread" or "fuzz" (address and undefined, for libFuzzer)
set(CALLBOARD_SANITIZE "" CACHE STRING "sanitizer of this build")
if(CALLBOARD_SANITIZE STREQUAL "address")
  add_compile_options(-fsanitize=address,undefined -fno-sanitize-recover=undefined
    -fno-omit-frame-pointer -fsanitize-ignorelist=${CMAKE_SOURCE_DIR}/cmake/sanitize.ignore)
  add_link_options(-fsanitize=address,undefined)
elseif(CALLBOARD_SANITIZE STREQUAL "fuzz")
  add_compile_options(-fsanitize=address,undefined,fuzzer-no-link
    -fno-sanitize-recover=undefined -fno-omit-frame-pointer)
  add_link_options(-fsanitize=address,undefined)
elseif(CALLBOARD_SANITIZE STREQUAL "thread")
  add_compile_options(-fsanitize=thread -fno-omit-frame-pointer)
  add_link_options(-fsanitize=thread)
endif()
# Assertions are those of libraries' headers; the sanitizers' builds have them.
if(NOT CALLBOARD_SANITIZE)
  add_compile_options($<$<CONFIG:RelWithDebInfo>:-DNDEBUG>)
endif()

add_library(callboard_options INTERFACE)
target_compile_options(callboard_options INTERFACE
  -Wall -Wextra -Wpedantic -Wshadow -Wnon-virtual-dtor -Wold-style-cast -Woverloaded-virtual
  -Wconversion -Wno-sign-conversion -Wno-missing-designated-field-initializers -Werror)
