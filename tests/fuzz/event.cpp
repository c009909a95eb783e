// CloudEvents in every mode from any bytes. What is accepted must render as JSON that is accepted
// again with the same identity: an event that goes out can come back in.
#include "gateway/event_codec.hpp"

#include <cstddef>
#include <cstdint>
#include <cstdlib>

namespace {

using namespace callboard;

void check_round_trip(const gateway::decoded_event& decoded) {
  std::string rendered;
  gateway::append_event_json(rendered, decoded.event.stored, time_ms{});
  if (rendered.find_first_of("\r\n") != std::string::npos) std::abort();
  gateway::event_defaults defaults;
  defaults.event_bytes_max = 8U << 20;
  const auto again = gateway::decode_structured(rendered, defaults);
  if (!again || again->event.identity() != decoded.event.identity()) std::abort();
  (void)gateway::event_type(decoded.event.stored);
}

/// `name: value` lines up to an empty one become headers; the rest is the body.
void decode_as_binary(std::string_view text, const gateway::event_defaults& defaults) {
  std::vector<std::pair<std::string, std::string>> headers;
  while (!text.empty()) {
    const auto line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(text.size(), line.size() + 1));
    const auto colon = line.find(':');
    if (colon == std::string_view::npos) break;
    headers.emplace_back(line.substr(0, colon), line.substr(colon + 1));
  }
  const auto decoded = gateway::decode_binary(headers, "application/json", text, defaults);
  if (decoded) check_round_trip(*decoded);
  const auto as_text = gateway::decode_binary(headers, "text/plain", text, defaults);
  if (as_text) check_round_trip(*as_text);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text{reinterpret_cast<const char*>(data), size};
  gateway::event_defaults defaults;
  // Without it a made id would differ on every run.
  defaults.id = "given";
  if (const auto one = gateway::decode_structured(text, defaults)) check_round_trip(*one);
  if (const auto one = gateway::decode_structured(text, defaults, true)) check_round_trip(*one);
  if (const auto one = gateway::decode_plain(text, defaults)) check_round_trip(*one);
  if (const auto all = gateway::decode_batch(text, defaults, 100)) {
    for (const auto& each : *all)
      check_round_trip(each);
  }
  decode_as_binary(text, defaults);
  return 0;
}
