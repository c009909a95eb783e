#include "bench/fill.hpp"

#include "bench/time.hpp"

#include <algorithm>
#include <set>

namespace callboard::bench {

namespace {

/// Sends operations 1..=count with at most `window` unanswered; refused ones are sent again.
result<void> send_all(
    session& with,
    const event_ids& ids,
    std::uint64_t count,
    std::uint64_t window,
    const std::function<void(std::string& frame, std::uint64_t op)>& write) {
  auto connected = with.connect(wire::proto);
  if (!connected) return std::unexpected{connected.error()};
  poller wait;
  wait.add(connected->fd(), 0);
  std::uint64_t next = 1;
  std::uint64_t done = 0;
  std::uint64_t in_flight = 0;
  std::vector<std::uint64_t> again;
  std::string refusal;
  const answer_visitor visit{
      .on_done =
          [&](std::uint64_t) {
            ++done;
            --in_flight;
          },
      .on_refused =
          [&](std::uint64_t op, std::string_view code) {
            --in_flight;
            if (const auto known = errc_named(code); known && is_retryable(*known)) {
              again.push_back(op);
            } else {
              refusal = code;
            }
          },
      .on_event = {}};
  auto quiet_until = now_ns() + 60 * ns_per_s;
  bool open = true;
  while (done < count && open && refusal.empty() && now_ns() < quiet_until) {
    std::string frame;
    while (in_flight < window && (next <= count || !again.empty()) && frame.size() < (400 << 10)) {
      std::uint64_t op = next;
      if (again.empty()) {
        ++next;
      } else {
        op = again.back();
        again.pop_back();
      }
      write(frame, op);
      ++in_flight;
    }
    if (!frame.empty()) connected->queue(client::ws_opcode::binary, frame);
    connected->flush();
    wait.wait(10'000'000, [&](std::uint64_t, std::uint32_t) {
      quiet_until = now_ns() + 60 * ns_per_s;
      open = connected->receive(
          [&](std::string_view message) { (void)visit_message(wire::proto, message, ids, visit); });
    });
  }
  if (!refusal.empty()) return fail(errc_named(refusal).value_or(errc::internal), refusal);
  if (done < count) return fail(errc::unreachable, "the server stopped answering while filling");
  return {};
}

}  // namespace

result<void> fill_topic(
    session& with,
    const bench_options& options,
    const event_ids& ids,
    const std::string& topic,
    std::uint64_t count) {
  constexpr std::uint32_t batch = 500;
  publish_writer writer{wire::proto, ids, topic, options.size, options.durability};
  const auto ops = (count + batch - 1) / batch;
  return send_all(with, ids, ops, 4, [&](std::string& frame, std::uint64_t op) {
    const auto first = (op - 1) * batch;
    const auto size = std::min<std::uint64_t>(batch, count - first);
    writer.append_batch(frame, op, first, static_cast<std::uint32_t>(size));
  });
}

result<void> touch_topics(
    session& with,
    const bench_options& options,
    const event_ids& ids,
    std::uint64_t count,
    const std::function<std::string(std::uint64_t)>& topic_of) {
  return send_all(with, ids, count, 800, [&](std::string& frame, std::uint64_t op) {
    publish_writer writer{wire::proto, ids, topic_of(op - 1), options.size, options.durability};
    writer.append(frame, op, op - 1);
  });
}

}  // namespace callboard::bench
