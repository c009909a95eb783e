#include "base/error.hpp"

#include <array>
#include <utility>

namespace callboard {

namespace {

constexpr auto names = std::to_array<std::pair<errc, std::string_view>>({
    {errc::bad_request, "bad_request"},
    {errc::invalid_name, "invalid_name"},
    {errc::invalid_json, "invalid_json"},
    {errc::invalid_event, "invalid_event"},
    {errc::invalid_setting, "invalid_setting"},
    {errc::unsupported_media_type, "unsupported_media_type"},
    {errc::too_large, "too_large"},
    {errc::unauthorized, "unauthorized"},
    {errc::forbidden, "forbidden"},
    {errc::not_found, "not_found"},
    {errc::topic_not_found, "topic_not_found"},
    {errc::group_not_found, "group_not_found"},
    {errc::method_not_allowed, "method_not_allowed"},
    {errc::sequence_conflict, "sequence_conflict"},
    {errc::id_conflict, "id_conflict"},
    {errc::exists, "exists"},
    {errc::cursor_expired, "cursor_expired"},
    {errc::overloaded, "overloaded"},
    {errc::rate_limited, "rate_limited"},
    {errc::too_many_connections, "too_many_connections"},
    {errc::too_many_subscriptions, "too_many_subscriptions"},
    {errc::storage_full, "storage_full"},
    {errc::outcome_unknown, "outcome_unknown"},
    {errc::not_enough_replicas, "not_enough_replicas"},
    {errc::stale_term, "stale_term"},
    {errc::quarantined, "quarantined"},
    {errc::draining, "draining"},
    {errc::timeout, "timeout"},
    {errc::lease_lost, "lease_lost"},
    {errc::corruption, "corruption"},
    {errc::io_error, "io_error"},
    {errc::held_by_group, "held_by_group"},
    {errc::locked, "locked"},
    {errc::incompatible, "incompatible"},
    {errc::unreachable, "unreachable"},
    {errc::internal, "internal"},
    {errc::wrong_kind, "wrong_kind"},
    {errc::cancelled, "cancelled"},
    {errc::workflow_exists, "workflow_exists"},
    {errc::workflow_not_found, "workflow_not_found"},
    {errc::agent_not_found, "agent_not_found"},
    {errc::agent_failed, "agent_failed"},
    {errc::queue_not_found, "queue_not_found"},
    {errc::task_not_found, "task_not_found"},
    {errc::binding_not_found, "binding_not_found"},
    {errc::inbox_full, "inbox_full"},
});

} // namespace

std::string_view name_of(errc code) {
  for (const auto& [candidate, name] : names) {
    if (candidate == code) return name;
  }
  return "internal";
}

std::optional<errc> errc_named(std::string_view name) {
  for (const auto& [code, candidate] : names) {
    if (candidate == name) return code;
  }
  return std::nullopt;
}

bool is_retryable(errc code) {
  switch (code) {
    case errc::overloaded:
    case errc::rate_limited:
    case errc::too_many_connections:
    case errc::storage_full:
    case errc::outcome_unknown:
    case errc::not_enough_replicas:
    case errc::stale_term:
    case errc::draining:
    case errc::timeout:
    case errc::held_by_group:
    case errc::inbox_full:
    case errc::unreachable: return true;
    default: return false;
  }
}

} // namespace callboard
