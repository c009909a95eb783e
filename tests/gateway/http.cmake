callboard_test(gateway_http_test
  SOURCES documents.test.cpp http_bindings.test.cpp http_fixture.cpp http_json.test.cpp http_limits.test.cpp http_routes.test.cpp
    http_session.test.cpp listener.test.cpp problems.test.cpp routes.test.cpp
  LINKS callboard::gateway_http
  LABELS unit)
target_compile_definitions(gateway_http_test PRIVATE CALLBOARD_SOURCE_DIR="${CMAKE_SOURCE_DIR}")
