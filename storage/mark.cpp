#include "storage/mark.hpp"

#include "base/crc32c.hpp"
#include "storage/byte_order.hpp"
#include "storage/rocksdb_status.hpp"

#include <fmt/format.h>
#include <rocksdb/env.h>

#include <algorithm>
#include <optional>

namespace callboard::storage {

namespace {

constexpr std::string_view magic = "CBMARK01";
constexpr std::size_t header_size = 24;
constexpr std::size_t page = 4096;

constexpr std::size_t slot_size(std::size_t shard_count) {
  const auto needed = header_size + shard_count * 8 + 4;
  return (needed + page - 1) / page * page;
}

void encode_slot(std::string& out, std::uint64_t generation, std::span<const std::uint64_t> lsns) {
  out.assign(slot_size(lsns.size()), '\0');
  std::copy(magic.begin(), magic.end(), out.begin());
  store_little(out.data() + 8, generation);
  store_little(out.data() + 16, static_cast<std::uint32_t>(lsns.size()));
  for (std::size_t i = 0; i < lsns.size(); ++i) {
    store_little(out.data() + header_size + i * 8, lsns[i]);
  }
  const auto body = out.size() - 4;
  store_little(out.data() + body, crc32c({out.data(), body}));
}

struct slot {
  std::uint64_t generation = 0;
  std::vector<std::uint64_t> lsns;
};

std::optional<slot> decode_slot(std::string_view bytes, std::uint32_t shard_count) {
  if (bytes.size() != slot_size(shard_count) || !bytes.starts_with(magic)) return std::nullopt;
  const auto body = bytes.size() - 4;
  if (load_little<std::uint32_t>(bytes.data() + body) != crc32c(bytes.substr(0, body))) {
    return std::nullopt;
  }
  if (load_little<std::uint32_t>(bytes.data() + 16) != shard_count) return std::nullopt;
  slot found{.generation = load_little<std::uint64_t>(bytes.data() + 8), .lsns = {}};
  for (std::uint32_t i = 0; i < shard_count; ++i) {
    found.lsns.push_back(load_little<std::uint64_t>(bytes.data() + header_size + i * 8));
  }
  return found;
}

}  // namespace

std::string encode_mark(std::span<const std::uint64_t> lsns) {
  std::string second;
  std::string first;
  // Both slots are whole from the start, so that a bad one always means something.
  encode_slot(second, 1, lsns);
  encode_slot(first, 2, lsns);
  return first + second;
}

result<mark_state>
decode_mark(std::string_view bytes, std::uint32_t shard_count, std::string_view file) {
  const auto size = slot_size(shard_count);
  std::optional<slot> slots[2];
  if (bytes.size() == 2 * size) {
    slots[0] = decode_slot(bytes.substr(0, size), shard_count);
    slots[1] = decode_slot(bytes.substr(size), shard_count);
  }
  if (!slots[0] && !slots[1]) {
    return fail(
        errc::corruption,
        fmt::format(
            "{} is damaged in both slots, so it cannot be told whether acknowledged records are "
            "missing. Nothing was changed. Run `callboard journal verify`, then "
            "`callboard journal repair`.",
            file));
  }
  const bool second_newer = !slots[0] || (slots[1] && slots[1]->generation > slots[0]->generation);
  auto& newest = second_newer ? *slots[1] : *slots[0];
  return mark_state{
      .generation = newest.generation,
      .lsns = std::move(newest.lsns),
      .has_bad_slot = !slots[0] || !slots[1]};
}

namespace {

result<std::string> read_whole(rocksdb::FileSystem& files, const std::string& path) {
  std::uint64_t size = 0;
  auto sound = checked(files.GetFileSize(path, {}, &size, nullptr), "reading " + path);
  if (!sound) return fail(errc::corruption, sound.error().detail);
  std::unique_ptr<rocksdb::FSRandomAccessFile> file;
  sound = checked(files.NewRandomAccessFile(path, {}, &file, nullptr), "reading " + path);
  if (!sound) return std::unexpected{sound.error()};
  std::string bytes(std::min<std::uint64_t>(size, 1 << 20), '\0');
  rocksdb::Slice read;
  sound = checked(file->Read(0, bytes.size(), {}, &read, bytes.data(), nullptr), "reading " + path);
  if (!sound) return std::unexpected{sound.error()};
  return read.ToString();
}

}  // namespace

result<mark_state>
read_mark(rocksdb::FileSystem& files, const std::string& path, std::uint32_t shard_count) {
  auto bytes = read_whole(files, path);
  if (!bytes) return std::unexpected{bytes.error()};
  return decode_mark(*bytes, shard_count, path);
}

result<std::uint32_t> shard_count_of_mark(rocksdb::FileSystem& files, const std::string& path) {
  auto bytes = read_whole(files, path);
  if (!bytes) return std::unexpected{bytes.error()};
  const std::string_view all{*bytes};
  for (const auto slot : {all.substr(0, all.size() / 2), all.substr(all.size() / 2)}) {
    if (slot.size() < header_size) continue;
    const auto count = load_little<std::uint32_t>(slot.data() + 16);
    if (count > 0 && count <= 4096 && decode_slot(slot, count)) return count;
  }
  return fail(errc::corruption, path + " is damaged");
}

result<void> create_mark(
    rocksdb::FileSystem& files, const std::string& path, std::span<const std::uint64_t> lsns) {
  const auto doing = "creating " + path;
  std::unique_ptr<rocksdb::FSWritableFile> file;
  auto status = files.NewWritableFile(path, {}, &file, nullptr);
  if (status.ok()) status = file->Append(encode_mark(lsns), {}, nullptr);
  if (status.ok()) status = file->Fsync({}, nullptr);
  if (status.ok()) status = file->Close({}, nullptr);
  return checked(status, doing);
}

result<std::unique_ptr<mark_writer>>
mark_writer::open(rocksdb::FileSystem& files, const std::string& path, const mark_state& last) {
  std::unique_ptr<rocksdb::FSRandomRWFile> file;
  auto sound = checked(files.NewRandomRWFile(path, {}, &file, nullptr), "opening " + path);
  if (!sound) return std::unexpected{sound.error()};
  return std::unique_ptr<mark_writer>{new mark_writer{std::move(file), last.generation}};
}

result<void> mark_writer::write(std::span<const std::uint64_t> lsns) {
  ++generation_;
  encode_slot(slot_, generation_, lsns);
  // Even generations in the first slot: the last good one is never written over.
  const auto offset = generation_ % 2 == 0 ? 0 : slot_.size();
  return checked(file_->Write(offset, slot_, {}, nullptr), "writing the durable mark");
}

result<void> mark_writer::sync() {
  return checked(file_->Sync({}, nullptr), "syncing the durable mark");
}

}  // namespace callboard::storage
