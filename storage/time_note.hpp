// What the shards' clock showed, noted for the next start of the node: within one boot of its
// machine shard time then goes on by the boot-time clock (docs/formats.md "Shard time").
#pragma once

#include "base/clock.hpp"
#include "base/error.hpp"

#include <rocksdb/file_system.h>

#include <optional>
#include <string>
#include <string_view>

namespace callboard::storage {

/// Shard time at one moment of one boot of the machine.
struct time_note {
  std::string boot_id;
  boot_time boot{};
  time_ms shard{};

  friend bool operator==(const time_note&, const time_note&) = default;
};

/// Where shard time goes on: from the note, if it is of this boot, by what has passed since; else
/// from the wall clock, which may have been set meanwhile.
[[nodiscard]] time_ms go_on_from(const std::optional<time_note>& last, const clock& source);

/// One line of text.
[[nodiscard]] std::string encode(const time_note& note);

/// Nothing if it is none.
[[nodiscard]] std::optional<time_note> decode_time_note(std::string_view text);

/// Nothing if there is none that can be read.
[[nodiscard]] std::optional<time_note>
read_time_note(rocksdb::FileSystem& files, const std::string& path);

/// Writes it whole or not at all, beside the file and then in its place. It is not synced: what a
/// power cut can take from it ends with the boot. Errors: io_error, storage_full; the last note
/// stays, and is as good.
[[nodiscard]] result<void>
write_time_note(rocksdb::FileSystem& files, const std::string& path, const time_note& note);

}  // namespace callboard::storage
