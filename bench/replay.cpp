// Replay: how fast the history of one topic is read back, by a subscription and by pages.
#include "cli/client/raw_json.hpp"

#include "bench/fill.hpp"
#include "bench/session.hpp"
#include "bench/time.hpp"

#include <fmt/format.h>

namespace callboard::bench {

namespace {

measurement row_of(
    const bench_options& options,
    const char* how,
    std::uint64_t events,
    std::int64_t took_ns,
    cpu_share cpu) {
  measurement row{"replay"};
  row.text("read_by", how)
      .number("events", events)
      .number("bytes", options.size)
      .number(
          "events_per_s",
          static_cast<std::uint64_t>(
              static_cast<double>(events) * 1e9
              / static_cast<double>(std::max<std::int64_t>(1, took_ns))))
      .real("server_cpu", cpu.server_cores)
      .real("generator_cpu", cpu.generator_cores);
  return row;
}

result<measurement> by_subscription(
    session& with,
    const bench_options& options,
    const event_ids& ids,
    const std::string& topic,
    wire format) {
  auto subscriber = with.connect(format);
  if (!subscriber) return std::unexpected{subscriber.error()};
  std::uint64_t seen = 0;
  std::uint64_t next = 0;
  bool in_order = true;
  std::string refusal;
  const answer_visitor visit{
      .on_done = {},
      .on_refused = [&](std::uint64_t, std::string_view code) { refusal = code; },
      .on_event =
          [&](std::uint64_t index) {
            ++seen;
            in_order = in_order && index == next++;
          }};
  poller wait;
  wait.add(subscriber->fd(), 0);
  with.begin_cpu();
  const auto began = now_ns();
  subscriber->queue(
      format == wire::proto ? client::ws_opcode::binary : client::ws_opcode::text,
      subscribe_frame(format, 1, topic, "first"));
  subscriber->flush();
  bool open = true;
  auto quiet_until = now_ns() + 30 * ns_per_s;
  while (seen < options.events && open && refusal.empty() && now_ns() < quiet_until) {
    wait.wait(100'000'000, [&](std::uint64_t, std::uint32_t) {
      quiet_until = now_ns() + 30 * ns_per_s;
      open = subscriber->receive(
          [&](std::string_view message) { (void)visit_message(format, message, ids, visit); });
    });
  }
  const auto took = now_ns() - began;
  const auto cpu = with.end_cpu();
  if (!refusal.empty()) return fail(errc_named(refusal).value_or(errc::internal), refusal);
  if (seen < options.events) {
    return fail(errc::timeout, fmt::format("{} of {} events came", seen, options.events));
  }
  if (!in_order) return fail(errc::corruption, "events came out of order");
  return row_of(
      options, format == wire::proto ? "websocket proto" : "websocket json", seen, took, cpu);
}

result<measurement>
by_pages(session& with, const bench_options& options, const std::string& topic) {
  auto api = client::api{with.api().who()};
  std::uint64_t seen = 0;
  std::string from = "first";
  with.begin_cpu();
  const auto began = now_ns();
  while (seen < options.events) {
    auto body =
        api.call("GET", api.topic_path(topic, fmt::format("/events?from={}&limit=1000", from)));
    if (!body) return std::unexpected{body.error()};
    const auto members = client::json_members(*body);
    if (!members) return fail(errc::invalid_json, "a page is not a JSON object");
    const auto events = client::json_elements(client::find_member(*members, "events"));
    if (!events || events->empty()) break;
    seen += events->size();
    from = client::find_member(*members, "next_from");
    if (from.starts_with('"')) from = client::json_text(from);
  }
  const auto took = now_ns() - began;
  if (seen < options.events) {
    return fail(errc::timeout, fmt::format("{} of {} events came", seen, options.events));
  }
  return row_of(options, "http pages of 1000", seen, took, with.end_cpu());
}

}  // namespace

result<measurements> run_replay(const bench_options& options) {
  auto with = session::open(options);
  if (!with) return std::unexpected{with.error()};
  const auto ids = (*with)->new_ids();
  const auto topic = (*with)->new_topic("replay");
  options.say(fmt::format("replay: publishing {} events", options.events));
  const auto began = now_ns();
  if (auto filled = fill_topic(**with, options, ids, topic, options.events); !filled) {
    return std::unexpected{filled.error()};
  }
  measurements rows{
      row_of(options, "(publishing them, 500 a batch)", options.events, now_ns() - began, {})};
  // From disk, not from the tail cache.
  if ((*with)->owns_server()) {
    if (auto restarted = (*with)->restart(); !restarted) {
      return std::unexpected{restarted.error()};
    }
  }
  for (const auto format : {wire::proto, wire::json}) {
    options.say("replay: by subscription");
    auto row = by_subscription(**with, options, ids, topic, format);
    if (!row) return std::unexpected{row.error()};
    rows.push_back(std::move(*row));
  }
  options.say("replay: by pages");
  auto row = by_pages(**with, options, topic);
  if (!row) return std::unexpected{row.error()};
  rows.push_back(std::move(*row));
  return rows;
}

}  // namespace callboard::bench
