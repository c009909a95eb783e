#include "gateway/control_json.hpp"

#include "gateway/json_members.hpp"
#include "gateway/json_text.hpp"
#include "runtime/topic/position.hpp"

#include <fmt/format.h>

#include <limits>

namespace callboard::gateway {

namespace {

constexpr std::size_t tokens_max = 10'000;
constexpr std::size_t label_size_max = 255;
constexpr std::size_t presence_state_size_max = 4096;
constexpr std::size_t nack_error_size_max = 1024;
constexpr std::uint64_t u32_max = std::numeric_limits<std::uint32_t>::max();
constexpr std::uint64_t u64_max = std::numeric_limits<std::int64_t>::max();

std::optional<std::uint32_t>
small(json_members& body, std::string_view name, std::uint64_t min, std::uint64_t max = u32_max) {
  const auto value = body.number(name, min, max);
  return value ? std::optional{static_cast<std::uint32_t>(*value)} : std::nullopt;
}

void read_kind(json_members& body, actors::topic_settings_patch& patch) {
  if (const auto kind = body.text("kind")) {
    if (*kind == "durable") patch.kind = runtime::topic_kind::durable;
    if (*kind == "ephemeral") patch.kind = runtime::topic_kind::ephemeral;
    if (!patch.kind) body.refuse("'kind' must be \"durable\" or \"ephemeral\"");
  }
  if (const auto lane = body.text("lane")) {
    if (*lane == "interactive") patch.lane = runtime::topic_lane::interactive;
    if (*lane == "bulk") patch.lane = runtime::topic_lane::bulk;
    if (!patch.lane) body.refuse("'lane' must be \"interactive\" or \"bulk\"");
  }
}

}  // namespace

result<actors::topic_settings_patch> parse_topic_patch(std::string_view text) {
  auto body = json_members::parse(text);
  actors::topic_settings_patch patch;
  read_kind(body, patch);
  auto retention = body.object("retention");
  patch.retention_age_s = retention.number("max_age_s", 0, u64_max);
  patch.retention_bytes = retention.number("max_bytes", 0, u64_max);
  patch.retention_events = retention.number("max_events", 0, u64_max);
  body.join(retention);
  patch.dedupe_window_s = small(body, "dedupe_window_s", 0, 2'592'000);
  patch.hold_for_groups = body.flag("hold_for_groups");
  if (auto sound = body.finish(); !sound) return std::unexpected{sound.error()};
  return patch;
}

result<actors::put_group> parse_put_group(const actors::group_ref& group, std::string_view text) {
  auto body = json_members::parse(text);
  actors::put_group put;
  put.group = group;
  put.hold_ms = small(body, "hold_ms", 10, 86'400'000);
  put.deliveries_max = small(body, "deliveries_max", 1, 10'000);
  put.in_flight_max = small(body, "in_flight_max", 1, 1'000'000);
  put.backoff_min_ms = small(body, "backoff_min_ms", 1, 86'400'000);
  put.backoff_max_ms = small(body, "backoff_max_ms", 1, 86'400'000);
  put.ordered_by_subject = body.flag("ordered_by_subject");
  put.dead_letter_topic = body.text("dead_letter_topic");
  if (put.dead_letter_topic && !put.dead_letter_topic->empty()) {
    if (auto name = topic_name::parse(*put.dead_letter_topic); !name) {
      return std::unexpected{name.error()};
    }
  }
  if (const auto from = body.text_or_number("from")) {
    auto position = runtime::parse_position(*from);
    if (!position) return std::unexpected{position.error()};
    put.from = std::move(*position);
  }
  if (auto sound = body.finish(); !sound) return std::unexpected{sound.error()};
  return put;
}

result<parsed_binding> parse_put_binding(const actors::group_ref& group, std::string_view text) {
  auto body = json_members::parse(text);
  parsed_binding parsed;
  const auto filter = body.value("filter");
  const auto target = body.value("target");
  parsed.put.group = group;
  parsed.put.from = runtime::from_now{};
  if (const auto from = body.text_or_number("from")) {
    auto position = runtime::parse_position(*from);
    if (!position) return std::unexpected{position.error()};
    parsed.put.from = std::move(*position);
  }
  if (auto sound = body.finish(); !sound) return std::unexpected{sound.error()};
  std::string said = "{";
  if (filter) said += R"("filter":)" + *filter;
  if (filter && target) said += ',';
  if (target) said += R"("target":)" + *target;
  auto rule = runtime::parse_binding(said + '}');
  if (!rule) return std::unexpected{rule.error()};
  parsed.put.binding = runtime::binding_text(*rule);
  parsed.rule = *std::move(rule);
  return parsed;
}

result<actors::fetch_deliveries> parse_fetch(
    const actors::group_ref& group,
    std::string_view text,
    const std::string& default_member,
    const config::groups_section& limits) {
  auto body = json_members::parse(text);
  actors::fetch_deliveries fetch;
  fetch.group = group;
  fetch.member = body.text("member").value_or(default_member);
  fetch.max = small(body, "max", 1, limits.in_flight_max).value_or(fetch.max);
  fetch.wait_ms = std::min(small(body, "wait_ms", 0).value_or(0), limits.fetch_wait_ms_max);
  if (auto sound = body.finish(); !sound) return std::unexpected{sound.error()};
  if (auto sound = check_label("member", fetch.member); !sound)
    return std::unexpected{sound.error()};
  return fetch;
}

result<actors::ack_deliveries> parse_ack(const actors::group_ref& group, std::string_view text) {
  auto body = json_members::parse(text);
  actors::ack_deliveries ack;
  ack.group = group;
  ack.tokens = body.texts("deliveries", tokens_max);
  if (const auto seq = body.number("up_to_seq", 0, u64_max)) ack.up_to = sequence{*seq};
  if (ack.tokens.empty() && !ack.up_to) {
    body.refuse("an ack needs 'deliveries' or 'up_to_seq'");
  }
  if (auto sound = body.finish(); !sound) return std::unexpected{sound.error()};
  return ack;
}

result<actors::nack_deliveries> parse_nack(const actors::group_ref& group, std::string_view text) {
  auto body = json_members::parse(text);
  actors::nack_deliveries nack;
  nack.group = group;
  nack.tokens = body.texts("deliveries", tokens_max);
  nack.delay_ms = small(body, "delay_ms", 0, 86'400'000);
  nack.error = body.text("error").value_or("");
  if (nack.tokens.empty()) body.refuse("a nack needs 'deliveries'");
  if (nack.error.size() > nack_error_size_max) body.refuse("'error' may have 1024 bytes");
  if (auto sound = body.finish(); !sound) return std::unexpected{sound.error()};
  return nack;
}

result<std::string> parse_presence_state(std::string_view body) {
  const auto text = trim_json(body);
  if (text.empty()) return "{}";
  if (auto sound = check_json(text); !sound) return std::unexpected{sound.error()};
  if (!text.starts_with('{')) {
    return fail(errc::bad_request, "the state of a member must be a JSON object");
  }
  std::string state;
  append_minified(state, text);
  if (state.size() > presence_state_size_max) {
    return fail(
        errc::too_large,
        fmt::format("the state of a member may have {} bytes", presence_state_size_max));
  }
  return state;
}

result<void> check_label(std::string_view of, std::string_view text) {
  bool fits = !text.empty() && text.size() <= label_size_max && is_utf8(text);
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte == 0x7F) fits = false;
  }
  if (!fits) {
    return fail(
        errc::invalid_name,
        fmt::format(
            "the name of a {} must be 1 to {} bytes of printable UTF-8", of, label_size_max));
  }
  return {};
}

}  // namespace callboard::gateway
