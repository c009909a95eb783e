#include "storage/index_row.hpp"

#include "storage/byte_order.hpp"

#include <algorithm>
#include <chrono>
#include <functional>
#include <limits>
#include <optional>

namespace callboard::storage {

namespace {

/// One segment: what most rows of entities that are seldom written to are.
constexpr char single_format = 1;
constexpr std::size_t single_header_size = 25;
constexpr char segments_format = 2;

/// Where the segment before ends: each is written as what it adds to that.
struct reached {
  std::uint64_t number = 0;
  std::uint64_t lsn = 0;
  std::uint64_t time = 0;
};

constexpr auto number_max = std::numeric_limits<std::uint64_t>::max();

std::uint64_t milliseconds_of(time_ms time) {
  return static_cast<std::uint64_t>(time.time_since_epoch().count());
}

reached end_of(const index_segment& segment) {
  return {
      .number = segment.number + segment.count,
      .lsn = segment.block_end().raw(),
      .time = milliseconds_of(segment.time)};
}

void encode_single(std::string& out, const index_segment& segment) {
  out.clear();
  out.push_back(single_format);
  append_little(out, segment.block.raw());
  append_little(out, segment.span);
  append_little(out, milliseconds_of(segment.time));
  append_little(out, segment.count);
  out.append(segment.runs);
}

void append_segment(std::string& out, const reached& before, const index_segment& segment) {
  append_varint(out, segment.number - before.number);
  append_varint(out, segment.block.raw() - before.lsn);
  append_varint(out, segment.span);
  append_varint(out, milliseconds_of(segment.time) - before.time);
  append_varint(out, segment.count);
  append_varint(out, segment.runs.size());
  out.append(segment.runs);
}

/// As many as fit, but at least one; returns their number.
std::size_t
encode_some(std::string& out, std::span<const index_segment> segments, std::size_t bytes_max) {
  std::size_t taken = 0;
  if (segments.size() > 1) {
    out.assign(1, segments_format);
    reached before{.number = segments.front().number};
    for (const auto& segment : segments) {
      const auto size = out.size();
      append_segment(out, before, segment);
      if (out.size() > bytes_max) {
        out.resize(size);
        break;
      }
      before = end_of(segment);
      ++taken;
    }
  }
  if (taken > 1) return taken;
  encode_single(out, segments.front());
  return 1;
}

bool follows(const index_segment& before, const index_segment& next) {
  return next.number >= before.number + before.count && next.block >= before.block_end();
}

/// As a block can have it: what gives blocks back by a segment does not read them all.
bool is_sound(const index_segment& segment) {
  return segment.count != 0 && segment.count <= segment.span
         && segment.number <= number_max - segment.count
         && segment.block.raw() <= number_max - segment.span;
}

index_segment single_segment(std::uint64_t number, std::string_view value) {
  return {
      .number = number,
      .block = lsn{load_little<std::uint64_t>(value.data() + 1)},
      .span = load_little<std::uint32_t>(value.data() + 9),
      .time = time_ms{std::chrono::milliseconds{load_little<std::int64_t>(value.data() + 13)}},
      .count = load_little<std::uint32_t>(value.data() + 21),
      .runs = value.substr(single_header_size)};
}

std::optional<index_segment> take_segment(std::string_view& in, const reached& before) {
  const auto number = take_varint(in);
  const auto block = take_varint(in);
  const auto span = take_varint(in);
  const auto time = take_varint(in);
  const auto count = take_varint(in);
  const auto runs_size = take_varint(in);
  if (!number || !block || !span || !time || !count || !runs_size) return std::nullopt;
  if (*span > std::numeric_limits<std::uint32_t>::max() || *count > *span || *runs_size > in.size()
      || *number > number_max - before.number || *block > number_max - before.lsn) {
    return std::nullopt;
  }
  const index_segment segment{
      .number = before.number + *number,
      .block = lsn{before.lsn + *block},
      .span = static_cast<std::uint32_t>(*span),
      .time = time_ms{std::chrono::milliseconds{static_cast<std::int64_t>(before.time + *time)}},
      .count = static_cast<std::uint32_t>(*count),
      .runs = in.substr(0, *runs_size)};
  in.remove_prefix(*runs_size);
  return is_sound(segment) ? std::optional{segment} : std::nullopt;
}

}  // namespace

void encode_index_row(std::string& out, std::span<const index_segment> segments) {
  static_cast<void>(encode_some(out, segments, std::numeric_limits<std::size_t>::max()));
}

std::size_t encode_new_index_row(std::string& out, std::span<const index_segment> segments) {
  const auto most = segments.first(std::min(segments.size(), index_row_segments_max));
  const auto last = std::ranges::adjacent_find(most, std::not_fn(follows));
  const auto end = last == most.end() ? last : last + 1;
  return encode_some(out, {most.begin(), end}, index_row_bytes_max);
}

result<std::vector<index_segment>> decode_index_row(std::uint64_t number, std::string_view value) {
  std::vector<index_segment> segments;
  if (value.size() >= single_header_size && value[0] == single_format) {
    segments.push_back(single_segment(number, value));
    if (is_sound(segments.front())) return segments;
  }
  if (value.size() > 1 && value[0] == segments_format) {
    reached before{.number = number};
    for (auto rest = value.substr(1); !rest.empty();) {
      const auto segment = take_segment(rest, before);
      if (!segment || (segments.empty() && segment->number != number)) {
        return fail(errc::corruption, "an index row does not parse");
      }
      before = end_of(*segment);
      segments.push_back(*segment);
    }
    return segments;
  }
  return fail(errc::corruption, "an index row does not parse");
}

}  // namespace callboard::storage
