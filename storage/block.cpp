#include "storage/block.hpp"

#include "base/crc32c.hpp"
#include "storage/byte_order.hpp"

#include <fmt/format.h>

namespace callboard::storage {

namespace {

constexpr char block_format = 1;
constexpr char flag_sparse = 1;

// Offsets in the block header.
constexpr std::size_t at_format = 0;
constexpr std::size_t at_flags = 1;
constexpr std::size_t at_count = 4;
constexpr std::size_t at_span = 8;
constexpr std::size_t at_header_crc = 12;

// Offsets in the record header.
constexpr std::size_t at_crc = 0;
constexpr std::size_t at_size = 4;
constexpr std::size_t at_kind = 8;
constexpr std::size_t at_key_id = 12;
constexpr std::size_t at_lsn = 16;
constexpr std::size_t at_term = 24;
constexpr std::size_t at_time = 32;
constexpr std::size_t at_entity = 40;
constexpr std::size_t at_entity_seq = 48;
constexpr std::size_t at_previous = 56;

}  // namespace

void block_builder::start(lsn first) {
  first_ = first;
  count_ = 0;
  span_ = 0;
  buffer_.resize(block_header_size);
}

void block_builder::add(const record& head, std::string_view payload) {
  const auto offset = buffer_.size();
  buffer_.resize(offset + record_header_size);
  char* out = buffer_.data() + offset;
  store_little(out + at_size, static_cast<std::uint32_t>(payload.size()));
  store_little(out + at_kind, static_cast<std::uint16_t>(head.kind));
  store_little(out + at_kind + 2, std::uint16_t{0});
  store_little(out + at_key_id, head.key_id);
  store_little(out + at_lsn, head.lsn.raw());
  store_little(out + at_term, head.term.raw());
  store_little(out + at_time, static_cast<std::int64_t>(head.time.time_since_epoch().count()));
  store_little(out + at_entity, head.entity.raw());
  store_little(out + at_entity_seq, head.entity_seq.raw());
  store_little(out + at_previous, head.previous.raw());
  const auto header_crc = crc32c({out + at_size, record_header_size - at_size});
  store_little(out + at_crc, crc32c(payload, header_crc));
  buffer_.append(payload);
  ++count_;
  span_ = static_cast<std::uint32_t>(head.lsn.raw() + 1 - first_.raw());
}

void block_builder::extend_to(lsn last) {
  span_ = static_cast<std::uint32_t>(last.raw() + 1 - first_.raw());
}

std::string block_builder::finish() {
  char* out = buffer_.data();
  out[at_format] = block_format;
  out[at_flags] = count_ == span_ ? char{0} : flag_sparse;
  store_little(out + 2, std::uint16_t{0});
  store_little(out + at_count, count_);
  store_little(out + at_span, span_);
  store_little(out + at_header_crc, crc32c({out, at_header_crc}));
  std::string block{buffer_};
  count_ = 0;
  return block;
}

result<void> block_reader::open() {
  const std::string& bytes = *bytes_;
  const auto refuse = [this](std::string_view what) {
    problem_ = {errc::corruption, fmt::format("block at lsn {}: {}", first_.raw(), what)};
    return std::unexpected{problem_};
  };
  if (bytes.size() < block_header_size) return refuse("shorter than its header");
  const char* in = bytes.data();
  if (load_little<std::uint32_t>(in + at_header_crc) != crc32c({in, at_header_crc})) {
    return refuse("header checksum differs");
  }
  if (in[at_format] != block_format) {
    problem_ = {
        errc::incompatible,
        fmt::format("block at lsn {}: format {}", first_.raw(), static_cast<int>(in[at_format]))};
    return std::unexpected{problem_};
  }
  count_ = load_little<std::uint32_t>(in + at_count);
  span_ = load_little<std::uint32_t>(in + at_span);
  const bool is_sparse = (in[at_flags] & flag_sparse) != 0;
  if (span_ == 0 || count_ > span_ || is_sparse != (count_ != span_)) {
    return refuse("counts contradict each other");
  }
  offset_ = block_header_size;
  seen_ = 0;
  expected_ = first_;
  return {};
}

block_step block_reader::next(record& out) {
  return read(out, true);
}

block_step block_reader::next_trusted(record& out) {
  return read(out, false);
}

block_step block_reader::read(record& out, bool check) {
  const std::string& bytes = *bytes_;
  if (seen_ == count_) {
    return offset_ == bytes.size() ? block_step::end : bad("bytes after the last record");
  }
  if (bytes.size() - offset_ < record_header_size) return bad("record header cut short");
  const char* in = bytes.data() + offset_;
  const auto size = load_little<std::uint32_t>(in + at_size);
  if (bytes.size() - offset_ - record_header_size < size) return bad("payload cut short");
  const std::string_view payload{in + record_header_size, size};
  if (check) {
    const auto header_crc = crc32c({in + at_size, record_header_size - at_size});
    if (crc32c(payload, header_crc) != load_little<std::uint32_t>(in + at_crc)) {
      return bad("checksum differs");
    }
  }
  const lsn number{load_little<std::uint64_t>(in + at_lsn)};
  if (number < expected_ || number > last() || (count_ == span_ && number != expected_)) {
    return bad("lsn out of place");
  }
  out.lsn = number;
  out.kind = static_cast<record_kind>(load_little<std::uint16_t>(in + at_kind));
  out.key_id = load_little<std::uint32_t>(in + at_key_id);
  out.term = term_id{load_little<std::uint64_t>(in + at_term)};
  out.time = time_ms{std::chrono::milliseconds{load_little<std::int64_t>(in + at_time)}};
  out.entity = entity_id{load_little<std::uint64_t>(in + at_entity)};
  out.entity_seq = sequence{load_little<std::uint64_t>(in + at_entity_seq)};
  out.previous = lsn{load_little<std::uint64_t>(in + at_previous)};
  out.payload = shared_bytes{bytes_, payload};
  offset_ += record_header_size + size;
  expected_ = number.next();
  ++seen_;
  return block_step::record;
}

std::optional<lsn> block_reader::peek() const {
  if (seen_ == count_ || bytes_->size() - offset_ < record_header_size) return std::nullopt;
  return lsn{load_little<std::uint64_t>(bytes_->data() + offset_ + at_lsn)};
}

block_step block_reader::skip_to(lsn target) {
  const std::string& bytes = *bytes_;
  while (seen_ < count_) {
    if (bytes.size() - offset_ < record_header_size) return bad("record header cut short");
    const char* in = bytes.data() + offset_;
    const lsn number{load_little<std::uint64_t>(in + at_lsn)};
    if (number >= target) return block_step::record;
    const auto size = load_little<std::uint32_t>(in + at_size);
    if (bytes.size() - offset_ - record_header_size < size) return bad("payload cut short");
    offset_ += record_header_size + size;
    expected_ = number.next();
    ++seen_;
  }
  return block_step::end;
}

block_step block_reader::bad(std::string what) {
  problem_ = {
      errc::corruption,
      fmt::format("block at lsn {}, record {}: {}", first_.raw(), expected_.raw(), what)};
  seen_ = count_;
  return block_step::bad;
}

}  // namespace callboard::storage
