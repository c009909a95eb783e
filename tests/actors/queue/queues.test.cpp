// Task queues behind the router, on a journal in memory and a clock of the test.
#include "actors/queue_routing.hpp"

#include "tests/actors/queue/queue_client.hpp"

namespace callboard::testing {

namespace {

using text_list = std::vector<std::string>;

}  // namespace

TEST_CASE_METHOD(
    queue_client, "a task is leased once and is gone when it is completed", "[actors][queue]") {
  CHECK(push("q", "one") != push("q", "two"));
  const auto first = lease("q", 1);
  CHECK(payloads(first) == text_list{"one"});
  CHECK(first[0].attempt == 1);
  CHECK(payloads(lease("q", 5)) == text_list{"two"});
  CHECK(lease("q", 5).empty());
  CHECK(describe("q").leased == 2);
  (void)get<actors::done>(done_with(first[0]));
  CHECK(refusal(done_with(first[0])) == errc::lease_lost);
  CHECK(describe("q").leased == 1);
}

TEST_CASE_METHOD(queue_client, "a long poll is answered by an enqueue", "[actors][queue]") {
  const auto waiting = ask(take("q", 3, 20'000));
  settle();
  advance(2s);
  CHECK_FALSE(got.answered.contains(waiting));
  CHECK(describe("q").workers_waiting == 1);
  push("q", "one");
  // No time passes between the two.
  settle();
  REQUIRE(got.answered.contains(waiting));
  CHECK(payloads(of<actors::leased_tasks>(waiting).tasks) == text_list{"one"});
}

TEST_CASE_METHOD(queue_client, "a long poll ends with nothing in time", "[actors][queue]") {
  const auto waiting = ask(take("q", 3, 1000));
  settle();
  advance(900ms);
  CHECK_FALSE(got.answered.contains(waiting));
  advance(200ms);
  REQUIRE(got.answered.contains(waiting));
  CHECK(of<actors::leased_tasks>(waiting).tasks.empty());
}

TEST_CASE_METHOD(queue_client, "a lease that runs out passes to somebody else", "[actors][queue]") {
  push("q", "one");
  auto ask_first = take("q");
  ask_first.lease.lease_ms = 2000;
  const auto first = get<actors::leased_tasks>(ask_first).tasks;
  REQUIRE(first.size() == 1);
  advance(1500ms);
  actors::extend_lease extend{queue("q").tenant, {}};
  extend.extend.lease = first[0].lease;
  CHECK(get<runtime::lease_extended>(extend).lease_ms == 2000);
  advance(1900ms);
  CHECK(lease("q", 1).empty());
  advance(200ms);
  const auto second = lease("q", 1);
  REQUIRE(second.size() == 1);
  CHECK(second[0].attempt == 2);
  CHECK(second[0].fencing > first[0].fencing);
  CHECK(refusal(done_with(first[0])) == errc::lease_lost);
  CHECK(refusal(extend) == errc::lease_lost);
  (void)get<actors::done>(done_with(second[0]));
}

TEST_CASE_METHOD(
    queue_client, "a lease is nobody's in another tenant, and not a guess", "[actors][queue]") {
  push("q", "one");
  const auto first = lease("q", 1);
  REQUIRE(first.size() == 1);
  CHECK(refusal(done_with(first[0], "other")) == errc::lease_lost);
  auto forged = first[0];
  forged.lease.back() = forged.lease.back() == '0' ? '1' : '0';
  CHECK(refusal(done_with(forged)) == errc::lease_lost);
  forged.lease = "nonsense";
  CHECK(refusal(done_with(forged)) == errc::lease_lost);
  forged.lease = "ffff.1.1.1.1";
  CHECK(refusal(done_with(forged)) == errc::lease_lost);
  (void)get<actors::done>(done_with(first[0]));
}

TEST_CASE_METHOD(queue_client, "who leaves gives back what was leased", "[actors][queue]") {
  push("q", "one");
  CHECK(get<actors::leased_tasks>(take("q", 1, 0, "a")).tasks.size() == 1);
  const auto waiting = ask(take("q", 1, 20'000, "b"));
  settle();
  (void)get<actors::done>(actors::leave_queue{queue("q"), "a"});
  const auto got_it = of<actors::leased_tasks>(waiting).tasks;
  REQUIRE(got_it.size() == 1);
  CHECK(got_it[0].attempt == 2);
  // A waiting request leaves too.
  const auto idle = ask(take("q", 1, 20'000, "c"));
  settle();
  (void)get<actors::done>(actors::leave_queue{queue("q"), "c"});
  CHECK(of<actors::leased_tasks>(idle).tasks.empty());
  CHECK(describe("q").workers_waiting == 0);
}

TEST_CASE_METHOD(
    queue_client,
    "a task that fails too often is a dead letter, and driven again",
    "[actors][queue]") {
  (void)get<actors::queue_description>(actors::put_queue{
      .queue = queue("q"), .attempts_max = 2, .backoff_min_ms = 100, .backoff_max_ms = 100});
  const auto id = push("q", "one");
  for (int attempt = 1; attempt <= 2; ++attempt) {
    const auto tasks = lease("q", 1);
    REQUIRE(tasks.size() == 1);
    const auto told = get<runtime::task_failed>(failed(tasks[0]));
    CHECK(told.is_dead == (attempt == 2));
    advance(300ms);
  }
  CHECK(describe("q").dead == 1);
  const auto dead = get<actors::dead_list>(actors::list_dead{queue("q"), {}, {}, 10}).tasks;
  REQUIRE(dead.size() == 1);
  CHECK(dead[0].state.task.raw() == id);
  CHECK(dead[0].history.size() == 2);
  CHECK(dead[0].history.back().error == "no luck");
  actors::change_dead edit{queue("q"), {}};
  edit.change.what = runtime::dead_command::action::edit;
  edit.change.tasks = {runtime::task_id{id}};
  edit.change.payload = shared_bytes{std::string{"mended"}};
  CHECK(get<runtime::dead_changed>(edit).changed.size() == 1);
  const auto all =
      get<actors::dead_change_count>(actors::change_dead_where{.queue = queue("q"), .who = "ann"});
  CHECK(all.changed == 1);
  const auto again = lease("q", 1);
  CHECK(payloads(again) == text_list{"mended"});
  CHECK(again[0].attempt == 1);
  const auto told =
      get<actors::task_description>(actors::get_task{queue("q"), runtime::task_id{id}});
  CHECK(told.row.phase == runtime::task_phase::leased);
  CHECK(told.payload.view() == "mended");
}

TEST_CASE_METHOD(queue_client, "many dead letters are driven again in pages", "[actors][queue]") {
  constexpr std::uint32_t count = 1200;
  for (std::uint32_t i = 0; i < count; ++i)
    (void)ask(task("q", std::to_string(i)));
  settle();
  const auto tasks = lease("q", 1000);
  const auto rest = lease("q", 1000);
  REQUIRE(tasks.size() + rest.size() == count);
  for (const auto* list : {&tasks, &rest}) {
    for (const auto& one : *list)
      (void)ask(failed(one, false));
  }
  settle();
  CHECK(describe("q").dead == count);
  actors::change_dead_where some{.queue = queue("q"), .who = "ann"};
  some.filter.error_contains = "another";
  CHECK(get<actors::dead_change_count>(some).changed == 0);
  some.filter.error_contains = "luck";
  CHECK(get<actors::dead_change_count>(some).changed == count);
  CHECK(describe("q").dead == 0);
  CHECK(depth(describe("q")) == count);
}

TEST_CASE("one request changes so many dead letters and says if there are more") {
  config with;
  with.limits.dead_changes_max = 3;
  queue_client client{with};
  for (int i = 0; i < 7; ++i)
    client.push("q", std::to_string(i));
  for (const auto& one : client.lease("q", 7))
    (void)client.ask(queue_client::failed(one, false));
  client.settle();
  REQUIRE(client.describe("q").dead == 7);
  actors::change_dead_where all{.queue = queue_client::queue("q"), .who = "ann"};
  auto told = client.get<actors::dead_change_count>(all);
  CHECK(told.changed == 3);
  CHECK(told.more);
  CHECK(client.describe("q").dead == 4);
  all.what = runtime::dead_command::action::abandon;
  told = client.get<actors::dead_change_count>(all);
  CHECK(told.changed == 3);
  CHECK(told.more);
  told = client.get<actors::dead_change_count>(all);
  CHECK(told.changed == 1);
  CHECK_FALSE(told.more);
  CHECK(client.describe("q").dead == 0);
}

TEST_CASE_METHOD(queue_client, "queues are made, changed, listed and deleted", "[actors][queue]") {
  CHECK(refusal(actors::get_queue{queue("q")}) == errc::queue_not_found);
  const auto made =
      get<actors::queue_description>(actors::put_queue{.queue = queue("q"), .lease_ms = 5000});
  CHECK(made.created);
  CHECK(made.settings.lease_ms == 5000);
  const auto same =
      get<actors::queue_description>(actors::put_queue{.queue = queue("q"), .attempts_max = 9});
  CHECK_FALSE(same.created);
  CHECK(same.settings.lease_ms == 5000);
  CHECK(same.settings.attempts_max == 9);
  CHECK(
      refusal(actors::put_queue{.queue = queue("q"), .attempts_max = 0}) == errc::invalid_setting);
  push("a", "1");
  push("b", "1");
  auto list = get<actors::queue_list>(actors::list_queues{queue("q").tenant, "", 2});
  REQUIRE(list.queues.size() == 2);
  CHECK(list.queues[0].queue == "a");
  CHECK(depth(list.queues[0]) == 1);
  CHECK(list.next_after == "b");
  list = get<actors::queue_list>(actors::list_queues{queue("q").tenant, list.next_after, 2});
  REQUIRE(list.queues.size() == 1);
  CHECK(list.queues[0].settings.attempts_max == 9);
  CHECK(list.next_after.empty());
  const auto waiting = ask(take("q", 1, 20'000));
  settle();
  (void)get<actors::done>(actors::delete_queue{queue("q")});
  REQUIRE(got.answered.contains(waiting));
  CHECK_FALSE(got.answered.at(waiting));
  CHECK(refusal(actors::get_queue{queue("q")}) == errc::queue_not_found);
  CHECK(get<actors::queue_list>(actors::list_queues{queue("q").tenant, "", 9}).queues.size() == 2);
  push("q", "anew");
  CHECK(describe("q").settings.lease_ms == runtime::queue_settings{}.lease_ms);
}

TEST_CASE_METHOD(queue_client, "what one queue and one shard may have is set", "[actors][queue]") {
  settings.queues.waiters_max = 1;
  settings.queues.leases_max = 1;
  settings.queues.queues_per_shard_max = 1;
  push("q", "one");
  push("q", "two");
  CHECK(lease("q", 2).size() == 1);
  (void)ask(take("q", 1, 20'000));
  settle();
  CHECK(refusal(take("q", 1, 20'000)) == errc::overloaded);
  for (int i = 0; i < 1000 && settings.queues.queues_per_shard_max == 1; ++i) {
    const auto made = ask(actors::put_queue{.queue = queue("q" + std::to_string(i))});
    settle();
    REQUIRE(got.answered.contains(made));
    if (got.answered.at(made)) continue;
    CHECK(got.answered.at(made).error().code == errc::too_large);
    settings.queues.queues_per_shard_max = 2;
  }
  CHECK(settings.queues.queues_per_shard_max == 2);
}

TEST_CASE_METHOD(queue_client, "a queue at rest is forgotten and found again", "[actors][queue]") {
  push("q", "one");
  (void)get<actors::queue_description>(actors::put_queue{.queue = queue("q"), .lease_ms = 1000});
  advance(std::chrono::milliseconds{settings.topics.passivate_after_ms} + 1s);
  const auto tasks = lease("q", 1);
  CHECK(payloads(tasks) == text_list{"one"});
  CHECK(tasks[0].lease_ms == 1000);
  // With a lease out it stays, so that the lease ends.
  advance(std::chrono::milliseconds{settings.topics.passivate_after_ms} + 1s);
  CHECK(describe("q").leased == 0);
  CHECK(depth(describe("q")) == 1);
  CHECK(describe("q").oldest_ready_age_ms.value() > 1000);
  // Also in a list, where who waits is not known.
  push("empty", "one");
  (void)lease("empty", 1);
  const auto list = get<actors::queue_list>(actors::list_queues{queue("q").tenant, "", 9});
  REQUIRE(list.queues.size() == 2);
  CHECK_FALSE(list.queues[0].oldest_ready_age_ms);
  CHECK(list.queues[1].oldest_ready_age_ms.value() > 1000);
  CHECK_FALSE(list.queues[1].workers_waiting);
}

TEST_CASE_METHOD(queue_client, "the same dedupe key is the same task", "[actors][queue]") {
  auto ask_one = task("q", "one");
  ask_one.task.dedupe_key = "k";
  const auto first = get<runtime::enqueued_task>(ask_one);
  const auto again = get<runtime::enqueued_task>(ask_one);
  CHECK_FALSE(first.is_duplicate);
  CHECK(again.is_duplicate);
  CHECK(again.task == first.task);
}

TEST_CASE_METHOD(
    queue_client,
    "a node that stood still ends no lease that was answered in time",
    "[actors][queue]") {
  (void)get<actors::queue_description>(
      actors::put_queue{.queue = queue("q"), .lease_ms = 30'000, .attempts_max = 1});
  push("q", "one");
  const auto tasks = lease("q", 1);
  REQUIRE(tasks.size() == 1);
  advance(20s);
  tick(1h);
  settle();
  advance(5s);
  CHECK(describe("q").leased == 1);
  SECTION("what the worker sent counts") {
    (void)get<actors::done>(done_with(tasks[0]));
    CHECK(describe("q").dead == 0);
  }
  SECTION("it ends when it would have ended") {
    advance(6s);
    CHECK(describe("q").leased == 0);
    CHECK(describe("q").dead == 1);
  }
}

TEST_CASE_METHOD(queue_client, "a lease ends, too, where every tick is late", "[actors][queue]") {
  (void)get<actors::queue_description>(
      actors::put_queue{.queue = queue("q"), .lease_ms = 30'000, .attempts_max = 1});
  push("q", "one");
  REQUIRE(lease("q", 1).size() == 1);
  for (int i = 0; i < 15; ++i) {
    tick(5s);
    settle();
  }
  CHECK(describe("q").leased == 0);
  CHECK(describe("q").dead == 1);
}

// -- when the journal fails -------------------------------------------------------------------

TEST_CASE_METHOD(
    queue_client, "a failed append is told and the queue read again", "[actors][queue]") {
  push("q", "one");
  const auto tasks = lease("q", 1);
  REQUIRE(tasks.size() == 1);
  journal.fail_next({errc::outcome_unknown, "the fsync failed"});
  CHECK(refusal(done_with(tasks[0])) == errc::outcome_unknown);
  // The lease was recorded, so that its token is still good.
  (void)get<actors::done>(done_with(tasks[0]));
  CHECK(describe("q").leased == 0);
}

TEST_CASE_METHOD(queue_client, "what failed but is on disk counts", "[actors][queue]") {
  push("q", "one");
  const auto tasks = lease("q", 1);
  REQUIRE(tasks.size() == 1);
  journal.fail_next({errc::outcome_unknown, "the fsync failed"}, true);
  CHECK(refusal(done_with(tasks[0])) == errc::outcome_unknown);
  CHECK(refusal(done_with(tasks[0])) == errc::lease_lost);
  CHECK(describe("q").leased == 0);
}

TEST_CASE_METHOD(
    queue_client,
    "a long poll outlives a failed append, and no lease is given twice",
    "[actors][queue]") {
  push("q", "one");
  const auto first = lease("q", 1);
  REQUIRE(first.size() == 1);
  const auto waiting = ask(take("q", 1, 20'000, "patient"));
  settle();
  journal.fail_next({errc::outcome_unknown, "the fsync failed"});
  CHECK(refusal(task("q", "lost")) == errc::outcome_unknown);
  advance(1s);
  CHECK_FALSE(got.answered.contains(waiting));
  push("q", "two");
  const auto second = of<actors::leased_tasks>(waiting).tasks;
  CHECK(payloads(second) == text_list{"two"});
  CHECK(second[0].fencing > first[0].fencing);
  (void)get<actors::done>(done_with(first[0]));
}

TEST_CASE_METHOD(
    queue_client,
    "who leaves while a failed queue is to be read again gets nothing of it",
    "[actors][queue]") {
  push("q", "one");
  const auto held = lease("q", 1);
  REQUIRE(held.size() == 1);
  const auto waiting = ask(take("q", 1, 20'000, "gone"));
  settle();
  journal.fail_next({errc::outcome_unknown, "the fsync failed"});
  CHECK(refusal(task("q", "lost")) == errc::outcome_unknown);
  CHECK_FALSE(got.answered.contains(waiting));
  (void)get<actors::done>(actors::leave_queue{queue("q"), "gone"});
  advance(1s);
  REQUIRE(got.answered.contains(waiting));
  CHECK(of<actors::leased_tasks>(waiting).tasks.empty());
  push("q", "two");
  CHECK(payloads(lease("q", 1)) == text_list{"two"});
}

TEST_CASE_METHOD(
    queue_client,
    "two appends under way fail together, and what follows works",
    "[actors][queue]") {
  push("q", "held");
  const auto held = lease("q", 1);
  REQUIRE(held.size() == 1);
  const auto waiting = ask(take("q", 2, 20'000, "patient"));
  settle();
  journal.fail_next({errc::outcome_unknown, "the fsync failed"});
  std::vector<std::uint64_t> lost;
  for (const auto* payload : {"a", "b", "c"}) {
    lost.push_back(ask(task("q", payload)));
    run();
  }
  CHECK(journal.queued() == 2);
  settle();
  for (const auto id : lost) {
    REQUIRE(got.answered.contains(id));
    REQUIRE_FALSE(got.answered.at(id));
    CHECK(got.answered.at(id).error().code == errc::outcome_unknown);
  }
  advance(1s);
  CHECK_FALSE(got.answered.contains(waiting));
  CHECK(depth(describe("q")) == 0);
  push("q", "after");
  CHECK(payloads(of<actors::leased_tasks>(waiting).tasks) == text_list{"after"});
  (void)get<actors::done>(done_with(held[0]));
}

TEST_CASE_METHOD(queue_client, "a queue is deleted with work under way", "[actors][queue]") {
  push("q", "one");
  const auto held = lease("q", 1);
  REQUIRE(held.size() == 1);
  const auto done = ask(done_with(held[0]));
  const auto more = ask(task("q", "two"));
  const auto gone = ask(actors::delete_queue{queue("q")});
  const auto next = ask(task("q", "anew"));
  (void)of<actors::done>(gone);
  (void)of<runtime::enqueued_task>(next);
  for (const auto id : {done, more}) {
    REQUIRE(got.answered.contains(id));
    CHECK_FALSE(got.answered.at(id));
  }
  // A lease of the old queue is nothing in the new one.
  CHECK(refusal(done_with(held[0])) == errc::lease_lost);
  CHECK(payloads(lease("q", 5)) == text_list{"anew"});
}

TEST_CASE_METHOD(
    queue_client, "a queue whose deletion failed works on as it was", "[actors][queue]") {
  (void)get<actors::queue_description>(actors::put_queue{.queue = queue("q"), .lease_ms = 1000});
  push("q", "one");
  REQUIRE(lease("q", 1).size() == 1);
  const auto waiting = ask(take("q", 1, 20'000, "patient"));
  settle();
  journal.fail_next({errc::outcome_unknown, "the fsync failed"});
  CHECK(refusal(actors::delete_queue{queue("q")}) == errc::outcome_unknown);
  // Nobody was told that it is gone, and the lease that is out ends though nobody asks.
  CHECK_FALSE(got.answered.contains(waiting));
  advance(2s);
  REQUIRE(got.answered.contains(waiting));
  const auto again = of<actors::leased_tasks>(waiting).tasks;
  CHECK(payloads(again) == text_list{"one"});
  CHECK(again[0].attempt == 2);
}

TEST_CASE_METHOD(
    queue_client, "a queue that was deleted though that failed is gone", "[actors][queue]") {
  push("q", "one");
  const auto held = lease("q", 1);
  REQUIRE(held.size() == 1);
  const auto waiting = ask(take("q", 1, 20'000, "patient"));
  settle();
  journal.fail_next({errc::outcome_unknown, "the fsync failed"}, true);
  const auto gone = ask(actors::delete_queue{queue("q")});
  run();
  CHECK_FALSE(got.answered.contains(waiting));
  settle();
  REQUIRE(got.answered.contains(gone));
  CHECK(got.answered.at(gone).error().code == errc::outcome_unknown);
  REQUIRE(got.answered.contains(waiting));
  CHECK(got.answered.at(waiting).error().code == errc::queue_not_found);
  CHECK(refusal(actors::get_queue{queue("q")}) == errc::queue_not_found);
  CHECK(refusal(done_with(held[0])) == errc::lease_lost);
  CHECK(get<actors::queue_description>(actors::put_queue{.queue = queue("q")}).created);
  push("q", "anew");
  CHECK(payloads(lease("q", 5)) == text_list{"anew"});
  // Who waits for its tasks is told, and then nothing of it is left.
  advance(2s);
  const auto shard = shard_of_queue(actors::get_queue{queue("q")}, journal.shard_count());
  CHECK(
      std::ranges::count(
          journal.records(*shard), storage::record_kind::queue_deleted, &storage::record::kind)
      == 1);
}

TEST_CASE_METHOD(
    queue_client, "settings of a queue are what the journal has of them", "[actors][queue]") {
  REQUIRE(get<actors::queue_description>(actors::put_queue{.queue = queue("q")}).created);
  const bool is_kept = GENERATE(true, false);
  const auto waiting = ask(take("q", 1, 20'000, "patient"));
  settle();
  const auto before = describe("q").settings.attempts_max;
  journal.fail_next({errc::outcome_unknown, "the fsync failed"}, is_kept);
  CHECK(
      refusal(actors::put_queue{.queue = queue("q"), .attempts_max = 77}) == errc::outcome_unknown);
  CHECK(describe("q").settings.attempts_max == (is_kept ? 77 : before));
  CHECK_FALSE(got.answered.contains(waiting));
  push("q", "one");
  const auto tasks = of<actors::leased_tasks>(waiting).tasks;
  REQUIRE(tasks.size() == 1);
  CHECK(tasks[0].attempts_max == (is_kept ? 77 : before));
}

TEST_CASE_METHOD(
    queue_client, "who leaves while a queue may be deleted gets nothing of it", "[actors][queue]") {
  push("q", "one");
  REQUIRE(lease("q", 1).size() == 1);
  const auto waiting = ask(take("q", 1, 20'000, "gone"));
  settle();
  journal.fail_next({errc::outcome_unknown, "the fsync failed"});
  (void)ask(actors::delete_queue{queue("q")});
  run();
  (void)ask(actors::leave_queue{queue("q"), "gone"});
  advance(1s);
  CHECK(of<actors::leased_tasks>(waiting).tasks.empty());
}

TEST_CASE_METHOD(
    queue_client,
    "what a worker that leaves held is free once that can be written",
    "[actors][queue]") {
  const auto why =
      GENERATE(errc::storage_full, errc::outcome_unknown, errc::overloaded, errc::internal);
  push("q", "one");
  auto long_lease = take("q", 1, 0, "gone");
  long_lease.lease.lease_ms = 600'000;
  REQUIRE(get<actors::leased_tasks>(long_lease).tasks.size() == 1);
  const auto waiting = ask(take("q", 1, 500'000, "gone"));
  settle();
  const error refused{why, "not now", 10};
  if (why == errc::outcome_unknown) {
    journal.fail_next(refused);
  } else {
    journal.refuse_next(refused, 3);
  }
  const auto left = ask(actors::leave_queue{queue("q"), "gone"});
  run();
  CHECK_FALSE(got.answered.contains(left));
  (void)of<actors::done>(left);
  advance(1s);
  // Its long poll is over, whatever there is to tell of it.
  REQUIRE(got.answered.contains(waiting));
  const auto& answer = got.answered.at(waiting);
  if (answer) CHECK(std::get<actors::leased_tasks>(*answer).tasks.empty());
  const auto again = lease("q", 1);
  CHECK(payloads(again) == text_list{"one"});
  CHECK(again[0].attempt == 2);
}

TEST_CASE_METHOD(
    queue_client, "a queue rests while the journal of its shard cannot go on", "[actors][queue]") {
  push("q", "held");
  journal.refuse_activations(error{errc::io_error, "the disk is dead", 0});
  journal.lose_queued();
  std::vector<std::uint64_t> asked;
  for (const auto* payload : {"a", "b", "c"}) {
    asked.push_back(ask(task("q", payload)));
    run();
  }
  // No time passes.
  std::size_t rounds = 0;
  for (; rounds < 100 && journal.commit() > 0; ++rounds)
    run();
  CHECK(rounds < 10);
  journal.refuse_activations(std::nullopt);
  advance(5s);
  for (const auto one : asked)
    (void)of<runtime::enqueued_task>(one);
}

TEST_CASE_METHOD(queue_client, "a grant whose append failed is no lease", "[actors][queue]") {
  push("q", "one");
  journal.fail_next({errc::outcome_unknown, "the fsync failed"});
  const auto waiting = ask(take("q", 1, 5000));
  const auto tasks = of<actors::leased_tasks>(waiting).tasks;
  CHECK(payloads(tasks) == text_list{"one"});
  CHECK(tasks[0].attempt == 1);
  CHECK(describe("q").leased == 1);
}

TEST_CASE_METHOD(
    queue_client, "somebody else's failed append does not harm a queue", "[actors][queue]") {
  push("q", "one");
  const auto tasks = lease("q", 1);
  REQUIRE(tasks.size() == 1);
  // A topic of the same shard: names of queues and topics share their hash.
  publish("q", {"e1"});
  settle();
  journal.fail_next({errc::outcome_unknown, "the fsync failed"});
  publish("q", {"lost"});
  run();
  const auto done = ask(done_with(tasks[0]));
  const auto more = ask(task("q", "two"));
  (void)of<actors::done>(done);
  (void)of<runtime::enqueued_task>(more);
  CHECK(payloads(lease("q", 5)) == text_list{"two"});
}

TEST_CASE_METHOD(
    queue_client, "a full journal delays tasks, it does not lose them", "[actors][queue]") {
  push("q", "one");
  journal.refuse_next({errc::overloaded, "the queue is full"}, 3);
  const auto id = ask(task("q", "two"));
  settle();
  CHECK_FALSE(got.answered.contains(id));
  advance(1s);
  (void)of<runtime::enqueued_task>(id);
  CHECK(payloads(lease("q", 5)) == text_list{"one", "two"});
}

TEST_CASE_METHOD(
    queue_client, "a queue that may have been made is looked for until it can", "[actors][queue]") {
  const auto shard = shard_of_queue(actors::get_queue{queue("q")}, journal.shard_count());
  REQUIRE(shard);
  journal.fail_next({errc::outcome_unknown, "the fsync failed"}, true);
  journal.refuse_reads(*shard, error{errc::overloaded, "the store is being opened again", 100});
  CHECK(refusal(actors::put_queue{.queue = queue("q")}) == errc::outcome_unknown);
  // Made again it would be a second queue of this name.
  CHECK(refusal(actors::put_queue{.queue = queue("q")}) == errc::overloaded);
  journal.refuse_reads(*shard, std::nullopt);
  advance(500ms);
  CHECK_FALSE(get<actors::queue_description>(actors::put_queue{.queue = queue("q")}).created);
}

TEST_CASE_METHOD(queue_client, "a queue that could not be made is not there", "[actors][queue]") {
  journal.fail_next({errc::outcome_unknown, "the fsync failed"});
  CHECK(refusal(actors::put_queue{.queue = queue("q")}) == errc::outcome_unknown);
  CHECK(refusal(actors::get_queue{queue("q")}) == errc::queue_not_found);
  CHECK(get<actors::queue_description>(actors::put_queue{.queue = queue("q")}).created);
  journal.fail_next({errc::outcome_unknown, "the fsync failed"}, true);
  CHECK(refusal(actors::put_queue{.queue = queue("r")}) == errc::outcome_unknown);
  settle();
  CHECK(describe("r").queue == "r");
}

TEST_CASE_METHOD(queue_client, "a full disk stops enqueues, not completions", "[actors][queue]") {
  push("q", "one");
  const auto tasks = lease("q", 1);
  journal.refuse_next({errc::storage_full, "the disk is full"});
  CHECK(refusal(task("q", "two")) == errc::storage_full);
  (void)get<actors::done>(done_with(tasks.at(0)));
}

TEST_CASE_METHOD(queue_client, "a poll is told that the disk is full", "[actors][queue]") {
  push("q", "one");
  journal.fill_disk(true, true);
  CHECK(refusal(take("q", 1, 20'000)) == errc::storage_full);
  journal.fill_disk(false);
  CHECK(lease("q", 1).size() == 1);
}

TEST_CASE_METHOD(
    queue_client, "a poll ends with its wait, however often appends fail", "[actors][queue]") {
  push("q", "one");
  const auto waiting = ask(take("q", 1, 2000));
  for (int i = 0; i < 60 && !got.answered.contains(waiting); ++i) {
    journal.refuse_next({errc::io_error, "the disk does not answer"}, 10);
    advance(50ms);
  }
  REQUIRE(got.answered.contains(waiting));
  CHECK(got.answered.at(waiting).error().code == errc::io_error);
}

}  // namespace callboard::testing
