callboard_test(runtime_binding_test
  SOURCES binding/binding.test.cpp binding/template_text.test.cpp
  LINKS callboard::runtime_binding callboard::runtime_group Boost::json
  LABELS unit)
