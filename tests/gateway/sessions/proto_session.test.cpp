// The subprotocol callboard.v1.proto: several operations and answers to a frame.
#include "proto/gateway.pb.h"

#include "tests/gateway/sessions/fixture.hpp"

using namespace callboard;
using namespace callboard::gateway;
using callboard::testing::one_client;
using Catch::Contains;

namespace {

struct proto_client : one_client {
  proto_client() { subprotocol = "callboard.v1.proto"; }

  void send(const v1::ClientFrame& frame) { one_client::send(frame.SerializeAsString(), 0x82); }

  /// One frame with one operation.
  void ask(const v1::ClientOp& op) {
    v1::ClientFrame frame;
    *frame.add_ops() = op;
    send(frame);
    work();
  }

  /// The operations of all frames since the last call; `frame_count` frames.
  std::vector<v1::ServerOp> told() {
    std::vector<v1::ServerOp> ops;
    const auto all = frames();
    frame_count = all.size();
    for (const auto& one : all) {
      REQUIRE(one.starts_with("#2 "));
      v1::ServerFrame frame;
      REQUIRE(frame.ParseFromString(one.substr(3)));
      ops.insert(ops.end(), frame.ops().begin(), frame.ops().end());
    }
    return ops;
  }

  v1::ServerOp only_op() {
    const auto ops = told();
    REQUIRE(ops.size() == 1);
    return ops.front();
  }

  std::size_t frame_count = 0;
};

v1::ClientOp publish_op(std::uint64_t id, const std::string& topic, int events = 1) {
  v1::ClientOp op;
  op.set_id(id);
  op.mutable_publish()->set_topic(topic);
  for (int i = 0; i < events; ++i) {
    auto* event = op.mutable_publish()->add_events();
    event->set_id(std::to_string(id) + '-' + std::to_string(i));
    event->set_source("/test");
    event->set_type("t");
    event->set_json("{\"n\":1}");
  }
  return op;
}

}  // namespace

TEST_CASE_METHOD(proto_client, "a proto client is welcomed with its limits", "[ws][proto]") {
  connect();
  CHECK_THAT(take_head(), Contains("Sec-WebSocket-Protocol: callboard.v1.proto"));
  const auto op = only_op();
  REQUIRE(op.has_welcome());
  CHECK(op.welcome().connection() == "c1");
  CHECK(op.welcome().node() == "n1");
  CHECK(op.welcome().frame_bytes_max() == settings.limits.frame_bytes_max);
  CHECK(op.welcome().requests_in_flight_max() == settings.limits.requests_in_flight_max);
  CHECK(op.welcome().ping_interval_ms() == settings.limits.ping_interval_ms);
}

TEST_CASE_METHOD(
    proto_client, "publishes of one frame are one batch and one answer", "[ws][proto]") {
  begin();
  v1::ClientFrame frame;
  *frame.add_ops() = publish_op(1, "open.t");
  *frame.add_ops() = publish_op(2, "open.t", 3);
  *frame.add_ops() = publish_op(3, "closed");
  *frame.add_ops() = publish_op(4, "open.t", 0);
  frame.mutable_ops(1)->mutable_publish()->set_expected_seq(7);
  frame.mutable_ops(1)->mutable_publish()->set_durability(v1::WRITTEN);
  send(frame);
  work();
  auto ops = told();
  REQUIRE(ops.size() == 2);
  CHECK(ops[0].id() == 3);
  CHECK(ops[0].error().code() == "forbidden");
  CHECK(ops[1].id() == 4);
  CHECK(ops[1].error().code() == "bad_request");
  REQUIRE(published.size() == 1);
  REQUIRE(published[0].requests.size() == 2);
  CHECK(published[0].requests[1].expected == sequence{7});
  CHECK(published[0].requests[1].level == durability::written);
  commit(8);
  ops = told();
  CHECK(frame_count == 1);
  REQUIRE(ops.size() == 2);
  CHECK(ops[0].id() == 1);
  CHECK(ops[0].published().first_seq() == 8);
  CHECK(ops[0].published().epoch() == "e");
  CHECK(ops[0].published().durability() == v1::SYNCED);
  CHECK(ops[1].published().first_seq() == 9);
  CHECK(ops[1].published().durability() == v1::WRITTEN);
}

