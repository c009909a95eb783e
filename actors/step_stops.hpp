// The attempts of steps that a run has under way, so that each can be asked to stop when nobody
// wants what it would bring.
#pragma once

#include "actors/reader_pool.hpp"

#include <cstdint>
#include <map>
#include <stop_token>

namespace callboard::actors {

/// Lifecycle: part of a run_host, in its actor. Bound: one per step under way. Whoever hears that
/// he shall stop is the user's code, so he is told on `user_code`.
class step_stops {
public:
  /// `user_code` may be null where there are no steps.
  explicit step_stops(reader_pool* user_code) : user_code_{user_code} {}

  /// The next attempt of the command's step. The token is for it.
  [[nodiscard]] std::stop_token begin(std::uint32_t command);

  /// The attempt has ended.
  void ended(std::uint32_t command) { under_way_.erase(command); }

  [[nodiscard]] bool is_under_way(std::uint32_t command) const {
    return under_way_.contains(command);
  }

  /// If there is one.
  void ask(std::uint32_t command);
  void ask_all();

private:
  void tell(std::stop_source one);

  reader_pool* user_code_;
  std::map<std::uint32_t, std::stop_source> under_way_;
};

}  // namespace callboard::actors
