#include "runtime/workflow/answered_messages.hpp"

#include "base/hash.hpp"
#include "runtime/workflow/json_values.hpp"

#include <fmt/compile.h>
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <iterator>
#include <string>
#include <utility>

namespace callboard::runtime {

namespace {

using boost::json::object;

constexpr std::size_t group_max = 64;
constexpr std::size_t hash_digits = 16;
/// Of a group, beside its hashes.
constexpr std::size_t group_size = 48;

std::optional<time_ms> time_at(const object& from, std::string_view key) {
  const auto* value = from.if_contains(key);
  if (value == nullptr || !value->is_int64()) return std::nullopt;
  return time_ms{std::chrono::milliseconds{value->get_int64()}};
}

std::vector<std::uint64_t> read_hashes(std::string_view text) {
  std::vector<std::uint64_t> hashes;
  hashes.reserve(std::min(text.size() / hash_digits, answered_messages::messages_max));
  for (; text.size() >= hash_digits; text.remove_prefix(hash_digits)) {
    if (hashes.size() == answered_messages::messages_max) break;
    const auto* end = text.data() + hash_digits;
    std::uint64_t hash = 0;
    if (std::from_chars(text.data(), end, hash, 16).ptr != end) break;
    hashes.push_back(hash);
  }
  return hashes;
}

}  // namespace

void answered_messages::add(std::string_view message, time_ms when) {
  if (groups_.empty() || groups_.back().hashes.size() >= group_max) groups_.emplace_back();
  auto& last = groups_.back();
  last.until = std::max(last.until, when);
  last.hashes.push_back(hash_64(message));
  ++count_;
  forget_some();
}

void answered_messages::forget_some() {
  while (count_ > messages_max) {
    const auto& oldest = groups_.front();
    lacks_until_ = std::max(lacks_until_.value_or(oldest.until), oldest.until);
    count_ -= oldest.hashes.size();
    groups_.pop_front();
  }
}

bool answered_messages::contains(std::string_view message) const {
  const auto hash = hash_64(message);
  return std::ranges::any_of(groups_, [hash](const group& one) {
    return std::ranges::find(one.hashes, hash) != one.hashes.end();
  });
}

bool answered_messages::lacks_some_of(time_ms when) const {
  return lacks_until_ && *lacks_until_ >= when;
}

std::size_t answered_messages::written_size() const {
  return count_ * hash_digits + groups_.size() * group_size;
}

json answered_messages::write() const {
  object written;
  if (lacks_until_) written["lacks_until_ms"] = shown_ms(*lacks_until_);
  boost::json::array groups;
  for (const auto& one : groups_) {
    std::string hashes;
    hashes.reserve(one.hashes.size() * hash_digits);
    for (const auto hash : one.hashes)
      fmt::format_to(std::back_inserter(hashes), FMT_COMPILE("{:016x}"), hash);
    groups.push_back(object{{"until_ms", shown_ms(one.until)}, {"ids", std::move(hashes)}});
  }
  written["groups"] = std::move(groups);
  return written;
}

answered_messages answered_messages::read(const json& written) {
  answered_messages found;
  const auto* from = written.if_object();
  if (from == nullptr) return found;
  found.lacks_until_ = time_at(*from, "lacks_until_ms");
  const auto* groups = from->if_contains("groups");
  if (groups == nullptr || !groups->is_array()) return found;
  for (const auto& one : groups->get_array()) {
    const auto* members = one.if_object();
    if (members == nullptr) continue;
    auto hashes = read_hashes(text_at(*members, "ids"));
    if (hashes.empty()) continue;
    found.count_ += hashes.size();
    found.groups_.push_back({time_at(*members, "until_ms").value_or(time_ms{}), std::move(hashes)});
    found.forget_some();
  }
  return found;
}

}  // namespace callboard::runtime
