# What bytes mean: events, problems, tokens, URLs. Pure functions without sockets and actors.
callboard_module(gateway_codecs
  SOURCES auth.cpp base64.cpp event_codec.cpp event_fields.cpp event_json.cpp event_wire.cpp
    json_text.cpp percent.cpp principal.cpp problem.cpp token_issue.cpp token_keys.cpp url.cpp
  LINKS callboard::base callboard::proto Boost::json OpenSSL::Crypto fmt::fmt)
