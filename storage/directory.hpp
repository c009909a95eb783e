// The data directory around the store: who holds it, and the settings that are fixed when it is
// made (docs/formats.md "Data directory").
#pragma once

#include "base/error.hpp"

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

namespace callboard::storage {

/// Names of files inside a data directory. On disk forever.
struct directory_paths {
  explicit directory_paths(const std::filesystem::path& root)
      : root{root},
        lock{root / "lock"},
        settings{root / "settings"},
        mark{root / "mark"},
        ballast{root / "ballast"},
        spare_log{root / "spare_log"},
        time{root / "time"},
        db{root / "db"} {}

  std::filesystem::path root;
  std::filesystem::path lock;
  std::filesystem::path settings;
  std::filesystem::path mark;
  std::filesystem::path ballast;
  std::filesystem::path spare_log;
  std::filesystem::path time;
  std::filesystem::path db;
};

/// Waits until no other process holds the directory, 3 s at most: one that was killed keeps its
/// lock until the kernel has taken it down. For who may still be ended by a signal.
void await_unlocked(const directory_paths& paths);

/// Holds a data directory for this process; let go when destroyed or the process dies.
class directory_lock {
public:
  /// Errors: locked (another process, or another journal of this one), io_error.
  [[nodiscard]] static result<directory_lock> take(const directory_paths& paths);

  directory_lock(directory_lock&& other) noexcept;
  directory_lock& operator=(directory_lock&& other) noexcept;
  ~directory_lock();

private:
  explicit directory_lock(int descriptor) : descriptor_{descriptor} {}

  int descriptor_ = -1;
};

inline constexpr std::uint32_t directory_format = 1;

/// What can never change in a data directory.
struct fixed_settings {
  std::uint32_t format = directory_format;
  std::uint32_t shard_count = 0;
  std::string hash_name;

  friend bool operator==(const fixed_settings&, const fixed_settings&) = default;
};

/// The text of a settings file, its checksum included.
[[nodiscard]] std::string encode(const fixed_settings& settings);

/// Errors: corruption (names `file`), incompatible (a newer format).
[[nodiscard]] result<fixed_settings> decode_settings(std::string_view text, std::string_view file);

/// Reads the settings file; nothing if there is none. Errors: as decode_settings, io_error.
[[nodiscard]] result<std::optional<fixed_settings>> read_settings(const directory_paths& paths);

/// Writes the settings file whole and fsynced, or not at all.
[[nodiscard]] result<void>
write_settings(const directory_paths& paths, const fixed_settings& settings);

/// Errors: incompatible, with what to do, if a node that wants `shard_count` shards cannot use it.
[[nodiscard]] result<void> check_settings(
    const fixed_settings& settings, std::uint32_t shard_count, const directory_paths& paths);

}  // namespace callboard::storage