TEST_CASE_METHOD(proto_client, "events come with topic, epoch, seq and time", "[ws][proto]") {
  begin();
  v1::ClientOp op;
  op.set_id(1);
  op.mutable_subscribe()->set_topic("open.t");
  op.mutable_subscribe()->set_from("e:4");
  op.mutable_subscribe()->set_credits(2);
  ask(op);
  attach("open.t", 4);
  auto answer = only_op();
  CHECK(answer.id() == 1);
  CHECK(answer.subscribed().sub() == 1);
  CHECK(answer.subscribed().epoch() == "e");
  CHECK(answer.subscribed().cursor() == "e:4");
  CHECK(answer.subscribed().recovered());
  for (std::uint64_t seq = 5; seq <= 7; ++seq)
    deliver("open.t", seq, "{\"n\":1}");
  const auto events = told();
  REQUIRE(events.size() == 2);
  const auto& first = events[0].delivery();
  CHECK(first.sub() == 1);
  CHECK(first.topic() == "open.t");
  CHECK(first.epoch() == "e");
  CHECK(first.first_seq() == 5);
  REQUIRE(first.events_size() == 1);
  CHECK(first.events(0).id() == "5");
  CHECK(first.events(0).json() == "{\"n\":1}");
  CHECK(first.times_ms(0) == time.wall().time_since_epoch().count());
  CHECK(events[1].delivery().first_seq() == 6);

  // More credits bring the third.
  op.Clear();
  op.set_id(2);
  op.mutable_credit()->set_sub(1);
  op.mutable_credit()->set_credits(1);
  ask(op);
  const auto more = told();
  REQUIRE_FALSE(more.empty());
  CHECK(more.front().has_done());

  op.Clear();
  op.set_id(3);
  op.mutable_unsubscribe()->set_sub(1);
  ask(op);
  CHECK(told().back().has_done());
  deliver("open.t", 8, "1");
  CHECK(told().empty());
}

TEST_CASE_METHOD(
    proto_client, "what went wrong is said, and the connection goes on", "[ws][proto]") {
  begin();
  one_client::send("\xFF\xFF\xFF", 0x82);
  work();
  auto op = only_op();
  CHECK(op.id() == 0);
  CHECK(op.error().code() == "bad_request");
  v1::ClientOp ask_nothing;
  ask_nothing.set_id(5);
  ask(ask_nothing);
  op = only_op();
  CHECK(op.id() == 5);
  CHECK(op.error().code() == "bad_request");
  auto bad = publish_op(6, "open.t", 2);
  bad.mutable_publish()->mutable_events(1)->set_json("{");
  ask(bad);
  op = only_op();
  CHECK(op.error().code() == "invalid_json");
  CHECK_THAT(op.error().detail(), Contains("event 1: "));
  bad = publish_op(7, "open.t");
  bad.mutable_publish()->set_durability(static_cast<v1::Durability>(9));
  ask(bad);
  CHECK(only_op().error().code() == "bad_request");
  CHECK(published.empty());
  v1::ClientOp ping;
  ping.set_id(8);
  ping.mutable_ping();
  ask(ping);
  op = only_op();
  CHECK(op.id() == 8);
  CHECK(op.has_pong());
}

TEST_CASE_METHOD(proto_client, "text where binary is due closes with 1003", "[ws][proto]") {
  begin();
  one_client::send("{}");
  work();
  CHECK(close_code_of(frames().back()) == 1003);
}

TEST_CASE_METHOD(proto_client, "groups and presence over proto", "[ws][proto]") {
  begin();
  v1::ClientOp op;
  op.set_id(1);
  op.mutable_consume()->set_topic("open.t");
  op.mutable_consume()->set_group("g");
  op.mutable_consume()->set_credits(2);
  ask(op);
  CHECK(only_op().has_done());
  actors::delivery_list list;
  list.epoch = "e";
  event_defaults defaults;
  defaults.id = "a";
  const auto event = decode_plain("1", defaults).value().event;
  list.deliveries.push_back({"d4", 2, {sequence{4}, time.wall(), event.stored}});
  reply<actors::fetch_deliveries>(list);
  const auto given = only_op();
  REQUIRE(given.has_deliveries());
  CHECK(given.deliveries().group() == "g");
  CHECK(given.deliveries().epoch() == "e");
  REQUIRE(given.deliveries().deliveries_size() == 1);
  CHECK(given.deliveries().deliveries(0).delivery() == "d4");
  CHECK(given.deliveries().deliveries(0).seq() == 4);
  CHECK(given.deliveries().deliveries(0).attempt() == 2);
  CHECK(given.deliveries().deliveries(0).event().id() == "a");

  op.Clear();
  op.set_id(2);
  op.mutable_ack()->set_topic("open.t");
  op.mutable_ack()->set_group("g");
  op.mutable_ack()->set_up_to_seq(4);
  ask(op);
  reply<actors::ack_deliveries>(actors::ack_result{{"lost1"}, sequence{4}});
  auto answer = only_op();
  CHECK(answer.id() == 2);
  CHECK(answer.json() == R"({"op":"ok","floor":4,"lost":["lost1"]})");

  op.Clear();
  op.set_id(3);
  op.mutable_nack()->set_topic("open.t");
  op.mutable_nack()->set_group("g");
  ask(op);
  CHECK(only_op().error().code() == "bad_request");

  op.Clear();
  op.set_id(4);
  op.mutable_presence()->set_topic("open.t");
  op.mutable_presence()->set_action("join");
  op.mutable_presence()->set_state(R"({ "a" : 1 })");
  ask(op);
  CHECK(last_asked<actors::presence_join>().state == R"({"a":1})");
  reply<actors::presence_join>(actors::done{});
  CHECK(only_op().has_done());
}

