// The parts of the load generators that results rest on.
#include "cli/client/raw_json.hpp"
#include "proto/gateway.pb.h"

#include "bench/frames.hpp"
#include "bench/histogram.hpp"
#include "bench/report.hpp"
#include "bench/workers.hpp"
#include "tests/support/catch.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>

using namespace callboard;
using namespace callboard::bench;

TEST_CASE("percentiles are never too low and at most 0.8 % too high", "[bench]") {
  const auto seed = GENERATE(1U, 7U, 42U);
  INFO("seed " << seed);
  std::mt19937_64 random{seed};
  std::vector<std::int64_t> values;
  histogram times;
  for (int i = 0; i < 20'000; ++i) {
    // Several powers of ten, as latencies have.
    const auto shift = random() % 40;
    const auto value = static_cast<std::int64_t>(random() >> (24 + shift));
    values.push_back(value);
    times.record(value);
  }
  std::ranges::sort(values);
  CHECK(times.count() == values.size());
  CHECK(times.max() == values.back());
  for (const double percent : {0.1, 1.0, 25.0, 50.0, 90.0, 99.0, 99.9, 99.99, 100.0}) {
    INFO(percent);
    const auto rank =
        static_cast<std::size_t>(std::ceil(percent / 100.0 * static_cast<double>(values.size())));
    const auto exact = values[std::max<std::size_t>(rank, 1) - 1];
    CHECK(times.percentile(percent) >= exact);
    CHECK(static_cast<double>(times.percentile(percent)) <= static_cast<double>(exact) * 1.008);
  }
}

TEST_CASE("histograms are merged, emptied and take extremes", "[bench]") {
  histogram a;
  histogram b;
  CHECK(a.percentile(50) == 0);
  a.record(-5);
  a.record(10);
  b.record(std::numeric_limits<std::int64_t>::max());
  a.merge(b);
  CHECK(a.count() == 3);
  CHECK(a.percentile(1) == 0);
  CHECK(a.percentile(50) == 10);
  CHECK(a.percentile(100) == std::numeric_limits<std::int64_t>::max());
  a.clear();
  CHECK(a.count() == 0);
  CHECK(a.max() == 0);
}

TEST_CASE("hand-written Protobuf operations are what the contract's own code reads", "[bench]") {
  const event_ids ids{0xabcd};
  publish_writer writer{wire::proto, ids, "bench.a", 256, "synced"};
  std::string frame;
  writer.append(frame, 1, 0);
  writer.append(frame, 300, 77);
  writer.append_batch(frame, 301, 78, 3);
  v1::ClientFrame parsed;
  REQUIRE(parsed.ParseFromString(frame));
  REQUIRE(parsed.ops_size() == 3);
  CHECK(parsed.ops(1).id() == 300);
  const auto& publish = parsed.ops(1).publish();
  CHECK(publish.topic() == "bench.a");
  CHECK(publish.durability() == v1::SYNCED);
  REQUIRE(publish.events_size() == 1);
  CHECK(publish.events(0).json().size() == 256);
  CHECK(ids.index_of(publish.events(0).id()) == 77);
  REQUIRE(parsed.ops(2).publish().events_size() == 3);
  CHECK(ids.index_of(parsed.ops(2).publish().events(2).id()) == 80);
  v1::ClientFrame subscribe;
  REQUIRE(subscribe.ParseFromString(subscribe_frame(wire::proto, 9, "t", "first")));
  CHECK(subscribe.ops(0).subscribe().from() == "first");
}

namespace {

struct seen {
  std::vector<std::uint64_t> done;
  std::vector<std::string> refused;
  std::vector<std::uint64_t> events;

  answer_visitor visitor() {
    return {
        .on_done = [this](std::uint64_t op) { done.push_back(op); },
        .on_refused = [this](std::uint64_t, std::string_view code) { refused.emplace_back(code); },
        .on_event = [this](std::uint64_t index) { events.push_back(index); }};
  }
};

std::string id_of(const event_ids& ids, std::uint64_t index) {
  auto id = ids.prefix() + std::string(16, '0');
  event_ids::write_index(id.data(), index);
  return id;
}

}  // namespace

