#include "actors/pattern_subscription.hpp"

#include <algorithm>
#include <utility>
#include <variant>

namespace callboard::actors {

namespace {

constexpr std::string_view run_channels = "workflow.";
/// How long a topic is followed after its last event when nobody waits for its place.
constexpr boot_time quiet_max = std::chrono::seconds{10};
/// How long a topic may take to answer before others get its place.
constexpr boot_time silent_max = std::chrono::seconds{5};
/// Topics that wait for one of so many places, or whose place is kept for the time of the list.
constexpr std::size_t waiting_per_place = 10;

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
      is_now_{start_.cursors.empty() && std::holds_alternative<runtime::from_now>(start_.from)},
      topics_max_{topics_max},
      literal_{literal_of(pattern_.str())} {}

pattern_subscription::~pattern_subscription() {
  if (on_end) on_end();
}

bool pattern_subscription::wants_run_channels() const {
  return pattern_.str().starts_with(run_channels);
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
  is_now_ ? list_for_now(topics) : list_to_replay(topics);
  if (!topics.empty()) listed_to_ = topics.back().topic;
  if (last || !complete_) finish_list();
}

void pattern_subscription::list_for_now(const std::vector<topic_description>& topics) {
  for (const auto& topic : topics) {
    if (!matches(topic.topic)) continue;
    if (places_.size() >= topics_max_) {
      complete_ = false;
      return;
    }
    places_.emplace(topic.topic, runtime::cursor{topic.epoch, topic.last_seq});
  }
}

void pattern_subscription::list_to_replay(const std::vector<topic_description>& topics) {
  if (!std::exchange(begun_, true)) output_->pattern_started(start_.cursors, true);
  for (const auto& topic : topics) {
    if (!matches(topic.topic)) continue;
    const auto known = start_.cursors.extract(topic.topic);
    if (known.empty()) {
      adopt(topic.topic, {begin_of_new()});
    } else if (
        known.mapped().epoch == topic.epoch && known.mapped().seq == topic.last_seq
        && topic.settings.kind == runtime::topic_kind::durable) {
      // Of an ephemeral topic nobody knows what came since: it is followed, which tells so.
      places_.emplace(topic.topic, std::move(known.mapped()));
    } else {
      adopt(topic.topic, {runtime::after_cursor{std::move(known.mapped())}});
    }
  }
}

runtime::position pattern_subscription::begin_of_new() const {
  const bool is_resume = std::holds_alternative<runtime::from_now>(start_.from);
  return is_resume ? runtime::from_first{} : start_.from;
}

void pattern_subscription::on_list_failed(const error& why) {
  if (failed_ || ready_) return;
  failed_ = true;
  held_.clear();
  sent_.clear();
  places_.clear();
  output_->pattern_failed(why);
}

void pattern_subscription::finish_list() {
  ready_ = true;
  if (is_now_) output_->pattern_started(places_, complete_ && !lacks_shards_);
  if (lacks_shards_) {
    output_->topic_left_out(
        pattern_.str(),
        {errc::quarantined,
         "topics of a quarantined shard are left out: subscribe again once it is repaired",
         0});
  }
  // A cursor of a topic that is gone: the client must hear of it.
  for (const auto& [topic, at] : std::exchange(start_.cursors, {})) {
    if (matches(topic)) adopt(topic, {runtime::after_cursor{at}});
  }
  const auto all_sent = std::exchange(sent_, {});
  for (const auto& [topic, active] : std::exchange(held_, {})) {
    if (const auto sent = all_sent.find(topic); sent != all_sent.end()) {
      // A list may take long, so that these news are old.
      adopt(topic, {runtime::after_cursor{sent->second}});
    } else if (!is_now_ && !places_.contains(topic)) {
      // The list may be behind a topic that was made before it was heard of.
      adopt(topic, {begin_of_new()});
    } else {
      on_active(active);
    }
  }
}

void pattern_subscription::on_active(const topic_active& active) {
  const auto& topic = active.topic.topic.str();
  if (failed_ || !matches(topic) || topics_.contains(topic) || waiting_.contains(topic)) return;
  if (!ready_) {
    // How far topics are says nothing yet: that is asked for again. The first word counts of the
    // rest; it lies furthest back.
    left_out_ |= active.is_quiet;
    if (active.is_quiet || held_.contains(topic)) return;
    // It has been sent, but nobody knows any more whether it has: only the news say where it is.
    const bool is_forgotten =
        lacks_sent_ && topic <= listed_to_ && !sent_.contains(topic) && !places_.contains(topic);
    if (is_forgotten || held_.size() >= waiting_per_place * topics_max_) {
      return leave_out(
          topic,
          {active.epoch, active.last_seq},
          {errc::overloaded, "too many topics became active at once"});
    }
    held_.emplace(topic, active);
    return;
  }
  runtime::cursor at{active.epoch, active.last_seq};
  bool is_behind = !active.is_quiet;
  if (const auto place = places_.find(topic); place != places_.end()) {
    const auto& known = place->second;
    is_behind |= known.epoch != at.epoch || known.seq < at.seq;
    // What came while the list was made belongs to now, whether the list has it or not.
    if (!is_now_ || known.epoch != at.epoch || known.seq < at.seq) at = known;
  }
  if (is_behind) {
    adopt(topic, {runtime::after_cursor{std::move(at)}, news_age::fresh, active.number});
  }
}

void pattern_subscription::adopt(const std::string& topic, turn place) {
  if (topics_.contains(topic) || waiting_.contains(topic)) return;
  places_.erase(topic);
  held_.erase(topic);
  if (topics_.size() < topics_max_ && waiting_.empty()) return follow(topic, std::move(place));
  // Of a list there is only as much as there is room for.
  if (ready_ && waiting_.size() >= waiting_per_place * topics_max_) {
    const auto* at = std::get_if<runtime::after_cursor>(&place.from);
    return leave_out(
        topic,
        at == nullptr ? runtime::cursor{} : at->cursor,
        {errc::too_many_subscriptions,
         "the pattern already covers " + std::to_string(topics_max_) + " topics"});
  }
  wait_for_turn(topic, {std::move(place.from)});
}

void pattern_subscription::leave_out(
    const std::string& topic, runtime::cursor at, const error& why) {
  left_out_ = true;
  // From there on, when it is asked for again.
  if (places_.size() < waiting_per_place * topics_max_) places_.try_emplace(topic, std::move(at));
  output_->topic_left_out(topic, why);
}

void pattern_subscription::wait_for_turn(const std::string& topic, turn place) {
  waiting_.emplace(topic, std::move(place));
  turns_.push_back(topic);
}

void pattern_subscription::follow(const std::string& topic, turn place) {
  auto& one = topics_[topic];
  one.place = std::move(place);
  one.subscription = source_->subscribe(
      {tenant_, topic_name::trusted(topic)}, *output_, policy_, *credits_, one.place.from);
  one.subscription->expect_unheard(one.place.news, one.place.number);
  one.subscription->open();
}

void pattern_subscription::say_silent(const std::string& topic, turn& place) {
  if (std::exchange(place.is_told, true)) return;
  output_->topic_left_out(
      topic, {errc::timeout, "the topic cannot be read now; it comes as soon as it can", 0});
}

void pattern_subscription::note_sent(const topic_subscription& one) {
  // One that is made again begins at its first event; a time that was not found is looked for
  // again.
  if (!one.has_started() || one.topic_is_gone() || one.core().is_searching()) return;
  if (sent_.size() < waiting_per_place * topics_max_)
    sent_.insert_or_assign(one.topic().topic.str(), one.place());
  else
    lacks_sent_ = true;
}

void pattern_subscription::resume() {
  for (auto& [topic, one] : topics_) {
    if (one.subscription->waits()) one.subscription->resume();
  }
}

bool pattern_subscription::followed::is_quiet(boot_time now) {
  if (!subscription->is_at_rest() || offered != subscription->offered()) {
    offered = subscription->offered();
    quiet_since = now;
    return false;
  }
  return true;
}

bool pattern_subscription::followed::is_silent(boot_time now) {
  if (subscription->has_started()) return false;
  if (!asked) asked = now;
  return now - *asked >= silent_max;
}

void pattern_subscription::on_tick(boot_time now) {
  const std::size_t free = topics_max_ - topics_.size();
  std::size_t wanted = turns_.size() - std::min(turns_.size(), free);
  bool is_settled = ready_ && turns_.empty() && !left_out_;
  for (auto entry = topics_.begin(); entry != topics_.end();) {
    auto& one = entry->second;
    const auto& it = *one.subscription;
    is_settled &= it.has_started() && !it.waits();
    lacks_some_ |= it.is_over();
    const bool is_gone = it.is_over() || (it.has_started() && it.topic_is_gone());
    const bool may_rest = one.is_quiet(now) && (wanted != 0 || now - one.quiet_since >= quiet_max);
    const bool is_silent = one.is_silent(now);
    if (is_silent) say_silent(entry->first, one.place);
    if (!is_gone && !may_rest && !(is_silent && wanted != 0)) {
      ++entry;
      continue;
    }
    if (wanted != 0) --wanted;
    if (may_rest) source_->let_go(it.topic());
    if (is_silent) {
      one.place.news = news_age::old;
      wait_for_turn(entry->first, std::move(one.place));
    } else if (!ready_) {
      note_sent(it);
    }
    entry = topics_.erase(entry);
  }
  while (!turns_.empty() && topics_.size() < topics_max_) {
    const auto topic = std::move(turns_.front());
    turns_.pop_front();
    auto next = waiting_.extract(topic);
    follow(topic, std::move(next.mapped()));
  }
  if (ready_ && left_out_ && turns_.empty()) {
    left_out_ = false;
    source_->ask_again(*this);
  }
  if (is_settled && !lacks_some_ && !lacks_shards_) output_->pattern_settled();
}

}  // namespace callboard::actors
