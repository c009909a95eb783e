// Settings from any text: parsed or refused with a place, never more.
#include "base/config.hpp"

#include <cstddef>
#include <cstdint>
#include <cstdlib>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text{reinterpret_cast<const char*>(data), size};
  const auto parsed = callboard::parse_config(text, "fuzz.toml");
  if (parsed && callboard::check_config(*parsed) && callboard::list_settings(*parsed).empty()) {
    std::abort();
  }
  callboard::config settings;
  (void)callboard::set_setting(settings, text);
  return 0;
}
