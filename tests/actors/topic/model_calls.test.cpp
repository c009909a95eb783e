// Model calls on a node that the test moves by hand: nobody asks a provider again without a record
// that says so, wherever the node is killed, and what nobody was asked is not recorded.
#include "model/chat_client.hpp"
#include "proto/event.pb.h"
#include "runtime/workflow/run_codec.hpp"

#include "tests/actors/topic/mortal_broker.hpp"

#include <algorithm>
#include <callboard/agent.hpp>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace callboard::testing {

namespace {

/// Answers when it is told to.
class patient_models final : public model::chat_calls {
public:
  result<model::call_id>
  start(const model::chat_request& request, model::chat_callbacks callbacks) override {
    if (auto found = find(request.provider, request.model); !found) {
      return std::unexpected{found.error()};
    }
    told_.push_back(std::move(callbacks));
    under_way_.insert(told_.size());
    return model::call_id{told_.size()};
  }

  result<void> find(const std::string& provider, const std::string&) const override {
    if (provider == lost)
      return callboard::fail(errc::not_found, "no model provider '" + lost + "'");
    return {};
  }

  void cancel(model::call_id id) override { under_way_.erase(id.raw()); }

  [[nodiscard]] std::size_t count() const { return told_.size(); }

  [[nodiscard]] std::set<std::uint64_t> under_way() const { return under_way_; }

  void say(std::uint64_t call, std::string_view text) {
    told_[call - 1].on_attempt(1);
    told_[call - 1].on_delta(1, 0, text);
  }

  /// Those of them that are still under way.
  void end(const std::set<std::uint64_t>& calls, const model::chat_outcome& with) {
    for (const auto call : calls)
      if (under_way_.erase(call) != 0) told_[call - 1].on_done(with);
  }

  void fail() { end(under_way(), std::unexpected{busy()}); }

  void answer() { end(under_way(), ok()); }

  static model::chat_result ok() {
    model::chat_result with;
    with.text = "ok";
    return with;
  }

  static model::failure busy() {
    model::failure why;
    why.kind = model::failure_kind::retryable;
    why.code = errc::overloaded;
    why.detail = "busy";
    return why;
  }

  /// A provider that the node is without.
  std::string lost = "none";

private:
  std::vector<model::chat_callbacks> told_;
  std::set<std::uint64_t> under_way_;
};

model_request question(std::uint32_t delay_ms) {
  model_request request;
  request.messages.emplace_back(user_message("hi"));
  request.retry = {.attempts_max = 9, .first_delay_ms = delay_ms, .delay_max_ms = delay_ms};
  return request;
}

struct asking_late_workflow : workflow<asking_late_workflow> {
  static constexpr std::string_view type = "test.asking_late";

  flow<json> run(context& ctx, std::uint32_t delay_ms) {
    co_return json((co_await ctx.model("greet", question(delay_ms)).required()).text);
  }
};

/// Answers when its task is done.
struct waiting_agent : agent<waiting_agent, std::int64_t> {
  static constexpr std::string_view type = "waiting";

  static void handlers(handler_table<waiting_agent>& on) { on.message("ask", &waiting_agent::ask); }

  flow<json> ask(context& ctx, json) { co_return co_await ctx.task("llm", 1).required(); }
};

struct asking_beside_workflow : workflow<asking_beside_workflow> {
  static constexpr std::string_view type = "test.asking_beside";

