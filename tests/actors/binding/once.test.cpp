// A binding enqueues one task for an event, whatever the queue's dedupe window, wherever the node
// dies and however long it is away.
#include "actors/task_origin.hpp"

#include "tests/actors/binding/bound_node.hpp"

#include <fmt/format.h>

#include <set>
#include <string>

namespace callboard::testing {

using namespace actors;
using namespace std::chrono_literals;

namespace {

enum class worker : std::uint8_t { absent, quick };

constexpr const char* to_jobs = R"({"target":{"queue":{"queue":"jobs"}}})";

struct queue_node : bound_node {
  explicit queue_node(std::uint32_t window_s, const std::string& rule = to_jobs)
      : bound_node{config{}} {
    put_queue put{.queue = jobs()};
    put.dedupe_window_s = window_s;
    REQUIRE(broker.ask_now(put));
    bind(rule);
  }

  static queue_ref jobs() {
    return {tenant_name::parse("acme").value(), queue_name::parse("jobs").value()};
  }

  /// An event that is on disk.
  void hand_over(int n) {
    const sample_event event{.id = fmt::format("e{}", n), .type = "t", .subject = "s", .json = "1"};
    auto request = make_request(0, {"x"});
    request.events = {{sample_event::stored(event.event())}};
    const auto sent = broker.publish("orders", std::move(request));
    for (int i = 0; i < 20 && !broker.got.published.contains(sent); ++i)
      commit();
    REQUIRE(broker.got.published.contains(sent));
  }

  /// One group of appends.
  void commit() {
    broker.run();
    broker.journal.commit();
  }

  /// Leases what is there and completes it; neither need come to its end.
  void work() {
    if (!asked_) {
      lease_tasks ask{jobs(), {}};
      ask.lease.worker = "w";
      ask.lease.lease_ms = 1000;
      asked_ = broker.ask(ask);
      return;
    }
    const auto answer = broker.got.answered.find(*asked_);
    if (answer == broker.got.answered.end()) return;
    asked_.reset();
    if (!answer->second) return;
    for (const auto& one : std::get<leased_tasks>(*answer->second).tasks) {
      tasks.insert(one.task.raw());
      complete_task done{jobs().tenant, {}};
      done.complete.lease = one.lease;
      done.complete.result = "1";
      broker.ask(done);
    }
  }

  void die() {
    asked_.reset();
    broker.crash();
  }

  void work_until_nothing_is_left() {
    for (int i = 0; i < 200; ++i) {
      work();
      broker.tick(50ms);
      broker.settle();
    }
  }

  sequence floor() { return get<group_description>(get_group{binding()}).floor; }

