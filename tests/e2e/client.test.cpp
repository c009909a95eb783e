// The public C++ client (include/callboard/client.hpp) against the program of
// examples/support_assistant, which is killed meanwhile.
#include "tests/support/catch.hpp"
#include "tests/support/chat_provider.hpp"
#include "tests/support/server_process.hpp"

#include <algorithm>
#include <callboard/client.hpp>
#include <csignal>
#include <map>
#include <set>
#include <thread>

namespace {

using namespace callboard::testing;
using namespace std::chrono_literals;
using callboard::event;
using callboard::json;
using callboard::received_event;
using callboard::subscription;
using callboard::tenant_client;

tenant_client client_of(const server_process& node, const std::string& tenant = "acme") {
  auto made = tenant_client::open({.server = node.url(), .tenant = tenant});
  REQUIRE(made);
  return std::move(*made);
}

event order(int number) {
  return {
      .id = "o" + std::to_string(number),
      .source = "/shop",
      .type = "order.placed",
      .subject = "ada",
      .data = json(boost::json::object{{"total", number}})};
}

/// The next event; fails the test if there is none within 20 s.
received_event next_of(subscription& from) {
  auto one = from.next(20s);
  if (!one) FAIL(one.error().code + ": " + one.error().message);
  REQUIRE(one->has_value());
  return std::move(**one);
}

}  // namespace

TEST_CASE("events are published and read with all their attributes", "[e2e][client]") {
  server_process node;
  auto acme = client_of(node);
  auto first = order(1);
  first.extensions["traceparent"] = "00-1";
  const auto placed = acme.publish("orders", first);
  REQUIRE(placed);
  CHECK(placed->seq == 1);
  CHECK(placed->id == "o1");
  CHECK_FALSE(placed->duplicate);
  CHECK(acme.publish("orders", first)->duplicate);
  const auto made = acme.publish("orders", {.type = "note"});
  REQUIRE(made);
  CHECK(made->seq == 2);
  CHECK_FALSE(made->id.empty());
  CHECK(acme.publish("orders", order(3))->seq == 3);

  const auto page = acme.read("orders", "first", 2);
  REQUIRE(page);
  REQUIRE(page->events.size() == 2);
  CHECK(page->last_seq == 3);
  CHECK(page->next_from == 3);
  auto read = page->events[0].what;
  CHECK_FALSE(read.time.empty());
  read.time.clear();
  CHECK(read == first);
  CHECK(page->events[0].cursor == placed->cursor);
  CHECK(page->events[1].what.data.is_null());
  const auto rest = acme.read("orders", page->events[1].cursor);
  REQUIRE(rest);
  REQUIRE(rest->events.size() == 1);
  CHECK(rest->events[0].what.id == "o3");
  // Other tenants have topics of their own.
  const auto other = client_of(node, "globex").read("orders");
  REQUIRE_FALSE(other);
  CHECK(other.error().code == "topic_not_found");
  CHECK(other.error().kind == callboard::failure_class::permanent);
  auto changed = first;
  changed.data = "else";
  CHECK(acme.publish("orders", changed).error().code == "id_conflict");
}

TEST_CASE("a subscription goes through kill -9 without gap or repeat", "[e2e][client]") {
  server_process node{{.keeps_port = true}};
  auto acme = client_of(node);
  REQUIRE(acme.publish("orders", order(1)));
  auto live = acme.subscribe("orders", {.from = "first"});
  auto pattern = acme.subscribe("ord*", {.from = "first"});
  REQUIRE(live);
  // The grammar of patterns has whole tokens only.
  REQUIRE_FALSE(pattern);
  CHECK(pattern.error().code == "invalid_name");
  auto all = acme.subscribe(">");
  REQUIRE(all);
  CHECK(next_of(*live).what.id == "o1");
  REQUIRE(acme.publish("orders", order(2)));
  CHECK(next_of(*live).seq == 2);
  CHECK(next_of(*all).what.id == "o2");
  const auto place = live->cursor();
  node.kill();
  CHECK(live->next(50ms)->has_value() == false);
  node.start();
  REQUIRE(acme.publish("orders", order(3)));
  REQUIRE(acme.publish("news", {.id = "n1", .type = "news"}));
  const auto third = next_of(*live);
  CHECK(third.what.id == "o3");
  CHECK(third.seq == 3);
  // In whatever order: topics know nothing of each other.
  std::set<std::string> both{next_of(*all).what.id, next_of(*all).what.id};
  CHECK(both == std::set<std::string>{"n1", "o3"});
  CHECK(live->next(100ms)->has_value() == false);
  auto again = acme.subscribe("orders", {.from = place});
  REQUIRE(again);
  CHECK(next_of(*again).what.id == "o3");
}

