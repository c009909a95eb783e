// Who waits at a provider: the bound of its queue, and of each tenant's share of it.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <string_view>

namespace callboard::model {

struct waiting_bounds {
  std::uint32_t calls_max = 0;
  std::uint64_t bytes_max = 0;
  /// What one tenant may have of both, 1 to 100.
  std::uint32_t tenant_percent = 100;
};

/// Counts calls that are admitted and not in flight. Any thread.
class waiting_room {
public:
  explicit waiting_room(waiting_bounds bounds) : bounds_{bounds} {}

  /// Counts a call in, unless the room, or what the tenant may have of it, is full. One call always
  /// fits, however large.
  [[nodiscard]] bool enter(std::string_view tenant, std::uint64_t bytes);

  /// The same for one that was in already and comes back from the provider: it always fits.
  void come_back(std::string_view tenant, std::uint64_t bytes);

  void leave(std::string_view tenant, std::uint64_t bytes);

private:
  struct held {
    std::uint64_t calls = 0;
    std::uint64_t bytes = 0;
  };

  [[nodiscard]] bool is_full(const held& now, std::uint64_t bytes, std::uint32_t percent) const;
  void count_in(std::string_view tenant, std::uint64_t bytes);

  const waiting_bounds bounds_;
  std::mutex mutex_;
  held all_;
  /// Those who have something here.
  std::map<std::string, held, std::less<>> tenants_;
};

}  // namespace callboard::model
