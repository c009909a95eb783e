#include "storage/view_pass.hpp"

#include "storage/keys.hpp"

#include <algorithm>

namespace callboard::storage {

void view_pass::reset() {
  changes_.clear();
  erased_.clear();
}

const std::string& view_pass::full_key(view_id view, std::string_view key) {
  keys::view_row(key_, shard_, generation_, view, key);
  return key_;
}

void view_pass::put(view_id view, std::string_view key, std::string_view value) {
  const auto& row = full_key(view, key);
  // A batch in memory takes anything; its only failure is a size beyond 4 GiB.
  into_->Put(from_->handle(family::view), row, value).PermitUncheckedError();
  changes_.insert_or_assign(row, std::string{value});
}

void view_pass::erase(view_id view, std::string_view key) {
  const auto& row = full_key(view, key);
  into_->Delete(from_->handle(family::view), row).PermitUncheckedError();
  changes_.insert_or_assign(row, std::nullopt);
}

void view_pass::erase_range(view_id view, std::string_view first, std::string_view last) {
  const auto begin = full_key(view, first);
  // `last` empty = to the end of the view.
  const auto end = last.empty()
                       ? full_key(static_cast<view_id>(static_cast<std::uint8_t>(view) + 1), {})
                       : full_key(view, last);
  if (begin >= end) return;
  into_->DeleteRange(from_->handle(family::view), begin, end).PermitUncheckedError();
  changes_.erase(changes_.lower_bound(begin), changes_.lower_bound(end));
  erased_.emplace_back(begin, end);
}

std::optional<std::string> view_pass::get(view_id view, std::string_view key) {
  const auto& row = full_key(view, key);
  if (const auto found = changes_.find(row); found != changes_.end()) return found->second;
  const auto is_erased = [&](const auto& range) {
    return row >= range.first && row < range.second;
  };
  if (std::ranges::any_of(erased_, is_erased)) return std::nullopt;
  std::string value;
  auto exists = from_->get(family::view, row, value);
  if (!exists) {
    failure_ = exists.error();
    return std::nullopt;
  }
  if (!*exists) return std::nullopt;
  return value;
}

}  // namespace callboard::storage
