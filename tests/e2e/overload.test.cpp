// Ten times more than the node takes: memory stays flat, every refusal is explicit, no ack is lost.
//
// Method: the bounds are set low, and publishers keep ten times as many events in flight as the
// shard admits. Each event's fate is counted: acked, or refused with `overloaded` and a hint.
// CALLBOARD_LONG=1 makes the flood five minutes long.
#include "tests/e2e/ack_log.hpp"
#include "tests/e2e/broker.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/eventually.hpp"

#include <atomic>
#include <cstdlib>
#include <iostream>
#include <set>
#include <thread>

namespace {

using namespace callboard::testing;
using std::chrono::steady_clock;

constexpr int connections = 8;
constexpr int admitted_max = 64;
/// Ten times what is admitted, over all connections.
constexpr std::size_t window = 10 * admitted_max / connections;

std::chrono::seconds flood_time() {
  return std::chrono::seconds{std::getenv("CALLBOARD_LONG") != nullptr ? 300 : 6};
}

struct tally {
  std::atomic<std::uint64_t> sent{0};
  std::atomic<std::uint64_t> acked{0};
  std::atomic<std::uint64_t> refused{0};
  std::atomic<std::uint64_t> without_hint{0};
  std::atomic<std::uint64_t> other{0};
};

/// Keeps `window` publishes in flight until `end`, then waits for the last answers.
void flood(
    endpoint where,
    const std::string& name,
    steady_clock::time_point end,
    ack_log& log,
    tally& count) {
  websocket_client client{where};
  std::map<std::uint64_t, std::string> open;
  std::uint64_t next = 1;
  const std::string data = '"' + std::string(512, 'x') + '"';
  for (;;) {
    while (open.size() < window && steady_clock::now() < end) {
      const auto frame = next++;
      const auto id = name + std::to_string(frame);
      client.send_text(
          R"({"op":"publish","topic":"flood","id":)" + std::to_string(frame) + R"(,"event":)"
          + cloud_event(id, data) + '}');
      open[frame] = id;
      ++count.sent;
    }
    if (open.empty()) return;
    const auto answer = client.next(std::chrono::seconds{30});
    const auto entry = open.find(number_of(answer, "id"));
    if (entry == open.end()) continue;
    if (text_of(answer, "op") == "ok") {
      log.acked("flood", entry->second, number_of(answer, "seq"));
      ++count.acked;
    } else if (text_of(answer, "code") == "overloaded") {
      ++count.refused;
      if (number_of(answer, "retry_after_ms") == 0) ++count.without_hint;
    } else {
      ++count.other;
      log.broken(json::serialize(answer));
    }
    open.erase(entry);
  }
}

}  // namespace

TEST_CASE("a flood ten times above the bound: flat memory, explicit refusals, no ack lost") {
  server_process node{
      {.arguments = {
           "--set",
           "topics.shard_in_flight_max=" + std::to_string(admitted_max),
           "--set",
           "topics.events_in_flight_max=" + std::to_string(admitted_max),
           "--set",
           "storage.tail_cache_bytes_max=4194304"}}};
  ack_log log;
  tally count;
  const auto start = steady_clock::now();
  const auto end = start + flood_time();
  std::uint64_t resident_early = 0;
  {
    std::vector<std::jthread> threads;
    for (int i = 0; i < connections; ++i) {
      threads.emplace_back([&, i, where = node.where()] {
        try {
          flood(where, std::to_string(i) + '-', end, log, count);
        } catch (const std::exception& failure) {
          log.broken(failure.what());
        }
      });
    }
    // Caches and memtables fill first; what counts is that it ends.
    CHECK(eventually([&] { return steady_clock::now() - start > flood_time() / 3; }, flood_time()));
    resident_early = node.resident_bytes();
    // Others are still served while the flood goes on.
    broker other{node.where(), "bystander"};
    CHECK(other.get("/topics").status == 200);
    CHECK(http_client{node.where()}.get("/readyz").status == 200);
  }
  const auto resident_late = node.resident_bytes();
  std::cout << "sent " << count.sent << ", acked " << count.acked << ", refused " << count.refused
            << ", resident " << (resident_early >> 20) << " MiB then " << (resident_late >> 20)
            << " MiB\n";
  CHECK(count.acked > 0);
  CHECK(count.refused > 0);
  CHECK(count.sent == count.acked + count.refused);
  CHECK(count.without_hint == 0);
  CHECK(count.other == 0);
  CHECK(resident_late < resident_early + (96ULL << 20));
  broker now{node.where()};
  CHECK(log.check(now) == std::vector<std::string>{});
}

