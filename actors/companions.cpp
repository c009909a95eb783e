#include "actors/companions.hpp"

#include <caf/send.hpp>

namespace callboard::actors {

void companions::spawn(shard_id shard, const broker_parts& parts) {
  const auto parent = caf::actor_cast<caf::actor>(&shard_);
  groups_ = spawn_groups(shard_.home_system(), shard, parts, parent);
  presence_ = spawn_presence(shard_.home_system(), shard, parts, parent);
  shard_.monitor(groups_);
  shard_.monitor(presence_);
}

void companions::end() {
  for (const auto* one : {&groups_, &presence_}) {
    if (*one) caf::anon_send_exit(*one, caf::exit_reason::user_shutdown);
  }
}

bool companions::on_down(const caf::actor_addr& who) {
  for (auto* one : {&groups_, &presence_}) {
    if (!*one || (*one)->address() != who) continue;
    *one = nullptr;
    return true;
  }
  return false;
}

void companions::clear() {
  end();
  groups_ = nullptr;
  presence_ = nullptr;
}

}  // namespace callboard::actors
