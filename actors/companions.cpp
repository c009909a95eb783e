#include "actors/companions.hpp"

#include <caf/send.hpp>

#include <type_traits>
#include <variant>

namespace callboard::actors {

void companions::spawn(shard_id shard, const broker_parts& parts) {
  const auto parent = caf::actor_cast<caf::actor>(&shard_);
  bindings_ = spawn_bindings(shard_.home_system(), shard, parts, parent);
  groups_ = spawn_groups(shard_.home_system(), shard, parts, parent, bindings_);
  presence_ = spawn_presence(shard_.home_system(), shard, parts, parent);
  queues_ = spawn_queues(shard_.home_system(), shard, parts, parent);
  shard_.monitor(groups_);
  shard_.monitor(bindings_);
  shard_.monitor(presence_);
  shard_.monitor(queues_);
}

const caf::actor* companions::serving(const control_body& body) const {
  return std::visit(
      [this]<class Body>(const Body& one) -> const caf::actor* {
        if constexpr (binding_request<Body>) {
          return &bindings_;
        } else if constexpr (requires { one.group; } || std::is_same_v<Body, list_groups>) {
          return &groups_;
        } else if constexpr (
            std::is_same_v<Body, presence_join> || std::is_same_v<Body, presence_renew>
            || std::is_same_v<Body, presence_leave> || std::is_same_v<Body, presence_list>) {
          return &presence_;
        } else if constexpr (queue_work<Body>) {
          return &queues_;
        } else {
          return nullptr;
        }
      },
      body);
}

void companions::end() {
  for (const auto* one : {&groups_, &bindings_, &presence_, &queues_}) {
    if (*one) caf::anon_send_exit(*one, caf::exit_reason::user_shutdown);
  }
}

bool companions::on_down(const caf::actor_addr& who) {
  for (auto* one : {&groups_, &bindings_, &presence_, &queues_}) {
    if (!*one || (*one)->address() != who) continue;
    *one = nullptr;
    return true;
  }
  return false;
}

void companions::clear() {
  end();
  groups_ = nullptr;
  bindings_ = nullptr;
  presence_ = nullptr;
  queues_ = nullptr;
}

}  // namespace callboard::actors
