// Bodies of topics, groups, bindings and presence from any bytes.
#include "gateway/control_json.hpp"

#include <cstddef>
#include <cstdint>
#include <cstdlib>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace callboard;
  const std::string_view text{reinterpret_cast<const char*>(data), size};
  const actors::group_ref group{
      {tenant_name::trusted("t"), topic_name::trusted("topic")}, group_name::trusted("g")};
  const config settings;
  (void)gateway::parse_topic_patch(text);
  (void)gateway::parse_put_group(group, text);
  // What is accepted is stored in its one spelling, and must be read again from that.
  if (const auto bound = gateway::parse_put_binding(group, text)) {
    const auto again = runtime::parse_binding(*bound->put.binding);
    if (!again || *again != bound->rule) std::abort();
  }
  const auto fetch = gateway::parse_fetch(group, text, "member", settings.groups);
  if (fetch && fetch->wait_ms > settings.groups.fetch_wait_ms_max) std::abort();
  (void)gateway::parse_ack(group, text);
  (void)gateway::parse_nack(group, text);
  const auto state = gateway::parse_presence_state(text);
  if (state && state->size() > 4096) std::abort();
  (void)gateway::check_label("member", text);
  return 0;
}
