// Runs that something is wrong with which their rows do not tell: found by those who looked at what
// they wait for, or could not read them.
#pragma once

#include <callboard/failure.hpp>
#include <cstddef>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>

namespace callboard::actors {

/// By `runtime::workflow_key`. Owned by the router, used by all shards and readers. Bound:
/// `stuck_runs_max` runs; what is beyond it is found again when there is room. Survives a restart:
/// nothing; the sweep finds them again.
class stuck_runs {
public:
  void note(const std::string& key, failure why);
  void clear(const std::string& key);

  [[nodiscard]] std::optional<failure> find(const std::string& key) const;

private:
  mutable std::mutex mutex_;
  std::map<std::string, failure> runs_;
};

inline constexpr std::size_t stuck_runs_max = 100'000;

}  // namespace callboard::actors
