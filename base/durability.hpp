// What an ack stands for (docs/guarantees.md).
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace callboard {

/// `written`: in the operating system's hands, survives `kill -9` of the process, not a power cut.
/// `synced`: fsynced here before the ack. `replicated`: also on the in-sync replicas.
enum class durability : std::uint8_t { written = 1, synced = 2, replicated = 3 };

[[nodiscard]] constexpr std::string_view name_of(durability level) {
  switch (level) {
    case durability::written: return "written";
    case durability::synced: return "synced";
    case durability::replicated: return "replicated";
  }
  return "synced";
}

[[nodiscard]] constexpr std::optional<durability> durability_named(std::string_view name) {
  if (name == "written") return durability::written;
  if (name == "synced") return durability::synced;
  if (name == "replicated") return durability::replicated;
  return std::nullopt;
}

} // namespace callboard
