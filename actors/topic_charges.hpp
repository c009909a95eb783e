// What batches of publishes were admitted under: given back when all of each is answered.
#pragma once

#include "actors/shard_admission.hpp"
#include "base/byte_budget.hpp"
#include "base/lazy_deque.hpp"
#include "runtime/topic/topic_core.hpp"

#include <utility>
#include <vector>

namespace callboard::actors {

struct batch_charge {
  byte_charge bytes;
  admission_ticket ticket;
  byte_charge bulk;
};

/// Of one topic, in its actor. To be cleared before the router goes, whose credits they are.
class topic_charges {
public:
  /// Of the batch that `core` has just been given.
  void keep(batch_charge one, const runtime::topic_core& core) {
    if (core.is_parked()) {
      parked_.push_back(std::move(one));
    } else if (const auto newest = core.newest_append()) {
      in_flight_.push_back({*newest, std::move(one)});
    }
  }

  /// Those that waited for candidates are decided now, or wait again.
  void keep_parked(const runtime::topic_core& core) {
    for (auto& one : std::exchange(parked_, {}))
      keep(std::move(one), core);
  }

  void drop_parked() { parked_.clear(); }

  /// The append is done, and all before it. `hear` gets each ticket.
  template <class Hear>
  void done(runtime::append_key key, Hear hear) {
    while (!in_flight_.empty() && in_flight_.front().key <= key) {
      hear(in_flight_.front().charge.ticket);
      in_flight_.pop_front();
    }
  }

  /// It was refused, and with it all behind it.
  void refused(runtime::append_key key) {
    while (!in_flight_.empty() && in_flight_.back().key >= key)
      in_flight_.pop_back();
  }

  void clear() {
    in_flight_.clear();
    parked_.clear();
  }

private:
  struct held {
    runtime::append_key key{};
    batch_charge charge;
  };

  lazy_deque<held> in_flight_;
  std::vector<batch_charge> parked_;
};

}  // namespace callboard::actors
