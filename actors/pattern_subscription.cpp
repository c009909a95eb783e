#include "actors/pattern_subscription.hpp"

#include <algorithm>
#include <utility>
#include <variant>

namespace callboard::actors {

namespace {

constexpr std::string_view run_channels = "workflow.";

/// The part of a pattern before its first wildcard token.
std::string literal_of(const std::string& pattern) {
  const auto wildcard = pattern.find_first_of("*>");
  return wildcard == std::string::npos ? pattern : pattern.substr(0, wildcard);
}

}  // namespace

pattern_subscription::pattern_subscription(
    pattern_source& source,
    tenant_name tenant,
    topic_pattern pattern,
    pattern_output& output,
    runtime::slow_policy policy,
    runtime::credit_account& credits,
    pattern_start start,
    std::uint32_t topics_max)
    : source_{&source},
      tenant_{std::move(tenant)},
      pattern_{std::move(pattern)},
      output_{&output},
      policy_{policy},
      credits_{&credits},
      start_{std::move(start)},
      topics_max_{topics_max},
      literal_{literal_of(pattern_.str())} {}

pattern_subscription::~pattern_subscription() {
  if (on_end) on_end();
}

bool pattern_subscription::wants_run_channels() const {
  return pattern_.str().starts_with(run_channels);
}

bool pattern_subscription::is_now() const {
  return start_.cursors.empty() && std::holds_alternative<runtime::from_now>(start_.from);
}

bool pattern_subscription::matches(const std::string& topic) const {
  if (topic.starts_with(run_channels) && !wants_run_channels()) return false;
  return pattern_.matches(topic);
}

std::string pattern_subscription::list_after() const {
  return literal_;
}

bool pattern_subscription::list_ends_before(const std::string& topic) const {
  return !topic.starts_with(literal_) && topic > literal_;
}

void pattern_subscription::on_listed(const std::vector<topic_description>& topics, bool last) {
  if (failed_ || ready_) return;
  for (const auto& topic : topics) {
    if (!matches(topic.topic)) continue;
    if (listed_.size() >= topics_max_) {
      complete_ = false;
      break;
    }
    listed_.emplace(topic.topic, runtime::cursor{topic.epoch, topic.last_seq});
  }
  if (!complete_ && !is_now()) {
    return on_list_failed(
        {errc::too_many_subscriptions,
         "more than " + std::to_string(topics_max_) + " topics match " + pattern_.str()
             + ": narrow the pattern, or subscribe from now"});
  }
  if (last || !complete_) finish_list();
}

void pattern_subscription::on_list_failed(const error& why) {
  if (failed_ || ready_) return;
  failed_ = true;
  held_.clear();
  listed_.clear();
  output_->pattern_failed(why);
}

void pattern_subscription::finish_list() {
  ready_ = true;
  if (is_now()) {
    output_->pattern_started(listed_, complete_);
  } else {
    // What the client is told must not lie ahead of what it has.
    auto told = listed_;
    for (auto& [topic, at] : told) {
      const auto known = start_.cursors.find(topic);
      at = known == start_.cursors.end() ? runtime::cursor{at.epoch, sequence{}} : known->second;
    }
    output_->pattern_started(told, complete_);
    for (const auto& [topic, unused] : listed_) {
      const auto known = start_.cursors.find(topic);
      if (known != start_.cursors.end()) {
        take_in(topic, runtime::after_cursor{known->second});
      } else {
        take_in(topic, start_.cursors.empty() ? start_.from : runtime::from_first{});
      }
    }
    // A cursor of a topic that is gone: the client must hear of it.
    for (const auto& [topic, at] : start_.cursors) {
      if (!listed_.contains(topic) && matches(topic)) take_in(topic, runtime::after_cursor{at});
    }
  }
  const auto held = std::exchange(held_, {});
  for (const auto& [topic, one] : held)
    on_active(one.first, one.second);
}

void pattern_subscription::on_active(const topic_active& active, topic_news news) {
  const auto& topic = active.topic.topic.str();
  if (failed_ || !matches(topic) || topics_.contains(topic)) return;
  if (!ready_) {
    const auto held = held_.find(topic);
    if (held != held_.end()) {
      // The first word counts; it lies furthest back.
      if (held->second.second == topic_news::known_before) held->second = {active, news};
    } else if (held_.size() < std::size_t{10} * topics_max_) {
      held_.emplace(topic, std::pair{active, news});
    } else {
      output_->topic_left_out(topic, {errc::overloaded, "too many topics became active at once"});
    }
    return;
  }
  runtime::cursor at{active.epoch, active.last_seq};
  const auto listed = listed_.find(topic);
  if (listed != listed_.end() && listed->second.epoch == at.epoch) {
    at.seq = news == topic_news::known_before ? listed->second.seq
                                              : std::min(at.seq, listed->second.seq);
  }
  take_in(topic, runtime::after_cursor{std::move(at)});
}

void pattern_subscription::take_in(const std::string& topic, runtime::position from) {
  if (topics_.contains(topic)) return;
  if (topics_.size() >= topics_max_) {
    output_->topic_left_out(
        topic,
        {errc::too_many_subscriptions,
         "the pattern already covers " + std::to_string(topics_max_) + " topics"});
    return;
  }
  auto& one = topics_[topic];
  one = source_->subscribe(
      {tenant_, topic_name::trusted(topic)}, *output_, policy_, *credits_, std::move(from));
  one->open();
}

void pattern_subscription::resume() {
  for (auto& [topic, one] : topics_) {
    if (one->waits()) one->resume();
  }
}

void pattern_subscription::on_tick() {
  std::erase_if(topics_, [](const auto& entry) {
    return entry.second->has_started() && entry.second->topic_is_gone();
  });
}

}  // namespace callboard::actors
