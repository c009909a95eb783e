callboard_test(gateway_sessions_test
  SOURCES sessions/access_session.test.cpp sessions/cloudevents_session.test.cpp
    sessions/connection_actor.test.cpp sessions/event_stream.test.cpp
    sessions/groups_session.test.cpp sessions/proto_session.test.cpp
    sessions/stream_place.test.cpp sessions/websocket_session.test.cpp
    sessions/websocket_wire.test.cpp sessions/work_session.test.cpp
  LINKS callboard::gateway_sessions
  LABELS unit)
