#include "runtime/workflow/changed_arguments.hpp"

#include "base/hash.hpp"
#include "base/time.hpp"
#include "base/utf8.hpp"
#include "runtime/workflow/canonical_json.hpp"

#include <fmt/format.h>

#include <optional>
#include <string_view>
#include <utility>

namespace callboard::runtime {

namespace {

constexpr std::size_t shown_bytes_max = 200;

std::string in_short(const json* value) {
  if (value == nullptr) return {};
  auto text = canonical_text(*value);
  if (text.size() <= shown_bytes_max) return text;
  return fmt::format(
      "{}… ({} bytes, {:016x})", front_of(text, shown_bytes_max), text.size(), hash_64(text));
}

std::string in_ms(const std::optional<time_ms>& due, time_ms from) {
  return due ? std::to_string((*due - from).count()) : std::string{};
}

/// It was recorded without, or with a failure in the place of a reply that was too large.
bool is_without_arguments(const run_event& issued) {
  const auto* all = issued.data.if_object();
  if (all == nullptr) return true;
  const auto* data = issued.what == command_kind::update ? all->if_contains("data") : &issued.data;
  const auto* said = data == nullptr ? nullptr : data->if_object();
  return (said != nullptr && said->contains("arguments_too_large"))
         || (issued.what == command_kind::reply && all->contains("error"));
}

}  // namespace

changed_arguments::changed_arguments(std::span<const run_event> history) {
  for (const auto& event : history) {
    if (event.kind == run_event_kind::issued) issued_[event.command] = &event;
  }
}

void changed_arguments::compare(
    std::uint32_t command, const detail::command_request& request, time_ms now) {
  const auto found = issued_.find(command);
  if (found == issued_.end()) return;
  command_ = found->second;
  compare_times(request, now);
  if (is_without_arguments(*command_)) return;
  const json attempted(request.arguments);
  compare_values({}, &command_->data, &attempted);
}

void changed_arguments::compare_values(
    const std::string& member, const json* recorded, const json* attempted) {
  if (recorded != nullptr && attempted != nullptr && *recorded == *attempted) return;
  const auto* before = recorded == nullptr ? nullptr : recorded->if_object();
  const auto* after = attempted == nullptr ? nullptr : attempted->if_object();
  if (before == nullptr || after == nullptr) {
    return add(member, in_short(recorded), in_short(attempted));
  }
  const auto path = [&](std::string_view name) {
    return member.empty() ? std::string{name} : fmt::format("{}.{}", member, name);
  };
  for (const auto& [name, value] : *before)
    compare_values(path(name), &value, after->if_contains(name));
  for (const auto& [name, value] : *after) {
    if (!before->contains(name)) compare_values(path(name), nullptr, &value);
  }
}

/// A command that was issued late, behind a restart or as the run had been blocked, has its time
/// from then, which the code does not see.
void changed_arguments::compare_times(const detail::command_request& request, time_ms now) {
  std::optional<time_ms> due;
  if (request.until) due = later(time_ms{}, request.until->time_since_epoch());
  if (!request.until && request.delay) due = later(now, *request.delay);
  if (due == command_->due) return;
  const bool is_late = command_->time != now;
  if (is_late && due && command_->due && !request.until) return;
  const auto* member = request.until                         ? "until_ms"
                       : request.kind == command_kind::sleep ? "delay_ms"
                                                             : "timeout_ms";
  const auto zero = request.until ? std::optional{time_ms{}} : std::nullopt;
  add(member, in_ms(command_->due, zero.value_or(command_->time)), in_ms(due, zero.value_or(now)));
}

void changed_arguments::add(std::string member, std::string recorded, std::string attempted) {
  if (found_.size() == changed_arguments_max) {
    ++omitted_;
    return;
  }
  found_.push_back(
      {command_->command,
       command_->what,
       command_->name,
       std::move(member),
       std::move(recorded),
       std::move(attempted)});
}

}  // namespace callboard::runtime
