callboard_test(gateway_codecs_test
  SOURCES auth.test.cpp event_codec.test.cpp url.test.cpp
  LINKS callboard::gateway_codecs
  LABELS unit)