  static flow<json> ask(context& ctx) {
    co_return json((co_await ctx.model("greet", question(40'000)).required()).text);
  }

  flow<json> run(context& ctx, json) {
    std::vector<flow<json>> both;
    both.push_back(ask(ctx));
    both.push_back(ctx.call("waiting", "a", "ask", 1, {.timeout = 0ms}).required());
    const auto said = co_await all(std::move(both));
    co_return said.front();
  }
};

struct asking_widely_workflow : workflow<asking_widely_workflow> {
  static constexpr std::string_view type = "test.asking_widely";

  flow<json> run(context& ctx, std::size_t width) {
    std::vector<flow<json>> parts;
    for (std::size_t i = 0; i < width; ++i)
      parts.push_back(asking_beside_workflow::ask(ctx));
    co_return json((co_await all(std::move(parts))).size());
  }
};

/// Asks the provider `old` until it is told to go on, and then `new`.
struct asking_anew_workflow : workflow<asking_anew_workflow> {
  static constexpr std::string_view type = "test.asking_anew";

  static flow<json> ask(context& ctx, std::string provider) {
    auto request = question(1000);
    request.provider = std::move(provider);
    co_return json((co_await ctx.model("greet", std::move(request)).required()).text);
  }

  flow<json> run(context& ctx, std::string provider) {
    if (provider == "new") co_return co_await ask(ctx, provider);
    std::vector<flow<json>> parts;
    parts.push_back(ask(ctx, provider));
    parts.push_back(ctx.signal("go").required());
    co_await any(std::move(parts));
    co_return ctx.continue_as_new("new");
  }
};

struct models_holder {
  patient_models models;
};

struct asking_node : models_holder, mortal_broker {
  explicit asking_node(std::size_t life = SIZE_MAX) : mortal_broker{life, &models} {
    REQUIRE(code.add(asking_late_workflow::definition()));
    REQUIRE(code.add(waiting_agent::definition()));
    REQUIRE(code.add(asking_beside_workflow::definition()));
    REQUIRE(code.add(asking_widely_workflow::definition()));
    REQUIRE(code.add(asking_anew_workflow::definition()));
  }

  /// What the attempts came to, in their order.
  std::vector<std::string> attempts(const std::string& id) {
    std::vector<std::string> ends;
    const auto page = get<event_page>(
        read_events{.topic = channel(id), .from = runtime::from_first{}, .events_max = 1000});
    for (const auto& one : page.batch->events) {
      const auto event = runtime::decode_run_event(one);
      REQUIRE(event);
      const bool is_end = event->kind == runtime::run_event_kind::completed && event->attempt != 0;
      if (is_end) ends.emplace_back("completed");
      if (event->kind == runtime::run_event_kind::attempt_failed) ends.push_back(event->why->code);
    }
    return ends;
  }

  /// Without a commit, until somebody is asked or something is to be written.
  void wait_for_attempt() {
    const auto asked = models.count();
    for (int i = 0; i < 1000 && models.count() == asked && broker.journal.queued() == 0; ++i) {
      broker.tick(50ms);
      broker.run();
    }
  }

  /// Kills the node; it starts again once all that waits for its time is due.
  void sleep_through() {
    bool is_over = false;
    broker.journal.on_activation([&] {
      if (!std::exchange(is_over, true)) broker.time.advance(60s);
    });
    broker.crash();
    broker.journal.on_activation({});
    pass(2s);
  }
};

/// A page that somebody loads: sees what comes, and asks for what it lacks.
class page {
public:
  page(virtual_broker& broker, const topic_ref& channel)
      : broker_{broker}, viewer_{broker.system->spawn([this](caf::event_based_actor* self) {
          self->set_default_handler(caf::drop);
          return caf::behavior{
              [=](const boxed<relay_attached>&) {
                self->send(
                    caf::actor_cast<caf::actor>(self->current_sender()),
                    box(ask_snapshot{}),
                    caf::actor_cast<caf::actor>(self));
              },
              [this](boxed<deliver>& message) {
                for (const auto& one : message->batch->events) {
                  v1::Event event;
                  REQUIRE(event.ParseFromString(std::string{runtime::event_proto(one.stored)}));
                  shown.push_back(event.type());
                }
              }};
        })} {
    broker.router->attach({channel, 1000}, viewer_);
    broker.run();
  }

  ~page() {
    caf::anon_send_exit(viewer_, caf::exit_reason::user_shutdown);
    viewer_ = nullptr;
    broker_.run();
  }

  page(const page&) = delete;
  page& operator=(const page&) = delete;

  /// Types of events.
  std::vector<std::string> shown;

private:
  virtual_broker& broker_;
  caf::actor viewer_;
};

using types = std::vector<std::string>;

}  // namespace

TEST_CASE(
    "no attempt of a model call is made twice, wherever the node is killed",
    "[actors][workflow][model]") {
  bool was_killed = true;
  for (std::size_t life = 0; was_killed; ++life) {
    INFO("killed after " << life << " commits");
    REQUIRE(life < 100);
    asking_node node{life};
    node.begin("w", "test.asking_late", "40000");
    bool has_failed = false;
    for (int i = 0; i < 40 && !node.row("w").ended; ++i) {
      // Each is under way for so long that the row could follow meanwhile.
      const auto old = node.models.under_way();
      node.pass(3s);
      node.broker.journal.apply();
      if (has_failed) {
        node.models.end(old, patient_models::ok());
      } else {
        node.models.end(old, std::unexpected{patient_models::busy()});
        has_failed = !old.empty();
      }
    }
    was_killed = node.was_killed;
    CHECK(node.row("w").result == R"("ok")");
    const auto known = node.attempts("w");
    CHECK(node.models.count() <= known.size());
    CHECK(std::ranges::count(known, std::string{"interrupted"}) <= (was_killed ? 1 : 0));
  }
}

TEST_CASE("a late attempt begins once the row says so", "[actors][workflow][model]") {
  asking_node node;
  node.begin("w", "test.asking_late", "40000");
  node.pass(2s);
  node.models.fail();
  node.pass(5s);
  CHECK_FALSE(node.row("w").needs_wake);
  CHECK(node.row("w").unasked_models == std::vector<std::uint32_t>{1});
  node.broker.journal.apply();
  node.wait_for_attempt();
  REQUIRE(node.broker.journal.queued() == 1);
  CHECK(node.models.count() == 1);
  node.broker.journal.commit();
  node.wait_for_attempt();
  CHECK(node.models.count() == 2);
  CHECK(node.row("w").needs_wake);
  CHECK(node.row("w").unasked_models.empty());
  node.broker.crash();
  node.pass(2s);
  CHECK(node.models.count() == 3);
  CHECK(node.attempts("w") == std::vector<std::string>{"overloaded", "interrupted"});
}

TEST_CASE("an attempt that follows soon takes no commit of its own", "[actors][workflow][model]") {
  asking_node node;
  node.begin("w", "test.asking_late", "1000");
  node.pass(2s);
  REQUIRE(node.models.count() == 1);
  node.models.fail();
  node.broker.run();
  REQUIRE(node.broker.journal.queued() == 1);
  node.broker.journal.commit();
  node.wait_for_attempt();
  CHECK(node.models.count() == 2);
  CHECK(node.broker.journal.queued() == 0);
}

TEST_CASE("an attempt that nobody began is not interrupted", "[actors][workflow][model]") {
  const std::string what = GENERATE("alone", "beside a call", "of an earlier version");
  INFO(what);
  const bool is_beside = what == "beside a call";
  asking_node node;
  if (what == "of an earlier version") {
    node.broker.journal.on_write = [](storage::record_draft& draft) {
      if (draft.kind != storage::record_kind::workflow_progress) return;
      auto progress = runtime::decode_workflow_progress(draft.payload.view()).value();
      progress.row.unasked_models.clear();
      draft.payload = runtime::encode_workflow_progress(progress);
    };
  }
  node.begin("w", is_beside ? "test.asking_beside" : "test.asking_late", "40000");
  node.pass(2s);
  node.models.fail();
  node.pass(5s);
  REQUIRE(node.row("w").needs_wake == is_beside);
  node.sleep_through();
  CHECK(node.models.count() == 2);
  CHECK(node.attempts("w") == std::vector<std::string>{"overloaded"});
  node.models.answer();
  node.pass(2s);
  if (is_beside) node.complete_task();
  node.pass(2s);
  CHECK(node.row("w").result == R"("ok")");
}

TEST_CASE("nobody is asked while the disk is full", "[actors][workflow][model]") {
  asking_node node;
  node.begin("w", "test.asking_late", "40000");
  node.pass(2s);
  node.models.fail();
  node.pass(5s);
  node.broker.journal.apply();
  node.broker.journal.fill_disk(true);
  node.pass(60s);
  CHECK(node.models.count() == 1);
  node.broker.journal.fill_disk(false);
  node.pass(5s);
  CHECK(node.models.count() == 2);
}

TEST_CASE("many late attempts rest like one", "[actors][workflow][model]") {
  constexpr std::size_t width = 100;
  asking_node node;
  node.begin("w", "test.asking_widely", std::to_string(width));
  node.pass(2s);
  REQUIRE(node.models.count() == width);
  node.models.fail();
  node.pass(5s);
  CHECK_FALSE(node.row("w").needs_wake);
  CHECK(node.row("w").unasked_models.size() == width);
  node.sleep_through();
  CHECK(node.models.count() == 2 * width);
  CHECK(node.attempts("w") == std::vector<std::string>(width, "overloaded"));
  node.models.answer();
  node.pass(2s);
  CHECK(node.row("w").result == std::to_string(width));
}

TEST_CASE("a call of the next run is not the one that was cut", "[actors][workflow][model]") {
  asking_node node;
  node.begin("w", "test.asking_anew", R"("old")");
  node.pass(2s);
  REQUIRE(node.models.count() == 1);
  node.models.lost = "old";
  node.broker.crash();
  node.pass(2s);
  REQUIRE(node.models.count() == 1);
  node.signal("w", "go");
  node.pass(2s);
  CHECK(node.models.count() == 2);
  node.models.answer();
  node.pass(2s);
  CHECK(node.row("w").result == R"("ok")");
  CHECK(node.attempts("w") == std::vector<std::string>{"completed"});
}

TEST_CASE("who loads a page sees an answer until it is recorded", "[actors][workflow][model]") {
  asking_node node;
  const auto channel = mortal_broker::channel("w");
  node.begin("w", "test.asking_late", "40000");
  node.pass(2s);
  node.models.say(1, "half an ans");
  node.pass(100ms);
  CHECK(page{node.broker, channel}.shown == types{"model.snapshot"});
  node.broker.journal.fill_disk(true);
  node.models.fail();
  node.pass(10s);
  CHECK(page{node.broker, channel}.shown == types{"model.snapshot"});
  node.broker.journal.fill_disk(false);
  node.pass(5s);
  REQUIRE(node.attempts("w") == types{"overloaded"});
  CHECK(page{node.broker, channel}.shown.empty());
  node.broker.journal.apply();
  node.pass(60s);
  REQUIRE(node.models.count() == 2);
  node.models.say(2, "an answer");
  node.pass(100ms);
  node.models.answer();
  node.broker.run();
  REQUIRE(node.broker.journal.queued() == 1);
  // Nothing of it behind its end.
  const page late{node.broker, channel};
  node.pass(1s);
  CHECK(late.shown == types{"task.completed", "workflow.completed"});
}

}  // namespace callboard::testing
