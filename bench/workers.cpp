#include "bench/workers.hpp"

#include "bench/time.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <iterator>
#include <limits>

namespace callboard::bench {

namespace {

constexpr auto patience_ns = 60 * ns_per_s;
/// Of the operation that asks for tasks.
constexpr std::string_view work_answer = R"({"op":"ok","id":0)";

/// What stands behind `lead`, up to `end`.
std::string_view between(std::string_view text, std::string_view lead, char end) {
  const auto at = text.find(lead);
  if (at == std::string_view::npos) return {};
  text.remove_prefix(at + lead.size());
  return text.substr(0, text.find(end));
}

}  // namespace

std::string task_payload(std::uint64_t index, std::uint32_t size) {
  auto text = fmt::format(R"({{"i":{},"pad":")", index);
  constexpr std::string_view rest = R"("})";
  if (text.size() + rest.size() < size) text.append(size - text.size() - rest.size(), 'x');
  return text += rest;
}

std::uint64_t task_index(std::string_view text) {
  const auto digits = between(text, R"("payload":{"i":)", ',');
  std::uint64_t index = 0;
  const auto read = std::from_chars(digits.data(), digits.data() + digits.size(), index);
  return read.ec == std::errc{} ? index : std::numeric_limits<std::uint64_t>::max();
}

std::string_view lease_of(std::string_view task) {
  return between(task, R"("lease":")", '"');
}

result<workers> workers::connect(
    const session& with,
    const std::string& queue,
    std::uint32_t connections,
    std::uint32_t credits) {
  workers made;
  for (std::uint32_t i = 0; i < connections; ++i) {
    auto connected = with.connect(wire::json);
    if (!connected) return std::unexpected{connected.error()};
    connected->queue(
        client::ws_opcode::text,
        fmt::format(R"({{"op":"work","id":0,"queue":"{}","credits":{}}})", queue, credits));
    connected->flush();
    made.peers_.push_back(std::move(*connected));
  }
  return made;
}

void workers::watch(poller& wait, std::uint64_t first_tag) {
  for (const auto& one : peers_)
    wait.add(one.fd(), first_tag++);
}

bool workers::take(std::size_t index, const std::function<void(std::uint64_t)>& on_task) {
  auto& from = peers_[index];
  const bool is_open = from.receive([&](std::string_view message) {
    if (message.starts_with(R"({"op":"task")")) {
      ++leased_;
      if (on_task) on_task(task_index(message));
      answers_.clear();
      fmt::format_to(
          std::back_inserter(answers_),
          R"({{"op":"complete","id":{},"lease":"{}"}})",
          next_id_++,
          lease_of(message));
      from.queue(client::ws_opcode::text, answers_);
    } else if (message.starts_with(R"({"op":"ok")")) {
      if (!message.starts_with(work_answer)) ++completed_;
    } else if (message.starts_with(R"({"op":"error")")) {
      refusal_ = message;
    }
  });
  from.flush();
  return is_open;
}

result<void> drain_queue(
    workers& with,
    std::uint64_t count,
    const std::function<void(std::uint64_t)>& on_task,
    const std::function<void()>& between) {
  poller wait;
  with.watch(wait, 0);
  bool is_open = true;
  auto last = with.completed();
  auto quiet_until = now_ns() + patience_ns;
  auto next_look = now_ns();
  while (with.completed() < count) {
    wait.wait(100'000'000, [&](std::uint64_t tag, std::uint32_t) {
      is_open = with.take(static_cast<std::size_t>(tag), on_task) && is_open;
    });
    const auto now = now_ns();
    if (!with.refusal().empty()) return fail(errc::bad_request, with.refusal());
    if (!is_open) return fail(errc::unreachable, "the server closed a worker's connection");
    if (with.completed() != std::exchange(last, with.completed())) {
      quiet_until = now + patience_ns;
    }
    if (now > quiet_until) return fail(errc::timeout, "no task was completed for a minute");
    if (between && now > next_look) {
      next_look = now + ns_per_s / 10;
      between();
    }
  }
  return {};
}

}  // namespace callboard::bench