TEST_CASE("server frames in Protobuf are read by hand", "[bench]") {
  const event_ids ids{5};
  v1::ServerFrame frame;
  frame.add_ops()->mutable_welcome()->set_node("n");
  auto* ack = frame.add_ops();
  ack->set_id(7);
  ack->mutable_published()->set_first_seq(1);
  auto* refusal = frame.add_ops();
  refusal->set_id(8);
  refusal->mutable_error()->set_code("overloaded");
  auto* delivery = frame.add_ops()->mutable_delivery();
  delivery->set_topic("t");
  delivery->add_events()->set_id(id_of(ids, 3));
  delivery->add_events()->set_id(id_of(ids, 4));
  delivery->add_events()->set_id("somebody else's");
  seen got;
  const auto visit = got.visitor();
  CHECK(visit_message(wire::proto, frame.SerializeAsString(), ids, visit));
  CHECK(got.done == std::vector<std::uint64_t>{7});
  CHECK(got.refused == std::vector<std::string>{"overloaded"});
  CHECK(got.events == std::vector<std::uint64_t>{3, 4});
  CHECK_FALSE(visit_message(wire::proto, std::string("\x0a\xff", 2), ids, visit));
}

TEST_CASE("server frames in JSON are read by hand", "[bench]") {
  const event_ids ids{5};
  seen got;
  const auto visit = got.visitor();
  const auto read = [&](const std::string& text) {
    return visit_message(wire::json, text, ids, visit);
  };
  CHECK(read(R"({"op":"welcome","connection":"c"})"));
  CHECK(read(R"({"op":"ok","id":12,"topic":"t","seq":1,"event_id":"x"})"));
  CHECK(read(R"({"op":"error","id":13,"code":"storage_full","detail":"d"})"));
  CHECK(read(R"({"op":"event","sub":1,"event":{"id":")" + id_of(ids, 3) + "\"}}"));
  CHECK(read(
      R"({"op":"events","sub":1,"events":[{"event":{"id":")" + id_of(ids, 4)
      + R"("}},{"event":{"id":")" + id_of(event_ids{6}, 9) + R"("}},{"event":{"id":")"
      + id_of(ids, 0xfff) + "\"}}]}"));
  CHECK_FALSE(read("nonsense"));
  CHECK(got.done == std::vector<std::uint64_t>{12});
  CHECK(got.refused == std::vector<std::string>{"storage_full"});
  CHECK(got.events == std::vector<std::uint64_t>{3, 4, 0xfff});
}

TEST_CASE("results are a table for people and JSON for machines", "[bench]") {
  histogram times;
  times.record(1'500'000);
  measurement row{"publish"};
  row.text("mode", "window").number("events_per_s", 1'234'567).real("cpu", 0.5).latency("", times);
  CHECK(
      row.json()
      == R"({"workload":"publish","mode":"window","events_per_s":1234567,"cpu":0.50,)"
         R"("p50_ms":1.500,"p99_ms":1.500,"p999_ms":1.500,"max_ms":1.500})");
  CHECK_THAT(shown({row}), Catch::Contains("1,234,567"));
  CHECK(with_commas(999) == "999");
  CHECK(with_commas(1000) == "1,000");
}

TEST_CASE("tasks are written and read back by hand", "[bench]") {
  const auto payload = task_payload(17, 64);
  CHECK(payload.size() == 64);
  CHECK(client::is_json(payload));
  CHECK(client::is_json(task_payload(1, 2)));
  const auto task =
      R"({"op":"task","task":4,"lease":"a-b-1","attempt":1,"payload":)" + payload + "}";
  CHECK(task_index(task) == 17);
  CHECK(lease_of(task) == "a-b-1");
  CHECK(lease_of("{}").empty());
  CHECK(task_index("{}") == std::numeric_limits<std::uint64_t>::max());
}
