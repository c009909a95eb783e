// The name of one lease, as its worker hands it back, and to tools that fence by it.
#pragma once

#include "base/ids.hpp"
#include "runtime/queue/queue_task.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace callboard::runtime {

/// Good only while exactly this lease lives. Shard and queue lead a request that names nothing but
/// the lease to where it is kept; `number` only grows within a queue, so that whoever is given an
/// older one can refuse it; `nonce` keeps it from being guessed.
struct lease_token {
  shard_id shard{};
  entity_id queue{};
  task_id task{};
  std::uint64_t number = 0;
  std::uint32_t nonce = 0;

  friend bool operator==(const lease_token&, const lease_token&) = default;
};

/// Five hexadecimal numbers with dots: URL-safe, at most 68 bytes.
[[nodiscard]] std::string format_lease(const lease_token& token);

/// Nothing for anything that `format_lease` did not write.
[[nodiscard]] std::optional<lease_token> parse_lease(std::string_view text);

}  // namespace callboard::runtime
