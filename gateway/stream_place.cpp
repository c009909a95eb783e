#include "gateway/stream_place.hpp"

#include "runtime/subscription/subscription_core.hpp"

#include <fmt/format.h>

#include <iterator>
#include <utility>
#include <variant>

namespace callboard::gateway {

namespace {

/// Slash, colon, comma and the longest seq.
constexpr std::size_t entry_overhead = 3 + 20;
constexpr std::string_view no_topics = "/";
constexpr std::string_view unknown_topics = "*";

std::string_view epoch_or_none(std::string_view epoch) {
  return epoch.empty() ? runtime::epoch_of_nothing : epoch;
}

void append(std::string& out, const std::string& topic, const runtime::cursor& at) {
  if (!out.empty()) out += ',';
  fmt::format_to(std::back_inserter(out), "{}/{}:{}", topic, at.epoch, at.seq.raw());
}

}  // namespace

void stream_place::set(const std::string& topic, std::string_view epoch, sequence seq) {
  auto [at, made] = topics_.try_emplace(topic);
  if (made) size_ += topic.size() + entry_overhead;
  size_ -= at->second.epoch.size();
  at->second = {std::string{epoch_or_none(epoch)}, seq};
  size_ += at->second.epoch.size();
  if (size_ > size_max) lost_ = true;
  // The others would never be said again.
  if (lost_) {
    topics_ = {};
    size_ = 0;
    topics_.emplace(topic, runtime::cursor{std::string{epoch_or_none(epoch)}, seq});
  }
}

std::string stream_place::text(const std::string& first) const {
  std::string out;
  const auto front = topics_.find(first);
  if (front != topics_.end()) append(out, front->first, front->second);
  if (lost_) {
    if (!out.empty()) out += ',';
    out += unknown_topics;
    return out;
  }
  for (auto at = topics_.begin(); at != topics_.end(); ++at) {
    if (at != front) append(out, at->first, at->second);
  }
  return out.empty() ? std::string{no_topics} : out;
}

result<resumed_place>
parse_place(std::string_view id, const topic_pattern& pattern, std::size_t topics_max) {
  resumed_place place;
  if (id == no_topics) return place;
  while (!id.empty()) {
    const auto comma = id.find(',');
    const auto entry = id.substr(0, comma);
    id.remove_prefix(comma == std::string_view::npos ? id.size() : comma + 1);
    if (entry == unknown_topics) {
      place.lost = true;
      continue;
    }
    const auto slash = entry.find('/');
    const auto topic = std::string{entry.substr(0, slash)};
    const auto at = slash == std::string_view::npos
                        ? result<runtime::position>{fail(errc::bad_request, "")}
                        : runtime::parse_position(entry.substr(slash + 1));
    const auto* cursor = at ? std::get_if<runtime::after_cursor>(&*at) : nullptr;
    if (cursor == nullptr || !topic_name::parse(topic) || !pattern.matches(topic)) {
      return fail(
          errc::bad_request,
          "an event id of this stream is \"<topic>/<epoch>:<seq>\", several of them with commas");
    }
    place.cursors.insert_or_assign(topic, cursor->cursor);
    if (place.cursors.size() > topics_max) {
      return fail(errc::too_large, "the event id names more than limits.pattern_topics_max topics");
    }
  }
  return place;
}

}  // namespace callboard::gateway
