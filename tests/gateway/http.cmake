callboard_test(gateway_http_test
  SOURCES documents.test.cpp http_bindings.test.cpp http_fixture.cpp http_json.test.cpp http_limits.test.cpp http_routes.test.cpp
    http_session.test.cpp listener.test.cpp
  LINKS callboard::gateway_http
  LABELS unit)
