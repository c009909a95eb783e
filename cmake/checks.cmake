# Tests of the sources themselves: tidy, headers that compile alone, and the interface of modules.
find_package(Python3 REQUIRED COMPONENTS Interpreter)
add_test(NAME tidy COMMAND Python3::Interpreter ${CMAKE_SOURCE_DIR}/cmake/tidy.py)
add_test(NAME tidy_self_test COMMAND Python3::Interpreter ${CMAKE_SOURCE_DIR}/cmake/tidy_test.py)
add_test(NAME headers
  COMMAND Python3::Interpreter ${CMAKE_SOURCE_DIR}/cmake/check_headers.py ${CMAKE_BINARY_DIR})
add_test(NAME interface
  COMMAND Python3::Interpreter ${CMAKE_SOURCE_DIR}/cmake/check_interface.py)
add_test(NAME interface_self_test
  COMMAND Python3::Interpreter ${CMAKE_SOURCE_DIR}/cmake/check_interface_test.py)
set_tests_properties(
  tidy tidy_self_test headers interface interface_self_test PROPERTIES LABELS sources)
