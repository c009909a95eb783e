#include "actors/topic_interest.hpp"

#include <caf/event_based_actor.hpp>

#include <algorithm>
#include <utility>

namespace callboard::actors {

void topic_interest::wait(const waiting_attach& one, bool is_absent) {
  const auto& topic = one.message->topic;
  const bool is_full = absent_.size() >= topics_max_ && !absent_.contains(topic);
  shard_.send(
      one.relay,
      box(relay_attached{
          .topic = topic, .exists = false, .is_unknown = !is_absent, .ask_again = is_full}));
  if (is_full) return;
  auto& relays = absent_[topic];
  const auto known = std::ranges::find(relays, one.relay, &waiting_attach::relay);
  if (known != relays.end()) {
    *known = one;
    return;
  }
  monitor(one.relay);
  relays.push_back(one);
}

void topic_interest::forget(const topic_ref& topic, const caf::actor& relay) {
  const auto found = absent_.find(topic);
  if (found == absent_.end()) return;
  std::erase_if(found->second, [&](const auto& one) { return one.relay == relay; });
  if (found->second.empty()) absent_.erase(found);
}

std::vector<waiting_attach> topic_interest::take(const topic_ref& topic) {
  const auto found = absent_.find(topic);
  if (found == absent_.end()) return {};
  auto relays = std::move(found->second);
  absent_.erase(found);
  return relays;
}

void topic_interest::watch(const watch_pattern& what, const caf::actor& hub) {
  monitor(hub);
  const bool is_known = std::ranges::any_of(watchers_, [&](const watcher& one) {
    return one.hub == hub && one.tenant == what.tenant && one.pattern == what.pattern;
  });
  if (!is_known) watchers_.push_back({what.tenant, what.pattern, hub});
}

void topic_interest::unwatch(const unwatch_pattern& what, const caf::actor& hub) {
  std::erase_if(watchers_, [&](const watcher& one) {
    return one.hub == hub && one.tenant == what.tenant && one.pattern == what.pattern;
  });
}

void topic_interest::tell(const topic_active& news) {
  std::vector<caf::actor> told;
  for (const auto& one : watchers_) {
    if (one.tenant != news.topic.tenant || !one.pattern.matches(news.topic.topic.str())) continue;
    if (std::ranges::find(told, one.hub) != told.end()) continue;
    shard_.send(one.hub, box(topic_active{news}));
    told.push_back(one.hub);
  }
}

/// Once, however often it asks: each call of CAF's `monitor` stays with the other actor until it
/// ends.
void topic_interest::monitor(const caf::actor& who) {
  if (monitored_.insert(who.id()).second) shard_.monitor(who);
}

void topic_interest::on_down(const caf::actor_addr& who) {
  monitored_.erase(who.id());
  for (auto& [topic, relays] : absent_) {
    std::erase_if(relays, [&](const auto& one) { return one.relay.address() == who; });
  }
  std::erase_if(absent_, [](const auto& one) { return one.second.empty(); });
  std::erase_if(watchers_, [&](const watcher& one) { return one.hub.address() == who; });
}

void topic_interest::clear() {
  absent_.clear();
  watchers_.clear();
}

}  // namespace callboard::actors
