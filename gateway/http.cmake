# The HTTP side: sockets, listener, requests and answers. `callboard::gateway` brings all of it.
callboard_module(gateway_http
  SOURCES plain_transport.cpp request_reader.cpp socket_state.cpp tls_transport.cpp
  LINKS callboard::gateway_codecs $<TARGET_NAME_IF_EXISTS:callboard_gateway_sessions>
    Boost::boost OpenSSL::SSL OpenSSL::Crypto fmt::fmt)
add_library(callboard::gateway ALIAS callboard_gateway_http)
