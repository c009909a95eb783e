#include "runtime/workflow/run_check.hpp"

#include "runtime/workflow/json_values.hpp"
#include "runtime/workflow/recorded_builds.hpp"
#include "runtime/workflow/run_codec.hpp"
#include "runtime/workflow/run_engine.hpp"

#include <boost/json/serialize.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <map>
#include <string_view>
#include <utility>

namespace callboard::runtime {

namespace {

std::string in_words(command_kind kind, const std::string& name) {
  return fmt::format("{} '{}'", name_of(kind), name);
}

/// How the run ended by its code; nothing for one that runs, is parked, or was ended by somebody or
/// by the node.
std::optional<run_event> end_of_code(const std::vector<run_event>& events) {
  for (const auto& one : events) {
    if (one.kind != run_event_kind::ended || one.status == run_status::blocked) continue;
    // The last two are of classes whose runs fail where code does not fit (`on_mismatch`).
    constexpr std::array<std::string_view, 5> by_others = {
        "terminated",
        "restarted",
        "transition_too_large",
        command_differs_code,
        command_missing_code};
    const bool is_by_others =
        one.why && std::ranges::find(by_others, one.why->code) != by_others.end();
    return is_by_others ? std::nullopt : std::optional{one};
  }
  return std::nullopt;
}

/// False for what a restart or a fork left behind that never came to its end.
bool is_whole(const std::vector<run_event>& events) {
  if (events.size() < 2 || events[1].kind != run_event_kind::rerun) return true;
  const auto* copied = events[1].data.as_object().if_contains("events");
  // The event itself is no part of the copy.
  return copied == nullptr || !copied->is_number()
         || events.size() > copied->to_number<std::uint64_t>();
}

/// Where the next event belongs: events that were lost or doubled by whatever came between could
/// fit all the same, and would say nothing of the run. Errors: invalid_json, corruption.
result<std::uint64_t>
check_place(const boost::json::object& event, std::optional<std::uint64_t> expected) {
  const auto* at = event.if_contains("seq");
  boost::system::error_code failed;
  const auto seq = at == nullptr ? 0 : at->to_number<std::uint64_t>(failed);
  if (seq == 0 || failed) return fail(errc::invalid_json, "an event of the history has no 'seq'");
  if (expected && seq != *expected) {
    return fail(
        errc::corruption,
        fmt::format(
            "the history is not whole: behind the event with seq {} comes the one with seq {}, "
            "where {} belongs",
            *expected - 1,
            seq,
            *expected));
  }
  return seq + 1;
}

failure ends_otherwise(run_status recorded, const std::optional<run_end>& now) {
  return {
      failure_class::bug,
      "end_differs",
      fmt::format(
          "the run ended as {}; the code that runs now {}",
          name_of(recorded),
          now ? fmt::format("ends as {}", name_of(now->status)) : "does not end there"),
      0,
      boost::json::serialize(boost::json::object{
          {"recorded", {{"kind", "end"}, {"name", name_of(recorded)}}},
          {"attempted",
           now ? json{{"kind", "end"}, {"name", name_of(now->status)}} : json{nullptr}}})};
}

}  // namespace

result<shown_run> read_shown_history(const boost::json::array& events) {
  shown_run run;
  std::map<std::uint32_t, std::vector<run_event>> runs;
  std::optional<std::uint64_t> next_seq;
  for (const auto& one : events) {
    const auto* shown = one.is_object() ? one.get_object().if_contains("event") : nullptr;
    if (shown == nullptr || !shown->is_object()) {
      return fail(errc::invalid_json, "a history is a list of objects with an 'event'");
    }
    const auto next = check_place(one.get_object(), next_seq);
    if (!next) return std::unexpected{next.error()};
    next_seq = *next;
    auto event = read_shown_event(shown->get_object());
    if (!event) return std::unexpected{event.error()};
    auto& of_run = runs[event->run];
    if (event->kind == run_event_kind::started) of_run.clear();
    run.workflow_id = text_at(shown->get_object(), "subject");
    of_run.push_back(std::move(*event));
  }
  for (auto& [number, recorded] : runs) {
    if (is_whole(recorded)) run.events = std::move(recorded);
  }
  if (run.events.empty() || run.events.front().kind != run_event_kind::started) {
    return fail(errc::invalid_json, "the history does not reach back to the start of its run");
  }
  return run;
}

result<replay_check>
check_replay(const workflow_registry& code, shown_run run, std::uint32_t version) {
  auto start = read_started(run.events.front());
  if (!start) return std::unexpected{start.error()};
  start->identity.workflow_id = run.workflow_id;
  if (version != 0) start->identity.version = version;
  replay_check check;
  check.type = start->identity.type;
  check.version = start->identity.version;
  check.run = start->identity.run;
  check.events = run.events.size();
  const auto* found = code.find(check.type, check.version);
  if (found == nullptr) {
    check.mismatch = failure{
        failure_class::bug,
        "no_code",
        fmt::format("there is no workflow '{}' version {} here", check.type, check.version)};
    return check;
  }
  recorded_builds builds;
  for (const auto& event : run.events)
    builds.take(event);
  run.events.front().data = start->input;
  const auto recorded_end = end_of_code(run.events);
  changed_arguments changes{run.events};
  run_engine engine{*found, start->identity, start->seed};
  engine.watch_recorded(
      [&](auto command, const auto& request, auto now) { changes.compare(command, request, now); });
  const auto outputs = engine.replay(run.events);
  check.changed = changes.found();
  check.changed_omitted = changes.omitted();
  if (engine.blocked()) {
    check.mismatch =
        with_builds(*engine.blocked(), builds, code.build_of(check.type, check.version));
  } else if (recorded_end && (!outputs.end || outputs.end->status != recorded_end->status)) {
    check.mismatch = ends_otherwise(recorded_end->status, outputs.end);
  } else {
    for (const auto& event : outputs.events) {
      if (event.kind == run_event_kind::issued)
        check.next.push_back(in_words(event.what, event.name));
    }
    for (const auto& [index, one] : engine.open())
      check.open.push_back(in_words(one.request.kind, one.request.name));
    if (outputs.end) check.end = outputs.end->status;
  }
  engine.close();
  return check;
}

}  // namespace callboard::runtime
