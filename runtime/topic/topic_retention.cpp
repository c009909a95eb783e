// What of a topic may go, and the record that lets it go.
#include "base/time.hpp"
#include "runtime/topic/topic_codec.hpp"
#include "runtime/topic/topic_core.hpp"

#include <algorithm>
#include <utility>

namespace callboard::runtime {

bool topic_core::held(std::optional<sequence> floor) {
  groups_known_ = true;
  held_ = floor;
  return std::exchange(asking_groups_, false);
}

bool topic_core::waits_for_groups() const {
  return image_.settings.hold_for_groups || held_count_ != 0;
}

sequence topic_core::trim_limit() const {
  const auto last = image_.last_seq;
  if (!waits_for_groups()) return last;
  // Until the groups have spoken after an activation, nothing may go.
  if (!groups_known_) return sequence{};
  if (!held_) return last;
  const auto beyond = held_count_ != 0 && last.raw() > held_count_ ? last.raw() - held_count_ : 0;
  return std::min(std::max(*held_, sequence{beyond}), last);
}

topic_effects topic_core::tick(time_ms now, const kept_events& kept) {
  topic_effects out;
  now_ = std::max(now_, now);
  held_count_ = kept.held_count;
  const auto& settings = image_.settings;
  if (kept.needed_from <= image_.first_seq) return out;
  if (dead_ || trimming_ || image_.last_seq < image_.first_seq) return out;
  topic_effects::plan_trim plan;
  const auto count = kept.count != 0 ? kept.count : settings.retention_events;
  if (count != 0 && image_.last_seq.raw() > count) {
    plan.up_to_by_count = sequence{image_.last_seq.raw() - count};
  }
  if (settings.retention_age_s != 0) {
    plan.older_than = seconds_before(now_, settings.retention_age_s);
  }
  if (settings.retention_bytes != 0 && image_.stored_bytes > settings.retention_bytes) {
    plan.bytes_to_free = image_.stored_bytes - settings.retention_bytes;
  }
  if (plan.up_to_by_count < image_.first_seq) plan.up_to_by_count = sequence{};
  if (plan.up_to_by_count.raw() == 0 && !plan.older_than && plan.bytes_to_free == 0) return out;
  if (waits_for_groups() && !groups_known_) {
    out.asks_groups = !std::exchange(asking_groups_, true);
    return out;
  }
  plan.up_to_max = std::min(trim_limit(), sequence{kept.needed_from.raw() - 1});
  if (plan.up_to_max < image_.first_seq) return out;
  trimming_ = true;
  out.trim = plan;
  return out;
}

topic_effects topic_core::trim_planned(sequence up_to, std::uint64_t bytes) {
  topic_effects out;
  const auto limit = std::min(up_to, trim_limit());
  if (dead_ || limit < image_.first_seq || limit != up_to) {
    trimming_ = false;
    return out;
  }
  // Before what is gathered: were both handed over now and only the events refused, as they are on
  // a full disk, the trim would stand behind an append that never ends.
  last_key_ = last_key_.next();
  auto key = last_key_;
  auto handed_over = next_last_;
  if (!gathering_.events.empty()) {
    std::swap(key, gathering_.key);
    handed_over = sequence{gathering_.events.front().seq.raw() - 1};
  }
  appends_.push_back({.key = key, .trim = std::pair{up_to, bytes}});
  topic_effects::append effect{.key = key, .frees_space = true};
  effect.records.push_back(
      {.kind = storage::record_kind::trimmed,
       .entity = image_.entity,
       .entity_seq = handed_over,
       .payload = encode_trimmed(up_to, bytes)});
  out.appends.push_back(std::move(effect));
  return out;
}

}  // namespace callboard::runtime
