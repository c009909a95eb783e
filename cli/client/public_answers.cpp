#include "cli/client/public_answers.hpp"

#include <boost/json/serialize.hpp>

#include <array>
#include <callboard/json_text.hpp>

namespace callboard {

namespace {

constexpr std::array text_members{
    std::pair{"id", &event::id},
    std::pair{"source", &event::source},
    std::pair{"type", &event::type},
    std::pair{"subject", &event::subject},
    std::pair{"time", &event::time}};

/// What an event says about its data rather than about itself.
bool is_envelope(std::string_view name) {
  return name == "specversion" || name == "datacontenttype" || name == "data";
}

}  // namespace

boost::json::object to_cloud_event(const event& from) {
  boost::json::object to = from.extensions;
  to["specversion"] = "1.0";
  for (const auto& [name, member] : text_members) {
    if (!(from.*member).empty()) to[name] = from.*member;
  }
  if (!from.data.is_null()) {
    to["datacontenttype"] = "application/json";
    to["data"] = from.data;
  }
  return to;
}

event from_cloud_event(const boost::json::object& from) {
  event to;
  for (const auto& member : from) {
    const std::string_view name = member.key();
    bool is_text = false;
    for (const auto& [known, place] : text_members) {
      if (name != known) continue;
      is_text = true;
      to.*place = client::text_of(from, name);
    }
    if (name == "data") to.data = member.value();
    if (!is_text && !is_envelope(name)) to.extensions[name] = member.value();
  }
  return to;
}

namespace client {

failure failure_of(const error& why) {
  const bool is_rate = why.code == errc::overloaded || why.code == errc::rate_limited
                       || why.code == errc::inbox_full;
  const auto kind = is_rate                  ? failure_class::rate
                    : is_retryable(why.code) ? failure_class::retryable
                                             : failure_class::permanent;
  return {
      .kind = kind,
      .code = std::string{name_of(why.code)},
      .message = why.detail,
      .retry_after_ms = why.retry_after_ms};
}

outcome<boost::json::object> object_in(std::string_view body) {
  if (body.empty()) return boost::json::object{};
  auto value = read_json(body);
  if (!value || !value->is_object()) {
    return std::unexpected{failure_of(
        {.code = errc::invalid_json, .detail = "the server's answer is no JSON object"})};
  }
  return std::move(value->as_object());
}

std::string text_of(const boost::json::object& from, std::string_view name) {
  const auto* found = from.if_contains(name);
  return found != nullptr && found->is_string() ? std::string{found->as_string()} : std::string{};
}

std::uint64_t number_of(const boost::json::object& from, std::string_view name) {
  const auto* found = from.if_contains(name);
  if (found == nullptr || !found->is_number()) return 0;
  boost::system::error_code inexact;
  const auto number = found->to_number<std::uint64_t>(inexact);
  return inexact ? 0 : number;
}

bool flag_of(const boost::json::object& from, std::string_view name) {
  const auto* found = from.if_contains(name);
  return found != nullptr && found->is_bool() && found->as_bool();
}

failure failure_in(const boost::json::object& told) {
  failure why{
      .kind = failure_class_named(text_of(told, "class")).value_or(failure_class::permanent),
      .code = text_of(told, "code"),
      .message = text_of(told, "message"),
      .retry_after_ms = static_cast<std::uint32_t>(number_of(told, "retry_after_ms"))};
  if (const auto* more = told.if_contains("details")) why.details = boost::json::serialize(*more);
  return why;
}

received_event received_from(const boost::json::object& delivery, std::string_view topic) {
  received_event to;
  to.topic = topic;
  to.seq = number_of(delivery, "seq");
  to.cursor = text_of(delivery, "cursor");
  const auto* what = delivery.if_contains("event");
  if (what != nullptr && what->is_object()) to.what = from_cloud_event(what->as_object());
  return to;
}

}  // namespace client

}  // namespace callboard
