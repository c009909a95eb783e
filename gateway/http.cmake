# The HTTP side: sockets, listener, requests and answers.
set(callboard_documents ${CMAKE_SOURCE_DIR}/docs/openapi.yaml ${CMAKE_SOURCE_DIR}/docs/asyncapi.yaml)
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${callboard_documents})
file(READ ${CMAKE_SOURCE_DIR}/docs/openapi.yaml CALLBOARD_OPENAPI)
file(READ ${CMAKE_SOURCE_DIR}/docs/asyncapi.yaml CALLBOARD_ASYNCAPI)
configure_file(documents.cpp.in ${CMAKE_CURRENT_BINARY_DIR}/documents.cpp @ONLY)
# The standard promises literals of 64 KiB, both compilers take what there is.
set_source_files_properties(${CMAKE_CURRENT_BINARY_DIR}/documents.cpp
  PROPERTIES COMPILE_OPTIONS -Wno-overlength-strings)

callboard_module(gateway_http
  SOURCES ${CMAKE_CURRENT_BINARY_DIR}/documents.cpp agent_handler.cpp binding_handler.cpp http_auth.cpp http_handlers.cpp http_metrics.cpp
    http_response.cpp http_session.cpp http_session_answer.cpp listener.cpp origin.cpp
    plain_transport.cpp publish_handler.cpp queue_handler.cpp request_reader.cpp routes.cpp socket_state.cpp
    tls_transport.cpp workflow_handler.cpp workflow_repair_handler.cpp
  LINKS callboard::gateway_codecs callboard_runtime_workflow Boost::boost OpenSSL::SSL OpenSSL::Crypto fmt::fmt)

# All of it, put together: what `node` links.
callboard_module(gateway
  SOURCES gateway.cpp
  LINKS callboard::gateway_http callboard::gateway_sessions callboard::actors_relays)
