callboard_test(gateway_sessions_test
  SOURCES sessions/websocket_session.test.cpp sessions/websocket_wire.test.cpp
  LINKS callboard::gateway_sessions
  LABELS unit)