TEST_CASE("a flood on bulk topics does not starve interactive ones") {
  server_process node{{.arguments = {"--set", "topics.bulk_in_flight_max=64"}}};
  broker to{node.where()};
  REQUIRE(to.put("/topics/flood", R"({"lane":"bulk"})").status < 300);
  ack_log log;
  tally count;
  const auto end = steady_clock::now() + std::chrono::seconds{3};
  int refused = 0;
  int published = 0;
  {
    std::vector<std::jthread> threads;
    for (int i = 0; i < connections; ++i) {
      threads.emplace_back([&, i, where = node.where()] {
        try {
          flood(where, std::to_string(i) + '-', end, log, count);
        } catch (const std::exception& failure) {
          log.broken(failure.what());
        }
      });
    }
    while (steady_clock::now() < end) {
      ++published;
      if (to.publish("chat", cloud_event(std::to_string(published))).status != 200) ++refused;
    }
  }
  std::cout << "interactive " << published << " published, " << refused << " refused, while bulk "
            << count.acked << " acked, " << count.refused << " refused\n";
  CHECK(refused == 0);
  CHECK(published > 30);
}

TEST_CASE("bounds of a connection are refused by name") {
  const server_process node{
      {.arguments = {
           "--set",
           "limits.subscriptions_max=2",
           "--set",
           "limits.connections_max=6",
           "--set",
           "limits.body_bytes_max=4096",
           "--set",
           "limits.event_bytes_max=1024",
           "--set",
           "limits.batch_events_max=3"}}};
  broker to{node.where()};
  const auto large = cloud_event("1", '"' + std::string(2000, 'x') + '"');
  CHECK(to.publish("bounds", large).status == 413);
  CHECK(to.publish("bounds", large).code() == "too_large");
  const auto huge = cloud_event("1", '"' + std::string(6000, 'x') + '"');
  CHECK(to.publish("bounds", huge).status == 413);
  CHECK(
      to.publish_batch(
            "bounds", {cloud_event("1"), cloud_event("2"), cloud_event("3"), cloud_event("4")})
          .status
      == 413);
  CHECK(to.publish("bounds", cloud_event("1")).status == 200);

  websocket_client client{node.where()};
  for (const auto* topic : {"a", "b"}) {
    CHECK(
        text_of(client.ask({{"op", "subscribe"}, {"topic", topic}, {"from", "now"}}), "op")
        == "ok");
  }
  const auto third = client.ask({{"op", "subscribe"}, {"topic", "c"}, {"from", "now"}});
  CHECK(text_of(third, "code") == "too_many_subscriptions");

  std::vector<std::unique_ptr<websocket_client>> crowd;
  std::string refusal;
  for (int i = 0; i < 8 && refusal.empty(); ++i) {
    try {
      crowd.push_back(std::make_unique<websocket_client>(node.where()));
    } catch (const std::exception& failure) {
      refusal = failure.what();
    }
  }
  CHECK_FALSE(refusal.empty());
  crowd.clear();
  CHECK(eventually([&] {
    try {
      return http_client{node.where()}.get("/livez").status == 200;
    } catch (const std::exception&) {
      return false;
    }
  }));
}

TEST_CASE("a client that sends its request a byte at a time is cut off, others are not") {
  const server_process node{
      {.arguments = {
           "--set", "limits.handshake_timeout_ms=300", "--set", "limits.request_timeout_ms=300"}}};
  socket slow{node.where()};
  slow.write("GET /livez HTTP/1.1\r\nhost: ");
  std::string answer;
  bool open = true;
  while (open) {
    try {
      open = slow.read_some(answer, std::chrono::seconds{10});
    } catch (const disconnected&) {
      open = false;
    }
  }
  CHECK((answer.empty() || answer.starts_with("HTTP/1.1 408")));
  CHECK(http_client{node.where()}.get("/livez").status == 200);
}
