#include "runtime/workflow/signal_ledger.hpp"

#include "runtime/workflow/run_limits.hpp"

#include <utility>

namespace callboard::runtime {

std::optional<std::uint32_t> signal_ledger::take(const run_event& event) {
  const bool is_output = !is_input(event.kind);
  if (!is_output && is_behind_output_) given_.clear();
  is_behind_output_ = is_output;
  if (event.kind == run_event_kind::signalled) return on_signal(event);
  if (event.kind == run_event_kind::issued) {
    return event.what == command_kind::signal ? on_reader(event) : std::nullopt;
  }
  if (event.kind == run_event_kind::command_cancelled) return on_cancelled(event.command);
  if (event.command != 0) on_end_of(event.command);
  return std::nullopt;
}

std::optional<std::uint32_t> signal_ledger::on_signal(const run_event& event) {
  const auto found = readers_.find(event.name);
  if (found == readers_.end()) {
    const auto size = unread_size(event);
    unread_[event.name].push_back(size);
    ++unread_count_;
    unread_bytes_ += size;
    return std::nullopt;
  }
  const auto reader = *found->second.begin();
  on_end_of(reader);
  given_.insert_or_assign(reader, std::pair{event.name, unread_size(event)});
  return reader;
}

std::optional<std::uint32_t> signal_ledger::on_reader(const run_event& event) {
  const auto found = unread_.find(event.name);
  if (found == unread_.end()) {
    readers_[event.name].insert(event.command);
    names_[event.command] = event.name;
    return std::nullopt;
  }
  --unread_count_;
  unread_bytes_ -= found->second.front();
  given_.insert_or_assign(event.command, std::pair{event.name, found->second.front()});
  found->second.pop_front();
  if (found->second.empty()) unread_.erase(found);
  return event.command;
}

std::optional<std::uint32_t> signal_ledger::on_cancelled(std::uint32_t command) {
  on_end_of(command);
  auto taken = given_.extract(command);
  if (!taken) return std::nullopt;
  auto [name, size] = std::move(taken.mapped());
  const auto readers = readers_.find(name);
  if (readers == readers_.end()) {
    unread_[name].push_front(size);
    ++unread_count_;
    unread_bytes_ += size;
    return std::nullopt;
  }
  const auto reader = *readers->second.begin();
  on_end_of(reader);
  given_.insert_or_assign(reader, std::pair{std::move(name), size});
  return reader;
}

void signal_ledger::on_end_of(std::uint32_t command) {
  const auto name = names_.find(command);
  if (name == names_.end()) return;
  const auto readers = readers_.find(name->second);
  readers->second.erase(command);
  if (readers->second.empty()) readers_.erase(readers);
  names_.erase(name);
}

}  // namespace callboard::runtime
