#include "actors/command_id.hpp"

#include "base/hash.hpp"

#include <fmt/compile.h>
#include <fmt/format.h>

#include <iterator>
#include <string_view>

namespace callboard::actors {

namespace {

/// Ids of children of children would grow by a mark for each, and the last one stands for all.
std::string_view without_mark(std::string_view id) {
  constexpr std::size_t mark_size = 17;
  if (id.size() <= mark_size || id[id.size() - mark_size] != '-') return id;
  const auto mark = id.substr(id.size() - mark_size + 1);
  return mark.find_first_not_of("0123456789abcdef") == std::string_view::npos
             ? id.substr(0, id.size() - mark_size)
             : id;
}

}  // namespace

std::string command_id(
    const topic_ref& channel,
    const runtime::run_start& start,
    std::uint32_t run,
    std::uint32_t command) {
  const auto id = std::string_view{channel.topic.str()}.substr(runtime::channel_prefix.size());
  // As it was before there were incarnations.
  if (start.incarnation == 0) return fmt::format("{}.{}.{}", id, run, command);
  // Made for each step of each run, hence what is compiled.
  fmt::memory_buffer marked;
  fmt::format_to(
      std::back_inserter(marked),
      FMT_COMPILE("{}/{}/{:016x}"),
      channel.tenant.str(),
      id,
      start.incarnation);
  const auto mark = hash_64({marked.data(), marked.size()});
  return fmt::format(FMT_COMPILE("{}.{}.{}-{:016x}"), without_mark(id), run, command, mark);
}

}  // namespace callboard::actors
