#include "bench/calls.hpp"

#include <algorithm>
#include <vector>

namespace callboard::bench {

namespace {

constexpr auto patience_ns = 60 * ns_per_s;

struct slot {
  http_caller caller;
  std::uint64_t number = 0;
  std::int64_t sent_ns = 0;
};

}  // namespace

result<void> make_calls(
    const session& with,
    std::uint64_t count,
    std::uint32_t connections,
    const std::function<call(std::uint64_t)>& make,
    const std::function<void(std::uint64_t, http_caller::answer&, std::int64_t)>& take) {
  std::vector<slot> slots;
  poller wait;
  for (std::uint32_t i = 0; i < connections; ++i) {
    auto connected = http_caller::connect(with.api());
    if (!connected) return std::unexpected{connected.error()};
    wait.add(connected->fd(), slots.size());
    slots.push_back({std::move(*connected)});
  }
  std::uint64_t sent = 0;
  std::uint64_t answered = 0;
  const auto send_next = [&](slot& on) {
    if (sent == count) return;
    const auto next = make(sent);
    on.number = sent++;
    on.sent_ns = now_ns();
    on.caller.send(next.method, next.target, next.body);
  };
  for (auto& one : slots)
    send_next(one);
  bool is_open = true;
  auto quiet_until = now_ns() + patience_ns;
  http_caller::answer answer;
  while (answered < count && is_open) {
    if (now_ns() > quiet_until) return fail(errc::timeout, "the server does not answer");
    wait.wait(100'000'000, [&](std::uint64_t tag, std::uint32_t) {
      auto& on = slots[static_cast<std::size_t>(tag)];
      const auto got = on.caller.receive(answer);
      if (got == http_caller::progress::closed) is_open = false;
      if (got != http_caller::progress::answered) return;
      const auto now = now_ns();
      quiet_until = now + patience_ns;
      ++answered;
      take(on.number, answer, now - on.sent_ns);
      send_next(on);
    });
  }
  if (!is_open) return fail(errc::unreachable, "the server closed a connection");
  return {};
}

}  // namespace callboard::bench
