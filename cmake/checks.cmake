# Tests of the sources themselves: tidy, its own proof, and headers that compile alone.
find_package(Python3 REQUIRED COMPONENTS Interpreter)
add_test(NAME tidy COMMAND Python3::Interpreter ${CMAKE_SOURCE_DIR}/cmake/tidy.py)
add_test(NAME tidy_self_test COMMAND Python3::Interpreter ${CMAKE_SOURCE_DIR}/cmake/tidy_test.py)
add_test(NAME headers
  COMMAND Python3::Interpreter ${CMAKE_SOURCE_DIR}/cmake/check_headers.py ${CMAKE_BINARY_DIR})
set_tests_properties(tidy tidy_self_test headers PROPERTIES LABELS sources)
