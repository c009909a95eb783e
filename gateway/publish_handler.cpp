// POST events: five ways to write an event, one publish request.
#include "base/utf8.hpp"
#include "gateway/auth.hpp"
#include "gateway/control_json.hpp"
#include "gateway/event_codec.hpp"
#include "gateway/event_fields.hpp"
#include "gateway/http_handlers.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

namespace callboard::gateway {

namespace {

constexpr std::size_t idempotency_key_size_max = 255;
constexpr std::uint32_t budget_retry_ms = 100;

result<std::optional<sequence>> expected_seq(const http_request& request) {
  const auto* raw = request.find("callboard-expected-seq");
  if (raw == nullptr) return std::nullopt;
  std::uint64_t value = 0;
  const auto* end = raw->data() + raw->size();
  const auto [stopped, failed] = std::from_chars(raw->data(), end, value);
  if (failed != std::errc{} || stopped != end) {
    return fail(errc::bad_request, "Callboard-Expected-Seq must be a number");
  }
  return sequence{value};
}

result<durability> durability_of(const request_target& target) {
  const auto* value = target.find("durability");
  if (value == nullptr) return durability::synced;
  if (const auto level = durability_named(*value)) return *level;
  return fail(errc::bad_request, "'durability' must be written, synced or replicated");
}

bool has_cloudevents_header(const http_request& request) {
  return std::ranges::any_of(
      request.headers, [](const auto& header) { return header.first.starts_with("ce-"); });
}

result<std::vector<decoded_event>> just(result<decoded_event> one) {
  if (!one) return std::unexpected{one.error()};
  std::vector<decoded_event> events;
  events.push_back(std::move(*one));
  return events;
}

result<std::vector<decoded_event>> decode_body(
    const http_request& request,
    const event_defaults& defaults,
    std::uint32_t events_max,
    bool& is_batch) {
  const auto* content_type = request.find("content-type");
  const auto media = content_type == nullptr ? std::string{} : media_type_of(*content_type);
  if (media.starts_with("application/cloudevents")) {
    if (media == "application/cloudevents-batch+json" || media == "application/cloudevents-batch") {
      is_batch = true;
      return decode_batch(request.body, defaults, events_max);
    }
    if (media == "application/cloudevents+json" || media == "application/cloudevents") {
      return just(decode_structured(request.body, defaults));
    }
  } else if (has_cloudevents_header(request)) {
    return just(decode_binary(
        request.headers,
        content_type == nullptr ? std::string_view{} : std::string_view{*content_type},
        request.body,
        defaults));
  } else if (media.empty() || is_json_media_type(media)) {
    return just(decode_plain(request.body, defaults));
  }
  return fail(
      errc::unsupported_media_type,
      fmt::format(
          "events are taken as application/json, application/cloudevents+json, "
          "application/cloudevents-batch+json or with ce- headers, not as '{}'",
          shown(media)));
}

result<event_defaults>
defaults_of(const http_environment& environment, const exchange& now, const http_request& request) {
  auto key = idempotency_key(request);
  if (!key) return std::unexpected{key.error()};
  event_defaults defaults;
  defaults.id = std::move(*key);
  defaults.event_bytes_max = environment.sessions.settings.limits.event_bytes_max;
  defaults.now = environment.sessions.time.wall();
  if (const auto* type = now.target.find("type")) defaults.type = *type;
  if (const auto* source = now.target.find("source")) defaults.source = *source;
  return defaults;
}

/// The charge that goes with the events: the body's own, unless they take more than it did.
result<byte_charge> charge_for(
    const http_environment& environment,
    const std::vector<runtime::encoded_event>& events,
    byte_charge& body) {
  std::uint64_t size = 0;
  for (const auto& event : events)
    size += event.stored.size();
  if (body.size() >= size) return std::move(body);
  auto more = environment.sessions.payload_budget.charge(size);
  if (!more) {
    return fail(errc::overloaded, "the node has too many payload bytes in flight", budget_retry_ms);
  }
  body = {};
  return std::move(*more);
}

}  // namespace

result<std::string> idempotency_key(const http_request& request) {
  const auto* raw = request.find("idempotency-key");
  if (raw == nullptr) return std::string{};
  std::string key;
  if (raw->size() >= 2 && raw->front() == '"' && raw->back() == '"') {
    for (std::size_t i = 1; i + 1 < raw->size(); ++i) {
      if ((*raw)[i] == '\\' && i + 2 < raw->size()) ++i;
      key += (*raw)[i];
    }
  } else {
    key = *raw;
  }
  if (key.empty() || key.size() > idempotency_key_size_max) {
    return fail(errc::bad_request, "Idempotency-Key must have 1 to 255 characters");
  }
  if (!is_utf8(key)) return fail(errc::bad_request, "Idempotency-Key must be UTF-8");
  return key;
}

result<action> handle_publish(
    const http_environment& environment,
    exchange& now,
    const http_request& request,
    byte_charge& charge) {
  auto topic = topic_name::parse(now.route->topic);
  if (!topic) return std::unexpected{topic.error()};
  if (!now.who->may_publish(topic->str())) {
    return fail(errc::forbidden, "the token does not allow to publish to this topic");
  }
  if (const auto* coding = request.find("content-encoding");
      coding != nullptr && *coding != "identity") {
    return fail(errc::unsupported_media_type, "compressed bodies are not taken");
  }
  actors::publish_request publish;
  auto expected = expected_seq(request);
  if (!expected) return std::unexpected{expected.error()};
  auto level = durability_of(now.target);
  if (!level) return std::unexpected{level.error()};
  auto ephemeral = flag_of(now.target, "ephemeral");
  if (!ephemeral) return std::unexpected{ephemeral.error()};
  auto defaults = defaults_of(environment, now, request);
  if (!defaults) return std::unexpected{defaults.error()};
  auto events = decode_body(
      request, *defaults, environment.sessions.settings.limits.batch_events_max, now.is_batch);
  if (!events) return std::unexpected{events.error()};
  for (auto& each : *events) {
    now.ids.push_back(std::move(each.id));
    publish.events.push_back(std::move(each.event));
  }
  auto taken = charge_for(environment, publish.events, charge);
  if (!taken) return std::unexpected{taken.error()};
  publish.expected = *expected;
  publish.level = *level;
  publish.ephemeral = *ephemeral;
  actors::publish_batch batch;
  batch.topic = {now.route->tenant, std::move(*topic)};
  batch.requests.push_back(std::move(publish));
  batch.charge = std::move(*taken);
  return batch;
}

http_response answer_publish(const exchange& now, const actors::publish_outcome& outcome) {
  std::string body;
  if (!now.is_batch) {
    body += '{';
    append_publish_members(body, now.route->topic, now.ids.front(), outcome, 0);
    body += '}';
    return json_response(200, std::move(body));
  }
  body += R"({"results":[)";
  for (std::size_t i = 0; i < now.ids.size(); ++i) {
    body += i == 0 ? "{" : ",{";
    append_publish_members(body, now.route->topic, now.ids[i], outcome, i);
    body += '}';
  }
  body += "]}";
  return json_response(200, std::move(body));
}

}  // namespace callboard::gateway
