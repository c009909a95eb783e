// Who wants to hear of topics that are not active: relays that wait for a topic to be made, and
// hubs that watch patterns.
#pragma once

#include "actors/boxed.hpp"
#include "actors/relay_messages.hpp"

#include <caf/actor.hpp>
#include <caf/fwd.hpp>

#include <cstddef>
#include <unordered_map>
#include <unordered_set>
#include <vector>

namespace callboard::actors {

/// A relay that is to be attached.
struct waiting_attach {
  boxed<attach_relay> message;
  caf::actor relay;
};

/// Belongs to one SHARD, in whose name it sends and monitors.
class topic_interest {
public:
  /// `topics_max`: absent topics whose relays it keeps.
  topic_interest(caf::event_based_actor& shard, std::size_t topics_max)
      : shard_{shard}, topics_max_{topics_max} {}

  /// Tells the relay that there is no such topic and keeps it until there is. Relays of more than
  /// `topics_max` topics must ask again.
  /// `is_absent` false: whether there is one cannot be told now.
  void wait(const waiting_attach& one, bool is_absent = true);

  void forget(const topic_ref& topic, const caf::actor& relay);

  [[nodiscard]] bool is_awaited(const topic_ref& topic) const { return absent_.contains(topic); }

  /// The relays that waited for `topic`; they wait no longer.
  [[nodiscard]] std::vector<waiting_attach> take(const topic_ref& topic);

  void watch(const watch_pattern& what, const caf::actor& hub);
  void unwatch(const unwatch_pattern& what, const caf::actor& hub);

  /// Tells every hub whose pattern matches, each once.
  void tell(const topic_active& news);

  /// A relay or hub ended.
  void on_down(const caf::actor_addr& who);

  void clear();

private:
  struct watcher {
    tenant_name tenant;
    topic_pattern pattern;
    caf::actor hub;
  };

  void monitor(const caf::actor& who);

  caf::event_based_actor& shard_;
  const std::size_t topics_max_;
  std::unordered_set<caf::actor_id> monitored_;
  std::unordered_map<topic_ref, std::vector<waiting_attach>> absent_;
  std::vector<watcher> watchers_;
};

}  // namespace callboard::actors
