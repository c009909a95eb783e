# The HTTP side: sockets, listener, requests and answers. `callboard::gateway` brings all of it.
callboard_module(gateway_http
  SOURCES gateway.cpp http_auth.cpp http_handlers.cpp http_metrics.cpp http_response.cpp
    http_session.cpp http_session_answer.cpp listener.cpp origin.cpp plain_transport.cpp
    publish_handler.cpp request_reader.cpp routes.cpp socket_state.cpp tls_transport.cpp
  LINKS callboard::gateway_codecs $<TARGET_NAME_IF_EXISTS:callboard_gateway_sessions>
    $<TARGET_NAME_IF_EXISTS:callboard_actors_relays> Boost::boost OpenSSL::SSL OpenSSL::Crypto
    fmt::fmt)
add_library(callboard::gateway ALIAS callboard_gateway_http)
