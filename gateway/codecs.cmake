# What bytes mean: events, problems, tokens, URLs. Pure functions without sockets and actors.
callboard_module(gateway_codecs
  SOURCES answer_json.cpp auth.cpp base64.cpp control_json.cpp event_codec.cpp event_fields.cpp
    event_json.cpp event_wire.cpp json_members.cpp json_text.cpp percent.cpp principal.cpp
    problem.cpp queue_json.cpp token_issue.cpp token_keys.cpp url.cpp
  LINKS callboard::base callboard::actors_requests callboard::failure callboard::proto callboard::runtime_binding
    callboard::runtime_topic Boost::json OpenSSL::Crypto fmt::fmt)
