# callboard_module(NAME SOURCES ... LINKS ...): the library callboard_NAME of folder NAME.
# Its include root is the repository, so that every include names its module.
function(callboard_module name)
  cmake_parse_arguments(ARG "" "" "SOURCES;LINKS" ${ARGN})
  add_library(callboard_${name} STATIC ${ARG_SOURCES})
  add_library(callboard::${name} ALIAS callboard_${name})
  target_include_directories(callboard_${name} PUBLIC ${CMAKE_SOURCE_DIR})
  target_link_libraries(callboard_${name} PUBLIC ${ARG_LINKS} PRIVATE callboard_options)
  callboard_use_precompiled(callboard_${name} modules)
  set_target_properties(callboard_${name} PROPERTIES EXPORT_NAME ${name})
  set_property(GLOBAL APPEND PROPERTY CALLBOARD_MODULES callboard_${name})
endfunction()

# callboard_test(NAME SOURCES ... LINKS ... [LABELS ...]): the Catch2 program NAME and its test.
function(callboard_test name)
  cmake_parse_arguments(ARG "" "" "SOURCES;LINKS;LABELS" ${ARGN})
  add_executable(${name} ${ARG_SOURCES})
  target_link_libraries(${name} PRIVATE ${ARG_LINKS} callboard_catch callboard_options)
  # Compiling a test takes longer than running it.
  target_compile_options(${name} PRIVATE -O0)
  callboard_use_precompiled(${name} tests)
  add_test(NAME ${name} COMMAND ${name})
  if(ARG_LABELS)
    set_tests_properties(${name} PROPERTIES LABELS "${ARG_LABELS}")
  endif()
endfunction()
