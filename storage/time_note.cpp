#include "storage/time_note.hpp"

#include "base/crc32c.hpp"
#include "storage/rocksdb_status.hpp"

#include <fmt/format.h>
#include <rocksdb/env.h>

#include <charconv>
#include <chrono>
#include <memory>

namespace callboard::storage {

namespace {

constexpr std::string_view title = "callboard shard time";
constexpr std::size_t size_max = 256;

/// Shard time is counted in nanoseconds: this far from 1970, and from a boot, they do not overflow.
constexpr std::chrono::milliseconds time_max = std::chrono::years{200};
constexpr std::chrono::nanoseconds boot_max = std::chrono::years{80};

/// Takes the word up to the next space, or the rest, off the front of `text`.
std::string_view next_word(std::string_view& text) {
  const auto end = text.find(' ');
  const auto word = text.substr(0, end);
  text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
  return word;
}

std::optional<std::int64_t> number(std::string_view word, std::int64_t max) {
  std::int64_t value = 0;
  const auto [end, failed] = std::from_chars(word.data(), word.data() + word.size(), value);
  const bool is_number = failed == std::errc{} && end == word.data() + word.size();
  return is_number && value >= 0 && value <= max ? std::optional{value} : std::nullopt;
}

}  // namespace

time_ms go_on_from(const std::optional<time_note>& last, const clock& source) {
  const auto boot = source.boot();
  if (!last || last->boot_id.empty() || last->boot_id != source.boot_id() || boot < last->boot) {
    return source.wall();
  }
  return last->shard + std::chrono::duration_cast<std::chrono::milliseconds>(boot - last->boot);
}

std::string encode(const time_note& note) {
  const auto line = fmt::format(
      "{} {} {} {}",
      title,
      note.boot_id,
      std::chrono::nanoseconds{note.boot}.count(),
      note.shard.time_since_epoch().count());
  return fmt::format("{} {:08x}\n", line, crc32c(line));
}

std::optional<time_note> decode_time_note(std::string_view text) {
  if (!text.starts_with(title) || !text.ends_with('\n')) return std::nullopt;
  text.remove_suffix(1);
  const auto line = text.substr(0, text.rfind(' '));
  if (text.substr(line.size()) != fmt::format(" {:08x}", crc32c(line))) return std::nullopt;
  text = line;
  text.remove_prefix(title.size());
  if (!text.starts_with(' ')) return std::nullopt;
  text.remove_prefix(1);
  time_note note;
  note.boot_id = next_word(text);
  const auto boot_ns = number(next_word(text), boot_max.count());
  const auto shard_ms = number(next_word(text), time_max.count());
  if (note.boot_id.empty() || !boot_ns || !shard_ms || !text.empty()) return std::nullopt;
  note.boot = std::chrono::nanoseconds{*boot_ns};
  note.shard = time_ms{std::chrono::milliseconds{*shard_ms}};
  return note;
}

std::optional<time_note> read_time_note(rocksdb::FileSystem& files, const std::string& path) {
  std::unique_ptr<rocksdb::FSSequentialFile> file;
  char room[size_max];
  rocksdb::Slice read;
  auto status = files.NewSequentialFile(path, {}, &file, nullptr);
  if (status.ok()) status = file->Read(sizeof(room), {}, &read, room, nullptr);
  if (!status.ok()) return std::nullopt;
  return decode_time_note(read.ToStringView());
}

result<void>
write_time_note(rocksdb::FileSystem& files, const std::string& path, const time_note& note) {
  const auto unfinished = path + ".part";
  std::unique_ptr<rocksdb::FSWritableFile> file;
  auto status = files.NewWritableFile(unfinished, {}, &file, nullptr);
  if (status.ok()) status = file->Append(encode(note), {}, nullptr);
  if (status.ok()) status = file->Close({}, nullptr);
  if (status.ok()) status = files.RenameFile(unfinished, path, {}, nullptr);
  return checked(status, "noting the time in " + path);
}

}  // namespace callboard::storage
