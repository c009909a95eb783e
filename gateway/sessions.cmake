# Sessions of clients that subscribe: WebSocket and event stream, and the connection actor.
callboard_module(gateway_sessions
  SOURCES client_subscription.cpp cloudevents_protocol.cpp connection_actor.cpp event_stream.cpp
    event_stream_start.cpp frame_cache.cpp json_frame.cpp json_reader.cpp json_writer.cpp
    output_queue.cpp stream_frame.cpp stream_place.cpp proto_reader.cpp proto_writer.cpp thread_state.cpp websocket_groups.cpp websocket_handshake.cpp
    websocket_operations.cpp websocket_session.cpp websocket_ticks.cpp websocket_wire.cpp websocket_work.cpp
    ws_protocol.cpp
  LINKS callboard::gateway_codecs callboard::actors_relays callboard::runtime_subscription
    callboard::runtime_topic callboard::proto ZLIB::ZLIB OpenSSL::Crypto Boost::boost fmt::fmt)
