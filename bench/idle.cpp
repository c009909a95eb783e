// Memory of an idle WebSocket connection, without and with one subscription.
#include "bench/session.hpp"
#include "bench/time.hpp"

#include <fmt/format.h>

#include <thread>

namespace callboard::bench {

namespace {

/// Reads until nothing has come for a while.
void settle(std::vector<peer>& peers, poller& wait, std::int64_t at_least_ns) {
  auto until = now_ns() + at_least_ns;
  while (now_ns() < until) {
    wait.wait(100'000'000, [&](std::uint64_t tag, std::uint32_t) {
      peers[static_cast<std::size_t>(tag)].receive([](std::string_view) {});
    });
  }
}

measurement
row_of(const bench_options& options, const char* state, std::uint64_t before, std::uint64_t after) {
  const auto grown = after > before ? after - before : 0;
  measurement row{"idle"};
  row.number("connections", options.connections)
      .text("state", state)
      .number("server_rss_mib", after >> 20)
      .real(
          "kib_per_connection",
          static_cast<double>(grown) / 1024 / std::max(1U, options.connections));
  return row;
}

}  // namespace

result<measurements> run_idle(const bench_options& given) {
  auto options = given;
  if (options.connections == 0) options.connections = 5000;
  auto with = session::open(options);
  if (!with) return std::unexpected{with.error()};
  if ((*with)->server_rss() == 0) {
    return fail(errc::bad_request, "idle needs --server-pid with --server, to read its memory");
  }
  // What the first connections set up for all is not theirs.
  std::vector<peer> peers;
  poller wait;
  const auto add = [&](std::uint32_t count) -> result<void> {
    for (std::uint32_t i = 0; i < count; ++i) {
      auto connected = (*with)->connect(wire::json);
      if (!connected) return std::unexpected{connected.error()};
      wait.add(connected->fd(), peers.size());
      peers.push_back(std::move(*connected));
    }
    return {};
  };
  if (auto first = add(100); !first) return std::unexpected{first.error()};
  settle(peers, wait, 2 * ns_per_s);
  const auto before = (*with)->server_rss();
  options.say(fmt::format("idle: opening {} connections", options.connections));
  if (auto all = add(options.connections); !all) return std::unexpected{all.error()};
  settle(peers, wait, 5 * ns_per_s);
  const auto idle = (*with)->server_rss();
  measurements rows{row_of(options, "idle", before, idle)};
  const auto topic = (*with)->new_topic("idle");
  for (std::size_t i = 100; i < peers.size(); ++i) {
    peers[i].queue(client::ws_opcode::text, subscribe_frame(wire::json, 1, topic, "now"));
    peers[i].flush();
  }
  settle(peers, wait, 5 * ns_per_s);
  rows.push_back(row_of(options, "subscribed", before, (*with)->server_rss()));
  return rows;
}

}  // namespace callboard::bench
