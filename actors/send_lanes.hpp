// The order in which a run sends: what goes to one target goes there one after the other, as a
// later command would overtake an earlier one that is refused for the moment. Other targets are not
// held up.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>

namespace callboard::actors {

/// A command that waits for those before it.
struct waiting_command {
  std::uint32_t command = 0;
  /// Another process may have sent it.
  bool is_again = false;
};

/// Where a command stands that waits: the one whose turn it is, and how many are before it with
/// that.
struct place_in_lane {
  std::uint32_t first = 0;
  std::size_t behind = 0;
};

/// Bound: the open commands of its run. Survives nothing: the open commands tell it.
class send_lanes {
public:
  /// True: it is the turn of `command`, also when it is asked for again. Else `leave` will give it.
  [[nodiscard]] bool enter(std::string target, std::uint32_t command, bool is_again) {
    if (const auto known = lane_of_.find(command); known != lane_of_.end()) {
      return known->second->second.begin()->first == command;
    }
    const auto lane = lanes_.try_emplace(std::move(target)).first;
    lane->second.emplace(command, is_again);
    lane_of_.emplace(command, lane);
    return lane->second.begin()->first == command;
  }

  /// Its target has `command`, or will never have it. Whose turn it is by that.
  std::optional<waiting_command> leave(std::uint32_t command) {
    const auto known = lane_of_.extract(command);
    if (!known) return std::nullopt;
    const auto lane = known.mapped();
    const bool was_first = lane->second.begin()->first == command;
    lane->second.erase(command);
    if (lane->second.empty()) {
      lanes_.erase(lane);
      return std::nullopt;
    }
    if (!was_first) return std::nullopt;
    const auto& [next, is_again] = *lane->second.begin();
    return waiting_command{next, is_again};
  }

  [[nodiscard]] bool is_waiting(std::uint32_t command) const {
    const auto known = lane_of_.find(command);
    return known != lane_of_.end() && known->second->second.begin()->first != command;
  }

  /// Tells of each command that waits for its turn: `visit(command, place)`.
  template <class Visit>
  void visit_waiting(Visit visit) const {
    for (const auto& [target, lane] : lanes_) {
      place_in_lane place{lane.begin()->first, 0};
      for (const auto& [command, is_again] : lane) {
        if (place.behind != 0) visit(command, place);
        ++place.behind;
      }
    }
  }

  void clear() {
    lanes_.clear();
    lane_of_.clear();
  }

private:
  using lane = std::map<std::uint32_t, bool>;

  std::map<std::string, lane> lanes_;
  std::map<std::uint32_t, std::map<std::string, lane>::iterator> lane_of_;
};

}  // namespace callboard::actors