TEST_CASE("a pattern follows any number of topics, through kill -9", "[e2e][client]") {
  constexpr int topics = 20;
  server_process node{{.arguments = {"--set", "limits.pattern_topics_max=3"}, .keeps_port = true}};
  auto acme = client_of(node);
  auto live = acme.subscribe("room.*");
  REQUIRE(live);
  const auto publish_all = [&](const std::string& round) {
    for (int i = 0; i < topics; ++i) {
      const auto topic = "room.r" + std::to_string(i);
      REQUIRE(acme.publish(topic, {.id = round + topic, .type = "said"}));
    }
  };
  std::vector<std::string> got;
  const auto read = [&](subscription& from, int count) {
    got.clear();
    for (int i = 0; i < count; ++i)
      got.push_back(next_of(from).what.id);
    CHECK(std::set<std::string>{got.begin(), got.end()}.size() == got.size());
  };
  publish_all("a");
  read(*live, topics);
  publish_all("b");
  read(*live, topics / 2);
  const auto before = got;
  node.kill();
  node.start();
  publish_all("c");
  read(*live, topics / 2 + topics);
  for (const auto& id : before)
    CHECK(std::ranges::find(got, id) == got.end());
  CHECK(live->next(1s)->has_value() == false);

  // Who joins has more topics than places from the first moment.
  auto second = acme.subscribe("room.*");
  REQUIRE(second);
  REQUIRE(acme.publish("room.r19", {.id = "d", .type = "said"}));
  REQUIRE(acme.publish("room.new", {.id = "e", .type = "said"}));
  read(*second, 2);
  node.kill();
  node.start();
  REQUIRE(acme.publish("room.r7", {.id = "f", .type = "said"}));
  // Of topics that the answer did not name what came within the minute before comes, too.
  const auto got_before = got;
  got.clear();
  while (const auto more = *second->next(1s))
    got.push_back(more->what.id);
  CHECK(std::set<std::string>{got.begin(), got.end()}.size() == got.size());
  CHECK(std::ranges::find(got, "f") != got.end());
  for (const auto& id : got_before)
    CHECK(std::ranges::find(got, id) == got.end());
  read(*live, 3);
  auto all = acme.subscribe("room.*", {.from = "first"});
  REQUIRE(all);
  read(*all, 3 * topics + 3);
}

TEST_CASE("whoever watches all workflows sees each of any number end", "[e2e][client]") {
  constexpr int runs = 20;
  server_process node{{.arguments = {"--set", "limits.pattern_topics_max=3"}, .keeps_port = true}};
  auto acme = client_of(node);
  auto live = acme.subscribe("workflow.*");
  REQUIRE(live);
  for (int i = 0; i < runs; ++i)
    REQUIRE(acme.start("support", "no object", {.id = "w" + std::to_string(i)}));
  std::map<std::string, std::uint64_t> last;
  std::set<std::string> ended;
  while (ended.size() < runs) {
    const auto one = next_of(*live);
    CHECK(one.seq == ++last[one.topic]);
    if (one.what.type == "workflow.failed") ended.insert(one.topic);
  }
}

TEST_CASE("a subscription notices that its node stands still", "[e2e][client]") {
  server_process node{{.arguments = {"--set", "limits.ping_interval_ms=100"}, .keeps_port = true}};
  auto acme = client_of(node);
  REQUIRE(acme.publish("orders", order(1)));
  auto live = acme.subscribe("orders", {.from = "first", .retry_for = 0ms});
  REQUIRE(live);
  CHECK(next_of(*live).seq == 1);
  // Alive: its pings are heard.
  CHECK(live->next(1s)->has_value() == false);
  REQUIRE(::kill(node.pid(), SIGSTOP) == 0);
  const auto lost = live->next(20s);
  REQUIRE(::kill(node.pid(), SIGCONT) == 0);
  REQUIRE_FALSE(lost);
  CHECK(lost.error().code == "unreachable");
  REQUIRE(acme.publish("orders", order(2)));
  CHECK(next_of(*live).seq == 2);
}

TEST_CASE("a subscription tells of history that is gone, and goes on", "[e2e][client]") {
  server_process node{{.keeps_port = true}};
  auto acme = client_of(node);
  REQUIRE(acme.publish("orders", order(1)));
  auto old = acme.subscribe("orders", {.from = "0-0:7"});
  REQUIRE(old);
  const auto told = old->next(20s);
  REQUIRE_FALSE(told);
  CHECK(told.error().code == "gap");
  CHECK(next_of(*old).what.id == "o1");
}

TEST_CASE("a client says what it cannot do", "[e2e][client]") {
  CHECK(tenant_client::open({.server = "ftp://x"}).error().code == "bad_request");
  std::string url;
  {
    const server_process node;
    url = node.url();
    auto acme = client_of(node);
    CHECK(acme.result("nobody", 1s).error().code == "workflow_not_found");
    CHECK(acme.call("nobody", "x", "y", nullptr).error().code == "agent_not_found");
    CHECK(acme.complete("1.1.1.1.1").error().code == "lease_lost");
  }
  auto gone = tenant_client::open({.server = url});
  REQUIRE(gone);
  const auto tried = gone->publish("orders", order(1));
  REQUIRE_FALSE(tried);
  CHECK(tried.error().code == "unreachable");
  CHECK(tried.error().kind == callboard::failure_class::retryable);
  CHECK(gone->subscribe("orders").error().code == "unreachable");
}