  /// Those that were leased.
  std::set<std::uint64_t> tasks;

private:
  std::optional<std::uint64_t> asked_;
};

/// The event's place in the topic is 1.
enqueue_task as_the_binding(const queue_node& node, const std::string& epoch) {
  enqueue_task ask{node.jobs(), {}};
  ask.task.payload = shared_bytes{"1"};
  ask.task.origin = format_event_origin(
      {queue_node::binding().group, queue_node::binding().topic.topic, epoch, sequence{1}});
  return ask;
}

}  // namespace

TEST_CASE("an event's task is one task wherever the node dies", "[actors][binding]") {
  for (const std::uint32_t window_s : {0U, 60U}) {
    for (const auto who : {worker::absent, worker::quick}) {
      for (int commits = 0; commits < 12; ++commits) {
        INFO("window " << window_s << ", dies after commit " << commits);
        queue_node here{window_s};
        here.hand_over(1);
        for (int i = 0; i < commits; ++i) {
          if (who == worker::quick) here.work();
          here.commit();
        }
        // The outage is longer than the window.
        here.broker.tick(1h);
        here.die();
        here.work_until_nothing_is_left();
        CHECK(here.floor() == sequence{1});
        CHECK(here.tasks.size() == 1);
        const auto left = here.get<queue_description>(get_queue{queue_node::jobs()});
        CHECK(left.waiting == std::array<std::uint64_t, runtime::priority_count>{});
      }
    }
  }
}

TEST_CASE("an edited dead letter is one task wherever the node dies", "[actors][binding]") {
  const redrive_binding all{queue_node::binding(), {}, "ann"};
  const redrive_binding some{queue_node::binding(), {.type = "t"}, "ann"};
  const edit_binding_dead edit{queue_node::binding(), sequence{1}, "2", "ann"};
  enum class cut : std::uint8_t { edit, redrive_of_all, redrive_of_some };
  for (const auto what : {cut::edit, cut::redrive_of_all, cut::redrive_of_some}) {
    for (int commits = 0; commits < 12; ++commits) {
      INFO("cut " << static_cast<int>(what) << " after commit " << commits);
      queue_node here{0, R"({"target":{"workflow":{"type":"absent","id":"w"}}})"};
      here.hand_over(1);
      here.broker.advance(5s);
      REQUIRE(here.dead() == std::vector<std::uint64_t>{1});
      here.bind(to_jobs);
      if (what == cut::edit) here.broker.ask(edit);
      if (what == cut::redrive_of_all) here.broker.ask(all);
      if (what == cut::redrive_of_some) here.broker.ask(some);
      for (int i = 0; i < commits; ++i) {
        here.work();
        here.commit();
      }
      here.broker.tick(1h);
      here.die();
      here.work_until_nothing_is_left();
      // By then it may be none any more, or be being redriven.
      const auto edited = here.broker.ask(edit);
      here.work_until_nothing_is_left();
      REQUIRE(here.broker.got.answered.contains(edited));
      for (int i = 0; i < 3; ++i) {
        (void)here.get<binding_redrive>(i == 1 ? all : some);
        here.work_until_nothing_is_left();
        here.broker.advance(12s);
      }
      CHECK(here.dead().empty());
      CHECK(here.tasks.size() == 1);
    }
  }
}

TEST_CASE("a task is remembered for as long as its event may come again", "[actors][binding]") {
  queue_node here{0};
  const auto epoch = here.get<topic_description>(get_topic{queue_node::binding().topic}).epoch;
  // As from a binding whose event is not acked.
  const auto first = here.get<runtime::enqueued_task>(as_the_binding(here, epoch));
  CHECK_FALSE(first.is_duplicate);
  here.work_until_nothing_is_left();
  CHECK(here.tasks.size() == 1);
  here.broker.advance(30s);
  const auto again = here.get<runtime::enqueued_task>(as_the_binding(here, epoch));
  CHECK(again.is_duplicate);
  CHECK(again.task == first.task);
  SECTION("and no longer") {
    here.hand_over(1);
    here.work_until_nothing_is_left();
    CHECK(here.tasks.size() == 1);
    CHECK(here.floor() == sequence{1});
    here.broker.advance(12s);
    CHECK_FALSE(here.get<runtime::enqueued_task>(as_the_binding(here, epoch)).is_duplicate);
  }
  SECTION("nor when its binding is deleted") {
    REQUIRE(here.broker.ask_now(delete_binding{queue_node::binding()}));
    here.broker.advance(12s);
    CHECK_FALSE(here.get<runtime::enqueued_task>(as_the_binding(here, epoch)).is_duplicate);
  }
  SECTION("nor when its topic is made anew") {
    REQUIRE(here.broker.ask_now(delete_topic{queue_node::binding().topic}));
    here.broker.advance(12s);
    CHECK_FALSE(here.get<runtime::enqueued_task>(as_the_binding(here, epoch)).is_duplicate);
  }
}

TEST_CASE("nobody else's task has the dedupe key of a binding", "[actors][binding]") {
  queue_node here{60};
  enqueue_task ask{queue_node::jobs(), {}};
  ask.task.dedupe_key = "bind:b:1-2:1";
  const auto refused = here.broker.ask_now(ask);
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == errc::bad_request);
}

}  // namespace callboard::testing
