#include "actors/agent_activity.hpp"

#include "actors/run_reads.hpp"
#include "actors/topic_reads.hpp"
#include "base/rfc3339.hpp"
#include "runtime/workflow/agent_names.hpp"
#include "runtime/workflow/json_values.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <callboard/agent.hpp>
#include <map>
#include <utility>
#include <vector>

namespace callboard::actors {

namespace {

using boost::json::object;
using runtime::run_event;
using runtime::run_event_kind;
using runtime::text_at;

/// An agent goes on as a new run every hundred messages; what its handlers do is not bounded.
constexpr std::size_t events_max = 20'000;
constexpr std::size_t commands_shown_max = 3;

struct received {
  std::string id;
  std::string message;
  time_ms came{};
};

struct begun {
  std::string kind;
  std::string name;
  time_ms since{};
};

/// Messages are handled one at a time, in the order in which they came.
struct record_of_agent {
  std::vector<received> open;
  std::map<std::uint32_t, begun> commands;
  time_ms free_since{};

  void take(const run_event& event) {
    const auto* data = event.data.if_object();
    if (event.kind == run_event_kind::signalled && event.name == detail::agent_signal) {
      open.push_back({event.id, data == nullptr ? "" : text_at(*data, "message"), event.time});
    } else if (event.kind != run_event_kind::issued) {
      const bool is_over =
          runtime::ends_command(event.kind) || event.kind == run_event_kind::command_cancelled;
      if (is_over) commands.erase(event.command);
    } else if (event.what == command_kind::reply) {
      if (data != nullptr)
        std::erase_if(
            open, [id = text_at(*data, "id")](const received& one) { return one.id == id; });
      free_since = event.time;
    } else if (event.what != command_kind::update && event.what != command_kind::version) {
      const bool is_message =
          event.what == command_kind::signal && event.name == detail::agent_signal;
      if (is_message) return;
      commands.insert_or_assign(
          event.command, begun{std::string{runtime::name_of(event.what)}, event.name, event.time});
    }
  }
};

object shown_handling(const record_of_agent& record, time_ms since) {
  boost::json::array commands;
  for (const auto& [command, one] : record.commands) {
    if (commands.size() == commands_shown_max) break;
    commands.push_back(object{
        {"command", command},
        {"kind", one.kind},
        {"name", one.name},
        {"since_ms", runtime::shown_ms(one.since)}});
  }
  const auto& now = record.open.front();
  return {
      {"message", now.message},
      {"id", now.id},
      {"since_ms", runtime::shown_ms(since)},
      {"commands", std::move(commands)}};
}

std::string commands_in_words(const record_of_agent& record) {
  std::string words;
  std::size_t count = 0;
  for (const auto& [command, one] : record.commands) {
    if (++count > commands_shown_max) break;
    words += fmt::format(
        "{}{} '{}' since {}",
        words.empty() ? ", in its " : " and ",
        one.kind,
        one.name,
        format_time(one.since));
  }
  return words;
}

std::string in_words(const record_of_agent& record, time_ms since, const std::string& message) {
  if (record.open.empty()) return "is idle, and no message waits";
  const auto behind = record.open.size() - 1;
  const auto& now = record.open.front();
  const bool is_asked_for = !message.empty() && now.id == message;
  auto words = fmt::format(
      "handles {}message '{}' since {}{}",
      is_asked_for ? "this " : "",
      now.message,
      format_time(since),
      commands_in_words(record));
  const auto place = std::ranges::find(record.open, message, &received::id);
  if (!message.empty() && !is_asked_for && place != record.open.end()) {
    words += fmt::format("; this message is number {} of", place - record.open.begin());
    words += fmt::format(" {} that wait", behind);
  } else if (behind != 0) {
    words += fmt::format("; {} more wait", behind);
  }
  return words;
}

}  // namespace

result<std::optional<agent_activity>>
look_at_agent(storage::journal& journal, const topic_ref& channel, const std::string& message) {
  auto reader = journal.read(shard_id{shard_index(channel, journal.shard_count())});
  if (!reader) return std::unexpected{reader.error()};
  const auto topic = find_topic_row(**reader, channel);
  if (!topic) return std::unexpected{topic.error()};
  const auto row = read_workflow_row(**reader, channel);
  if (!row) return std::unexpected{row.error()};
  if (!*topic || !*row) return std::nullopt;
  record_of_agent record;
  std::size_t seen = 0;
  auto visited = visit_history(
      **reader,
      (*topic)->entity,
      (*row)->first_seq,
      (*row)->run,
      [&](const run_event& event, const auto&) {
        record.take(event);
        return ++seen < events_max;
      });
  if (!visited) return std::unexpected{visited.error()};
  const auto name = runtime::parse_agent_channel(channel.topic);
  agent_activity found;
  found.shown = object{
      {"type", name.type},
      {"key", name.key},
      {"run", (*row)->run},
      {"status", name_of((*row)->status)},
      {"messages_waiting", record.open.size()}};
  if ((*row)->status != runtime::run_status::running) {
    found.words = fmt::format("is {}", name_of((*row)->status));
    if ((*row)->why) found.words += fmt::format(": {}", (*row)->why->message);
    return found;
  }
  time_ms since{};
  if (!record.open.empty()) {
    since = std::max(record.open.front().came, record.free_since);
    found.shown["handling"] = shown_handling(record, since);
    found.shown["oldest_message_ms"] = runtime::shown_ms(record.open.front().came);
  }
  const auto place = std::ranges::find(record.open, message, &received::id);
  if (!message.empty() && place != record.open.end()) {
    found.shown["ahead"] = place - record.open.begin();
  }
  found.words = in_words(record, since, message);
  return found;
}

}  // namespace callboard::actors
