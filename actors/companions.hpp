// The actors beside a SHARD (shard_companions.hpp) as the shard keeps them: told together,
// ended together, and awaited before the shard itself ends.
#pragma once

#include "actors/boxed.hpp"
#include "actors/relay_messages.hpp"
#include "actors/requests.hpp"
#include "actors/shard_companions.hpp"

#include <caf/actor.hpp>
#include <caf/event_based_actor.hpp>

namespace callboard::actors {

/// Belongs to one SHARD, in whose name it sends and monitors.
class companions {
public:
  explicit companions(caf::event_based_actor& shard) : shard_{shard} {}

  void spawn(shard_id shard, const broker_parts& parts);

  /// Sends `news` to all.
  template <class News>
  void tell(const News& news) {
    for (const auto* one : {&groups_, &bindings_, &presence_, &queues_}) {
      if (*one) shard_.send(*one, box(News{news}));
    }
  }

  /// What others keep does not go with a topic.
  void tell(const topic_gone& news) {
    for (const auto* one : {&groups_, &presence_}) {
      if (*one) shard_.send(*one, box(topic_gone{news}));
    }
  }

  /// Only groups do anything about it; there is one of these for each topic that wakes.
  void tell(const topic_active& news) {
    if (groups_) shard_.send(groups_, box(topic_active{news}));
  }

  /// The one that a request is for, a null actor if it has ended; nothing for other requests.
  [[nodiscard]] const caf::actor* serving(const control_body& body) const;

  /// Asks all to end; `on_down` hears of it.
  void end();

  /// Whether `who` was one of them.
  bool on_down(const caf::actor_addr& who);

  [[nodiscard]] bool have_ended() const { return !groups_ && !bindings_ && !presence_ && !queues_; }

  /// Asks all to end and forgets them.
  void clear();

private:
  caf::event_based_actor& shard_;
  caf::actor groups_;
  caf::actor bindings_;
  caf::actor presence_;
  caf::actor queues_;
};

}  // namespace callboard::actors
