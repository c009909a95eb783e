#include "examples/demo/tickets.hpp"

#include "examples/demo/json_members.hpp"

namespace callboard::demo {

namespace {

void advance(ticket_record& record, ticket_phase to) {
  if (record.phase >= to) return;
  const auto now = std::chrono::steady_clock::now();
  for (auto i = static_cast<std::size_t>(record.phase) + 1; i <= static_cast<std::size_t>(to); ++i)
    record.reached[i] = now;
  record.phase = to;
}

void take_step(ticket_record& record, const channel_event& event) {
  const auto name = text_of(event.data, "name");
  if (event.type == "task.started") {
    auto& step = record.steps[std::to_string(event.command) + ' ' + name];
    step.kind = text_of(event.data, "kind");
    if (name == "draft") advance(record, ticket_phase::drafting);
    return;
  }
  const auto first = record.steps.lower_bound(std::to_string(event.command) + ' ');
  if (first == record.steps.end()) return;
  auto& step = first->second;
  if (event.type == "task.failed") {
    ++step.attempts_failed;
    return;
  }
  ++step.completed;
  step.attempt = number_of(event.data, "attempt");
  if (first->first.ends_with(" draft")) {
    record.recorded = text_of(object_of(event.data, "result"), "text");
  }
}

void take_stream(ticket_record& record, const channel_event& event) {
  const auto text = text_of(event.data, "text");
  if (event.type == "model.delta") {
    ++record.deltas;
    record.streamed += text;
  } else {
    record.streamed = text;
  }
  record.stream_attempt = number_of(event.data, "attempt");
}

}  // namespace

void tickets::take(const std::string& tenant, const channel_event& event) {
  const key which{tenant, event.run};
  const std::lock_guard lock{mutex_};
  const auto [found, is_new] = records_.try_emplace(which);
  auto& record = found->second;
  if (is_new) record.reached[0] = std::chrono::steady_clock::now();
  if (event.seq != 0 && event.seq != ++record.events) ++record.out_of_turn;
  if (event.type.starts_with("task.")) take_step(record, event);
  if (event.type.starts_with("model.") && text_of(event.data, "name") == "draft")
    take_stream(record, event);
  if (event.type == "signal.awaited") advance(record, ticket_phase::waiting);
  if (event.type == "signal.received") {
    ++record.signals;
    advance(record, ticket_phase::decided);
  }
  if (event.type == "workflow.update") record.last_update = text_of(event.data, "phase");
  if (event.type == "workflow.completed") {
    record.is_completed = true;
    advance(record, ticket_phase::closed);
  }
  if (tell_) tell_(which, event);
}

ticket_record tickets::at(const key& which) const {
  const std::lock_guard lock{mutex_};
  const auto found = records_.find(which);
  return found == records_.end() ? ticket_record{} : found->second;
}

std::vector<std::pair<tickets::key, ticket_record>>
tickets::with_prefix(const std::string& prefix) const {
  const std::lock_guard lock{mutex_};
  std::vector<std::pair<key, ticket_record>> found;
  for (const auto& one : records_) {
    if (one.first.second.starts_with(prefix)) found.emplace_back(one);
  }
  return found;
}

tickets::totals tickets::count(const std::string& prefix) const {
  const std::lock_guard lock{mutex_};
  totals sum;
  for (const auto& [which, record] : records_) {
    if (!which.second.starts_with(prefix)) continue;
    for (std::size_t i = 0; i <= static_cast<std::size_t>(record.phase); ++i)
      ++sum.reached[i];
    sum.deltas += record.deltas;
    sum.events += record.events;
  }
  return sum;
}

}  // namespace callboard::demo
