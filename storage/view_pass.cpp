#include "storage/view_pass.hpp"

#include "storage/keys.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace callboard::storage {

namespace {

bool contains(
    const std::vector<std::pair<std::string, std::string>>& ranges, std::string_view row) {
  return std::ranges::any_of(
      ranges, [&](const auto& range) { return row >= range.first && row < range.second; });
}

}  // namespace

void view_pass::reset() {
  drop_block();
  changes_.clear();
  erased_.clear();
}

void view_pass::drop_block() {
  block_changes_.clear();
  block_erased_.clear();
}

void view_pass::keep_block() {
  for (auto& range : block_erased_) {
    changes_.erase(changes_.lower_bound(range.first), changes_.lower_bound(range.second));
    // No row of the pass is in the batch yet, so it goes before them all.
    into_->DeleteRange(from_->handle(family::view), range.first, range.second)
        .PermitUncheckedError();
    erased_.push_back(std::move(range));
  }
  block_erased_.clear();
  while (!block_changes_.empty()) {
    auto node = block_changes_.extract(block_changes_.begin());
    const auto place = changes_.lower_bound(node.key());
    if (place != changes_.end() && place->first == node.key()) {
      place->second = std::move(node.mapped());
    } else {
      changes_.insert(place, std::move(node));
    }
  }
}

void view_pass::write(database& to, rocksdb::WriteBatch& into) {
  // A batch in memory takes anything; its only failure is a size beyond 4 GiB.
  for (const auto& [row, value] : changes_) {
    if (value) {
      into.Put(to.handle(family::view), row, *value).PermitUncheckedError();
    } else {
      into.Delete(to.handle(family::view), row).PermitUncheckedError();
    }
  }
}

const std::string& view_pass::full_key(view_id view, std::string_view key) {
  keys::view_row(key_, shard_, generation_, view, key);
  return key_;
}

void view_pass::put(view_id view, std::string_view key, std::string_view value) {
  block_changes_.insert_or_assign(full_key(view, key), std::string{value});
}

void view_pass::erase(view_id view, std::string_view key) {
  block_changes_.insert_or_assign(full_key(view, key), std::nullopt);
}

void view_pass::erase_range(view_id view, std::string_view first, std::string_view last) {
  const auto begin = full_key(view, first);
  // `last` empty = to the end of the view.
  const auto end = last.empty()
                       ? full_key(static_cast<view_id>(static_cast<std::uint8_t>(view) + 1), {})
                       : full_key(view, last);
  if (begin >= end) return;
  block_changes_.erase(block_changes_.lower_bound(begin), block_changes_.lower_bound(end));
  block_erased_.emplace_back(begin, end);
}

std::optional<std::string> view_pass::get(view_id view, std::string_view key) {
  const auto& row = full_key(view, key);
  if (const auto found = block_changes_.find(row); found != block_changes_.end()) {
    return found->second;
  }
  if (contains(block_erased_, row)) return std::nullopt;
  if (const auto found = changes_.find(row); found != changes_.end()) return found->second;
  if (contains(erased_, row)) return std::nullopt;
  std::string value;
  auto exists = from_->get(family::view, row, value);
  if (!exists) {
    failure_ = exists.error();
    return std::nullopt;
  }
  if (!*exists) return std::nullopt;
  return value;
}

void view_pass::report_damage(const record& at, const error& why) {
  if (failure_) return;
  failure_ = {errc::corruption, fmt::format("record {}: {}", at.lsn.raw(), why.detail)};
}

}  // namespace callboard::storage
