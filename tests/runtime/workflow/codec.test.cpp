// Run events survive their stored form.
#include "runtime/workflow/recorded_builds.hpp"
#include "runtime/workflow/run_codec.hpp"
#include "runtime/workflow/run_row.hpp"

#include "tests/support/catch.hpp"

#include <algorithm>
#include <chrono>
#include <vector>

namespace callboard::runtime {

TEST_CASE("every kind of run event comes back from the channel as it was", "[workflow]") {
  run_identity run;
  run.workflow_id = "w1";
  run.correlation_id = "c1";
  run.run = 3;
  std::vector<run_event> all;
  const auto add = [&](run_event_kind kind) -> run_event& {
    all.emplace_back();
    all.back().kind = kind;
    return all.back();
  };
  run_start start;
  start.identity.type = "order";
  start.identity.version = 2;
  start.identity.run = 3;
  start.identity.mirror = "watch";
  start.seed = start.incarnation = 7;
  start.input = {{"n", 1}};
  start.build = "b1";
  start.is_cancelled = true;
  start.signals = {{"k1", 5}};
  all.push_back(make_started(start));
  for (auto what = command_kind::step; what <= command_kind::task;
       what = command_kind(static_cast<int>(what) + 1)) {
    // Which is the words of the code, and nothing else.
    if (what == command_kind::update) continue;
    auto& one = add(run_event_kind::issued);
    one.what = what;
    one.command = 3;
    one.name = "name \"quoted\"";
    one.data = {{"version", 2}};
    const bool has_due = what == command_kind::sleep || what == command_kind::call
                         || what == command_kind::task || what == command_kind::signal;
    if (has_due) one.due = time_ms{std::chrono::milliseconds{77}};
  }
  auto& update = add(run_event_kind::issued);
  update.what = command_kind::update;
  update.name = "update";
  update.command = 4;
  update.data = {{"data", {{"percent", 40}}}};
  auto& completed = add(run_event_kind::completed);
  completed.command = 5;
  completed.data = json{1, 2.5, "x", nullptr};
  auto& retried = add(run_event_kind::attempt_failed);
  retried.command = 5;
  retried.attempt = 2;
  retried.due = time_ms{std::chrono::milliseconds{88}};
  retried.why = failure{failure_class::rate, "slow_down", "wait", 1500};
  retried.is_deferred = true;
  auto& failed = add(run_event_kind::failed);
  failed.command = 5;
  failed.why = failure{failure_class::permanent, "no", "never"};
  add(run_event_kind::timer_fired).command = 9;
  auto& signal = add(run_event_kind::signalled);
  signal.name = "approve";
  signal.id = "k1";
  signal.data = {{"by", "Ann"}};
  add(run_event_kind::cancel_requested).data = "enough";
  add(run_event_kind::command_cancelled).command = 2;
  auto& done = add(run_event_kind::ended);
  done.status = run_status::completed;
  done.data = 42;
  auto& bad = add(run_event_kind::ended);
  bad.status = run_status::failed;
  bad.why = failure{failure_class::bug, "exception", "what", 0, R"({"n":1})"};
  bad.by_hand = {{"how", "terminated"}, {"who", "ann"}, {"reason", "enough"}};
  auto& next = add(run_event_kind::ended);
  next.status = run_status::continued;
  next.data = {{"left", 3}};
  add(run_event_kind::ended).status = run_status::cancelled;
  auto& blocked = add(run_event_kind::ended);
  blocked.status = run_status::blocked;
  blocked.why = failure{failure_class::bug, "command_differs", "it differs"};
  add(run_event_kind::parent_told);
  for (const auto* how : {"restarted", "forked"}) {
    auto& begun = add(run_event_kind::rerun);
    begun.name = how;
    begun.data = {{"who", "ann"}, {"from", {{"id", "w0"}, {"command", 3}}}};
  }
  all.push_back(make_parted({.seed = 9, .signals = 2, .build = "b2"}));
  all.push_back(make_build_changed("b2", 7));
  add(run_event_kind::unblocked);
  for (auto kind = run_event_kind::started; kind <= run_event_kind::parted;
       kind = run_event_kind(static_cast<int>(kind) + 1)) {
    INFO(static_cast<int>(kind));
    CHECK(std::ranges::find(all, kind, &run_event::kind) != all.end());
  }
  for (auto& one : all) {
    one.time = time_ms{std::chrono::milliseconds{1'700'000'000'123}};
    const auto stored = encode_run_event(one, run, 1).stored;
    // Its record may be of a later time.
    const auto back = decode_run_event({sequence{1}, one.time + std::chrono::seconds{1}, stored});
    INFO(static_cast<int>(one.kind) << ' ' << static_cast<int>(one.what));
    REQUIRE(back);
    CHECK(back->kind == one.kind);
    CHECK(back->what == one.what);
    CHECK(back->command == one.command);
    CHECK(back->name == one.name);
    CHECK(back->data == one.data);
    CHECK(back->why == one.why);
    CHECK(back->due == one.due);
    CHECK(back->attempt == one.attempt);
    CHECK(back->is_deferred == one.is_deferred);
    CHECK(back->id == one.id);
    CHECK(back->status == one.status);
    CHECK(back->by_hand == one.by_hand);
    CHECK(back->is_cancelled == one.is_cancelled);
    CHECK(back->time == one.time);
    CHECK(back->run == run.run);
  }
}

TEST_CASE("a start names all above it, and those of before named none", "[workflow]") {
  run_start start;
  start.parent_id = "p";
  start.parent_run = 2;
  start.parent_above = {"g", "f"};
  CHECK(read_started(make_started(start))->parent_above == start.parent_above);
  start.parent_above.clear();
  const auto event = make_started(start);
  CHECK_FALSE(event.data.at("parent").as_object().contains("above"));
  CHECK(read_started(event)->parent_above.empty());
}

TEST_CASE("what is no run event is refused", "[workflow]") {
  CHECK_FALSE(decode_run_event({sequence{1}, {}, shared_bytes{std::string(30, 'x')}}));
}

TEST_CASE("progress comes back from its record", "[workflow]") {
  workflow_progress progress;
  progress.channel = {tenant_name::trusted("acme"), topic_name::trusted("workflow.w1")};
  progress.row.type = "order";
  progress.row.version = 3;
  progress.row.status = run_status::failed;
  progress.row.started = time_ms{std::chrono::milliseconds{5}};
  progress.row.ended = time_ms{std::chrono::milliseconds{6}};
  progress.row.why = failure{failure_class::quota, "a", "b"};
  progress.row.needs_wake = true;
  progress.row.unasked_models = {2, 5};
  progress.set = {{time_ms{std::chrono::milliseconds{9}}, 4}};
  const auto back = decode_workflow_progress(encode_workflow_progress(progress).view());
  REQUIRE(back);
  CHECK(back->channel == progress.channel);
  CHECK(back->row.type == "order");
  CHECK(back->row.status == run_status::failed);
  CHECK(back->row.ended == progress.row.ended);
  CHECK(back->row.why == progress.row.why);
  CHECK(back->row.needs_wake);
  CHECK(back->row.unasked_models == progress.row.unasked_models);
  CHECK(back->set == progress.set);
  // As earlier versions wrote it.
  CHECK_FALSE(back->row.owes);
}

TEST_CASE("that the parent has cancelled comes back from its record", "[workflow]") {
  workflow_progress progress;
  progress.channel = {tenant_name::parse("acme").value(), topic_name::parse("workflow.w1").value()};
  const auto back = [&] {
    return decode_workflow_progress(encode_workflow_progress(progress).view()).value().row;
  };
  CHECK_FALSE(back().parent_cancelled);
  CHECK_FALSE(back().cancel_asked);
  progress.row.cancel_asked = run_cancel{"ada", ""};
  CHECK(back().cancel_asked == progress.row.cancel_asked);
  progress.row.parent_cancelled = true;
  CHECK(back().parent_cancelled);
}

TEST_CASE("what a run owes comes back from its record", "[workflow]") {
  workflow_progress progress;
  progress.channel = {tenant_name::trusted("acme"), topic_name::trusted("workflow.w1")};
  progress.row.owes.emplace();
  const auto back = [&] {
    return decode_workflow_progress(encode_workflow_progress(progress).view()).value().row.owes;
  };
  CHECK(back() == run_debts{});
  progress.row.owes = run_debts{
      {{run_debt::what::cancel_child, "kid", "1/2/ff/workflow.w1"},
       {run_debt::what::withdraw_task, "llm", "1/3/ff/workflow.w1"}},
      true};
  CHECK(back() == progress.row.owes);
}

TEST_CASE("timers are ordered by when they are due", "[workflow]") {
  const auto at = [](std::int64_t ms) {
    return timer_key({time_ms{std::chrono::milliseconds{ms}}, 1}, entity_id{5});
  };
  CHECK(at(255) < at(256));
  CHECK(at(1) < at(1'800'000'000'000));
  CHECK(timer_due(at(1'800'000'000'000)) == time_ms{std::chrono::milliseconds{1'800'000'000'000}});
}

}  // namespace callboard::runtime