TEST_CASE("a worker in C++ leases, extends, fails and completes", "[e2e][client]") {
  const server_process node;
  auto acme = client_of(node);
  CHECK(acme.lease("work", {.wait = 0ms})->empty());
  const auto task = acme.enqueue(
      "work", json(boost::json::object{{"n", 1}}), {.dedupe_key = "k", .attempts_max = 2});
  REQUIRE(task);
  CHECK(acme.enqueue("work", json(boost::json::object{{"n", 1}}), {.dedupe_key = "k"})->duplicate);
  auto leased = acme.lease("work", {.worker = "w1", .lease = 5s, .wait = 5s});
  REQUIRE(leased);
  REQUIRE(leased->size() == 1);
  const auto first = leased->front();
  CHECK(first.task == task->task);
  CHECK(first.attempt == 1);
  CHECK(first.lease_length == 5s);
  CHECK(first.payload == json(boost::json::object{{"n", 1}}));
  CHECK(acme.extend(first.lease, 9s));
  CHECK(acme.fail(first.lease, {.error = "not now", .retry_after = 10ms}));
  CHECK(acme.complete(first.lease, "late").error().code == "lease_lost");
  leased = acme.lease("work", {.wait = 10s});
  REQUIRE(leased);
  REQUIRE(leased->size() == 1);
  CHECK(leased->front().fencing > first.fencing);
  CHECK(acme.complete(leased->front().lease, json(boost::json::object{{"ok", true}})));
  CHECK(acme.lease("work", {.wait = 0ms})->empty());
}

TEST_CASE("a ticket from its intent to its end, with nothing but the client", "[e2e][client]") {
  chat_provider provider;
  provider.answer_with([](const chat_query& query) {
    return query.body.contains("one word") ? whole_reply("delivery")
                                           : streamed_reply({"So ", "it is."});
  });
  server_process node{
      {.arguments =
           {"--set",
            "models.order=main",
            "--set",
            "models.main.default_model=test-model",
            "--set",
            "models.main.use_proxy=false",
            "--set",
            "models.main.base_url=" + provider.base_url()},
       .keeps_port = true}};
  auto acme = client_of(node);
  const json question(boost::json::object{{"customer", "ada"}, {"question", "Where is it?"}});
  const auto begun = acme.start("support", question, {.id = "t1"});
  REQUIRE(begun);
  CHECK(begun->is_new);
  CHECK_FALSE(acme.start("support", question, {.id = "t1"})->is_new);
  CHECK(acme.start("support", 1, {.id = "t1"}).error().code == "workflow_exists");

  auto tasks = acme.lease("lookups", {.wait = 20s});
  REQUIRE(tasks);
  REQUIRE(tasks->size() == 1);
  CHECK(tasks->front().payload.at("customer") == json("ada"));
  CHECK(acme.complete(tasks->front().lease, json(boost::json::object{{"facts", "It comes."}})));

  auto channel = acme.subscribe("workflow.t1", {.from = "first"});
  REQUIRE(channel);
  while (next_of(*channel).what.type != "signal.awaited") {
  }
  CHECK(acme.result("t1", 10ms).error().code == "timeout");
  node.kill();
  // Asked while nobody is there, answered by the node that comes.
  std::thread person{[&] {
    node.start();
    auto kim = client_of(node);
    const auto sent = kim.signal(
        "t1", "approval", json(boost::json::object{{"approved", true}, {"by", "kim"}}), "once");
    CHECK(sent == false);
  }};
  const auto ended = acme.result("t1", 30s);
  person.join();
  REQUIRE(ended);
  CHECK(ended->status == "completed");
  CHECK_FALSE(ended->error);
  CHECK(ended->result.at("reply") == json("So it is."));
  while (next_of(*channel).what.type != "workflow.completed") {
  }
  CHECK(acme.signal("t1", "approval", true).error().code == "wrong_kind");
  CHECK(acme.cancel("t1") == "already_completed");

  CHECK(acme.call("desk", "ada", "open", "t2") == json(2));
  CHECK(acme.call("desk", "ada", "open", "t3", {.key = "m3"}) == json(3));
  CHECK(acme.call("desk", "ada", "open", "t3", {.key = "m3"}) == json(3));
  CHECK(acme.call("desk", "ada", "no such message", 1).error().code == "agent_failed");

  REQUIRE(acme.start("support", question, {.id = "t4"}));
  CHECK(acme.cancel("t4", "changed my mind"));
  CHECK(acme.result("t4", 20s)->status == "cancelled");
  REQUIRE(acme.start("support", "no object", {.id = "t5"}));
  const auto failed = acme.result("t5", 20s);
  REQUIRE(failed);
  CHECK(failed->status == "failed");
  REQUIRE(failed->error);
  CHECK(failed->error->kind == callboard::failure_class::bug);
}