TEST_CASE_METHOD(
    proto_client, "answers that wait to share a frame count as output", "[ws][proto]") {
  settings.limits.output_bytes_max = 2000;
  begin();
  socket.blocked = true;
  ask(publish_op(1, "closed"));
  v1::ClientFrame frame;
  for (std::uint64_t id = 2; id <= 100; ++id)
    *frame.add_ops() = publish_op(id, "closed");
  send(frame);
  work();
  // Who does not read the answers is not read from.
  ask(publish_op(101, "open.t"));
  CHECK(published.empty());
  socket.blocked = false;
  stream->release();
  run();
  CHECK(told().size() == 100);
  CHECK(frame_count == 2);
  CHECK(published.size() == 1);
}

TEST_CASE_METHOD(proto_client, "a proto client is told to go before it is closed", "[ws][proto]") {
  begin();
  current->on_drain(std::chrono::milliseconds{0});
  run();
  const auto all = frames();
  REQUIRE(all.size() == 2);
  v1::ServerFrame frame;
  REQUIRE(frame.ParseFromString(all[0].substr(3)));
  CHECK(frame.ops(0).has_goaway());
  CHECK(close_code_of(all[1]) == 1001);
}

TEST_CASE_METHOD(proto_client, "tasks are worked on in proto frames", "[ws][proto][work]") {
  who.work = {"llm"};
  begin();
  v1::ClientOp op;
  op.set_id(1);
  op.mutable_work()->set_queue("llm");
  op.mutable_work()->set_credits(2);
  op.mutable_work()->set_lease_ms(9000);
  ask(op);
  CHECK(only_op().has_done());
  CHECK(last_asked<actors::lease_tasks>().lease.lease_ms == 9000);
  actors::leased_task task;
  task.task = runtime::task_id{7};
  task.lease = "l1";
  task.fencing = 12;
  task.attempt = 2;
  task.attempts_max = 5;
  task.priority = runtime::task_priority::bulk;
  task.lease_ms = 9000;
  task.enqueued = time.wall();
  task.deadline = time.wall() + std::chrono::seconds{9};
  task.payload = shared_bytes{std::string{R"({"n":1})"}};
  reply<actors::lease_tasks>(actors::leased_tasks{{task}});
  const auto given = only_op();
  REQUIRE(given.has_task());
  CHECK(given.task().queue() == "llm");
  CHECK(given.task().task() == 7);
  CHECK(given.task().lease() == "l1");
  CHECK(given.task().fencing() == 12);
  CHECK(given.task().attempt() == 2);
  CHECK(given.task().attempts_max() == 5);
  CHECK(given.task().priority() == 3);
  CHECK(given.task().lease_ms() == 9000);
  CHECK(given.task().payload() == R"({"n":1})");
  CHECK(given.task().deadline_ms() - given.task().enqueued_ms() == 9000);

  op.Clear();
  op.set_id(2);
  op.mutable_extend()->set_lease("l1");
  ask(op);
  CHECK(last_asked<actors::extend_lease>().extend.lease == "l1");
  reply<actors::extend_lease>(runtime::lease_extended{9000});
  CHECK_THAT(only_op().json(), Contains(R"("lease_ms":9000)"));

  op.Clear();
  op.set_id(3);
  op.mutable_fail()->set_lease("l1");
  op.mutable_fail()->set_error("boom");
  op.mutable_fail()->set_permanent(true);
  op.mutable_fail()->set_retry_after_ms(70);
  ask(op);
  const auto& failed = last_asked<actors::fail_task>().fail;
  CHECK(failed.error == "boom");
  CHECK_FALSE(failed.is_retryable);
  CHECK(failed.retry_after_ms == 70);

  op.Clear();
  op.set_id(4);
  op.mutable_complete()->set_lease("l2");
  for (const auto* result : {"{]", "[1e400]"}) {
    op.mutable_complete()->set_result(result);
    ask(op);
    const auto told_now = told();
    CHECK(told_now.back().error().code() == "invalid_json");
  }
  op.mutable_complete()->set_result("[1]");
  ask(op);
  CHECK(last_asked<actors::complete_task>().complete.result == "[1]");
}
