# Refuses compilers that miscompile coroutines; also read by programs on the public headers.
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 14)
  message(FATAL_ERROR
    "GCC ${CMAKE_CXX_COMPILER_VERSION} miscompiles coroutines (it destroys temporaries of a "
    "co_await expression twice). Use Clang 19 (-DCMAKE_CXX_COMPILER=clang++-19) or GCC 14.")
endif()
