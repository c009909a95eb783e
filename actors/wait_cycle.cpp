#include "actors/wait_cycle.hpp"

#include "actors/command_id.hpp"
#include "actors/run_reads.hpp"
#include "actors/topic_reads.hpp"
#include "runtime/workflow/agent_names.hpp"
#include "runtime/workflow/json_values.hpp"
#include "runtime/workflow/run_codec.hpp"
#include "runtime/workflow/signal_ledger.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <string>
#include <utility>

namespace callboard::actors {

namespace {

using runtime::run_event;
using runtime::run_event_kind;
using runtime::text_at;

/// Of one run, by its record: what it waits for.
class open_waits {
public:
  void take(const run_event& event) {
    if (event.kind == run_event_kind::issued) {
      const bool has_signal = signals_.take(event).has_value();
      const bool is_over_at_once = event.what == command_kind::update
                                   || event.what == command_kind::version
                                   || event.what == command_kind::reply;
      if (!has_signal && !is_over_at_once) open_.insert_or_assign(event.command, event);
      return;
    }
    if (const auto heard = signals_.take(event)) open_.erase(*heard);
    if (runtime::ends_command(event.kind) || event.kind == run_event_kind::command_cancelled) {
      open_.erase(event.command);
    }
  }

  [[nodiscard]] const std::map<std::uint32_t, run_event>& open() const { return open_; }

private:
  std::map<std::uint32_t, run_event> open_;
  runtime::signal_ledger signals_;
};

/// The run whose end an open command waits for; nothing if something else ends it, too.
std::optional<topic_ref>
awaited_by(const run_event& command, const topic_ref& channel, const runtime::run_start& start) {
  const auto* arguments = command.data.if_object();
  if (arguments == nullptr || command.due) return std::nullopt;
  if (command.what == command_kind::child) {
    auto id = text_at(*arguments, "id");
    if (id.empty()) id = command_id(channel, start, command.run, command.command);
    auto topic = topic_name::parse(std::string{runtime::channel_prefix} + id);
    return topic ? std::optional{topic_ref{channel.tenant, *std::move(topic)}} : std::nullopt;
  }
  if (command.what != command_kind::call) return std::nullopt;
  auto agent = runtime::agent_channel(text_at(*arguments, "type"), text_at(*arguments, "key"));
  return agent ? std::optional{topic_ref{channel.tenant, *std::move(agent)}} : std::nullopt;
}

/// The runs that this one waits for; none if it may go on without them, or cannot be read.
std::vector<topic_ref>
waits_of(storage::journal& journal, const topic_ref& channel, std::chrono::milliseconds age) {
  const shard_id shard{shard_index(channel, journal.shard_count())};
  const auto young = journal.shard_time(shard) - age;
  auto reader = journal.read(shard);
  if (!reader) return {};
  const auto topic = find_topic_row(**reader, channel);
  const auto row = read_workflow_row(**reader, channel);
  if (!topic || !*topic || !row || !*row) return {};
  if ((*row)->status != runtime::run_status::running) return {};
  if (runtime::history_size(**row) > cycle_events_max) return {};
  std::optional<runtime::run_start> start;
  open_waits waits;
  auto visited = visit_history(
      **reader,
      (*topic)->entity,
      (*row)->first_seq,
      (*row)->run,
      [&](const run_event& event, const auto&) {
        if (!start) {
          if (auto read = runtime::read_started(event)) start = *std::move(read);
        }
        waits.take(event);
        return start.has_value();
      });
  if (!visited || !start) return {};
  std::vector<topic_ref> all;
  for (const auto& [command, issued] : waits.open()) {
    auto other = issued.time > young ? std::nullopt : awaited_by(issued, channel, *start);
    if (!other) return {};
    all.push_back(*std::move(other));
  }
  return all;
}

std::string in_words(const topic_ref& channel) {
  if (!runtime::is_agent_channel(channel.topic)) {
    return fmt::format("workflow '{}'", channel.topic.str().substr(runtime::channel_prefix.size()));
  }
  const auto agent = runtime::parse_agent_channel(channel.topic);
  return fmt::format("agent '{}/{}'", agent.type, agent.key);
}

/// Of runs of which each waits for another of them: from `asker` to the first that comes again.
failure
cycle_from(const topic_ref& asker, const std::map<topic_ref, std::vector<topic_ref>>& waits) {
  std::vector<topic_ref> way{asker};
  for (;;) {
    const auto& others = waits.at(way.back());
    // Back to the asker, where there is a choice: that is whom it is told of.
    const bool comes_back = std::ranges::find(others, asker) != others.end();
    auto next = comes_back ? asker : others.front();
    const bool is_known = std::ranges::find(way, next) != way.end();
    way.push_back(std::move(next));
    if (is_known) break;
  }
  auto words = in_words(way.front());
  for (std::size_t i = 1; i < way.size(); ++i)
    words += fmt::format("{} waits for {}", i == 1 ? "" : ", which", in_words(way[i]));
  const bool can_cancel = !std::ranges::all_of(
      way, [](const auto& channel) { return runtime::is_agent_channel(channel.topic); });
  return {
      failure_class::bug,
      std::string{wait_cycle_code},
      fmt::format(
          "{}, so none of them would ever end: {}end what one waits for by hand (`workflow "
          "resolve` "
          "or `skip`)",
          words,
          can_cancel ? "cancel one of them (`workflow cancel`), or " : "")};
}

}  // namespace

std::optional<failure> find_wait_cycle(
    storage::journal& journal,
    const topic_ref& asker,
    std::vector<topic_ref> waits_for,
    std::chrono::milliseconds age) {
  std::map<topic_ref, std::vector<topic_ref>> waits;
  auto to_see = waits_for;
  waits.emplace(asker, std::move(waits_for));
  while (!to_see.empty()) {
    const auto channel = std::move(to_see.back());
    to_see.pop_back();
    if (waits.contains(channel)) continue;
    if (waits.size() == cycle_runs_max) return std::nullopt;
    auto others = waits_of(journal, channel, age);
    if (others.empty()) return std::nullopt;
    to_see.insert(to_see.end(), others.begin(), others.end());
    waits.emplace(channel, std::move(others));
  }
  if (waits.at(asker).empty()) return std::nullopt;
  return cycle_from(asker, waits);
}

}  // namespace callboard::actors
