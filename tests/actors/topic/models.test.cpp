// Model calls of runs in a whole broker, with a client that says what a test lets it say: what is
// recorded, what the channel shows of it, and what happens to what comes too late.
#include "model/chat_client.hpp"
#include "proto/event.pb.h"
#include "runtime/workflow/run_codec.hpp"

#include "tests/actors/topic/broker_fixture.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/eventually.hpp"

#include <boost/json/parse.hpp>

#include <deque>
#include <mutex>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace callboard::testing {

using namespace actors;

namespace {

class fake_models final : public model::chat_calls {
public:
  struct asked {
    model::chat_request request;
    model::chat_callbacks told;
  };

  result<model::call_id>
  start(const model::chat_request& request, model::chat_callbacks callbacks) override {
    const std::lock_guard guard{mutex_};
    if (refusals_ > 0) {
      --refusals_;
      return std::unexpected{refusal_};
    }
    calls_.push_back({request, std::move(callbacks)});
    return model::call_id{calls_.size()};
  }

  result<void> find(const std::string&, const std::string&) const override {
    const std::lock_guard guard{mutex_};
    if (refusals_ > 0 && refusal_.code == errc::not_found) return std::unexpected{refusal_};
    return {};
  }

  void cancel(model::call_id id) override {
    const std::lock_guard guard{mutex_};
    cancelled_.insert(id.raw());
  }

  /// Waits for the call and gives it; 1, 2, 3…
  asked& call(std::size_t number) {
    REQUIRE(eventually([&] { return count() >= number; }));
    const std::lock_guard guard{mutex_};
    return calls_[number - 1];
  }

  [[nodiscard]] std::size_t count() const {
    const std::lock_guard guard{mutex_};
    return calls_.size();
  }

  [[nodiscard]] bool is_cancelled(std::size_t number) const {
    const std::lock_guard guard{mutex_};
    return cancelled_.contains(number);
  }

  void refuse(int times, error why = {errc::overloaded, "full", 1}) {
    const std::lock_guard guard{mutex_};
    refusals_ = times;
    refusal_ = std::move(why);
  }

private:
  mutable std::mutex mutex_;
  std::deque<asked> calls_;
  std::set<std::uint64_t> cancelled_;
  int refusals_ = 0;
  error refusal_;
};

struct asking_workflow : workflow<asking_workflow> {
  static constexpr std::string_view type = "test.asking";

  flow<std::string> run(context& ctx, json) {
    model_request request;
    request.messages.emplace_back(user_message("hi"));
    request.temperature = 0.5;
    request.retry = {.attempts_max = 2, .first_delay_ms = 1};
    auto reply = co_await ctx.model("greet", std::move(request)).required();
    co_return reply.text;
  }
};

struct asking_once_workflow : workflow<asking_once_workflow> {
  static constexpr std::string_view type = "test.asking_once";

  flow<std::string> run(context& ctx, json) {
    model_request request;
    request.messages.emplace_back(user_message("hi"));
    request.retry = retry_policy::once();
    auto reply = co_await ctx.model("greet", std::move(request)).required();
    co_return reply.text;
  }
};

/// A step that fails twice before it works.
struct stubborn_workflow : workflow<stubborn_workflow> {
  static constexpr std::string_view type = "test.stubborn";

  flow<std::uint32_t> run(context& ctx, json) {
    const retry_policy retry{.first_delay_ms = 1};
    co_return co_await ctx
        .step(
            "try",
            [](const step_attempt& attempt) -> outcome<std::uint32_t> {
              if (attempt.number < 3) return std::unexpected{failure{}};
              return attempt.number;
            },
            retry)
        .required();
  }
};

struct model_holder {
  fake_models models;
};

class model_fixture : public model_holder, public broker_fixture {
public:
  model_fixture() : broker_fixture{&models} {
    REQUIRE(workflows.add(asking_workflow::definition()));
    REQUIRE(workflows.add(asking_once_workflow::definition()));
    REQUIRE(workflows.add(stubborn_workflow::definition()));
  }

  void begin(const std::string& id, const std::string& type = "test.asking") {
    router->attach({topic("workflow." + id), 1000}, self());
    REQUIRE(ask(start_workflow{topic("workflow." + id), type, "1", {}, {}}));
  }

  std::string outcome_of(const std::string& id) {
    const auto told = ask(await_workflow{topic("workflow." + id), 10'000});
    REQUIRE(told);
    return std::get<workflow_answer>(*told).body;
  }

  /// With what each has failed.
  std::vector<std::string> recorded_attempts(const std::string& id) {
    const auto told =
        ask(read_events{.topic = topic("workflow." + id), .from = runtime::from_first{}});
    REQUIRE(told);
    std::vector<std::string> codes;
    for (const auto& one : std::get<event_page>(*told).batch->events) {
      const auto event = runtime::decode_run_event(one);
      REQUIRE(event);
      if (event->kind == runtime::run_event_kind::attempt_failed) codes.push_back(event->why->code);
    }
    return codes;
  }

  struct frame {
    std::string type;
    json data;
    bool is_stored = false;
  };

  /// The next event of the channel.
  frame next() {
    while (waiting_.empty()) {
      (*client)->receive(
          [&](boxed<deliver>& message) {
            channel_ = caf::actor_cast<caf::actor>((*client)->current_sender());
            for (const auto& one : message->batch->events) {
              v1::Event event;
              const auto bytes = runtime::event_proto(one.stored);
              REQUIRE(event.ParseFromArray(bytes.data(), static_cast<int>(bytes.size())));
              waiting_.push_back(
                  {event.type(), boost::json::parse(event.json()), one.seq.raw() != 0});
            }
          },
          caf::after(patience) >> [] { FAIL("an expected event did not come"); });
    }
    auto first = std::move(waiting_.front());
    waiting_.pop_front();
    return first;
  }

  /// Passes over others.
  frame next_of(std::string_view type) {
    for (;;) {
      auto one = next();
      if (one.type == type) return one;
    }
  }

  /// What somebody gets who joins now; the channel has been heard of before.
  void ask_snapshot() { caf::anon_send(channel_, box(actors::ask_snapshot{}), self()); }

private:
  std::deque<frame> waiting_;
  caf::actor channel_;
};

model::chat_result answer(const std::string& text) {
  model::chat_result out;
  out.text = text;
  out.model = "m";
  return out;
}

model::failure refusal(model::failure_kind kind) {
  model::failure out;
  out.kind = kind;
  out.code = errc::overloaded;
  out.detail = "busy";
  return out;
}

bool says(const std::string& text, std::string_view what) {
  return text.find(what) != std::string::npos;
}

}  // namespace

TEST_CASE_METHOD(model_fixture, "an answer is shown in few frames and recorded", "[model]") {
  begin("w1");
  auto& call = models.call(1);
  CHECK(call.request.messages.size() == 1);
  CHECK(call.request.temperature == 0.5);
  CHECK(call.request.idempotency_key.size() == 36);
  CHECK(call.request.tenant == "acme");
  call.told.on_attempt(1);
  std::string said;
  constexpr std::uint64_t pieces = 300;
  for (std::uint64_t i = 0; i < pieces; ++i) {
    const auto piece = std::to_string(i) + " ";
    said += piece;
    call.told.on_delta(1, i, piece);
  }
  call.told.on_done(answer(said));
  const auto reset = next_of("model.reset");
  CHECK_FALSE(reset.is_stored);
  CHECK(reset.data == json({{"step", 1}, {"name", "greet"}, {"attempt", 1}, {"round", 1}}));
  std::string shown;
  std::uint64_t frames = 0;
  for (;;) {
    const auto one = next();
    if (one.type == "task.completed") {
      CHECK(one.is_stored);
      CHECK(one.data.at("result").at("text").as_string() == said);
      CHECK(one.data.at("attempt") == 1);
      break;
    }
    REQUIRE(one.type == "model.delta");
    CHECK(one.data.at("index") == frames++);
    shown += one.data.at("text").as_string();
  }
  CHECK(shown == said);
  CHECK(frames < pieces / 2);
  CHECK(says(outcome_of("w1"), "completed"));
  CHECK_FALSE(models.is_cancelled(1));
}

TEST_CASE_METHOD(model_fixture, "a call that waits for its next request says why", "[model]") {
  begin("w1");
  auto& call = models.call(1);
  const auto explained = [&] {
    const auto told = ask(explain_workflow{topic("workflow.w1")});
    REQUIRE(told);
    return std::get<workflow_answer>(*told).body;
  };
  const auto soon = system_clock{}.boot() + std::chrono::seconds{8};
  call.told.on_pause(0, refusal(model::failure_kind::rate), soon);
  CHECK(says(explained(), "nobody was asked yet: busy; the next may begin from "));
  call.told.on_attempt(1);
  CHECK_FALSE(says(explained(), "request"));
  call.told.on_pause(
      1, refusal(model::failure_kind::rate), system_clock{}.boot() + std::chrono::seconds{8});
  CHECK(says(explained(), R"("request":{"number":1,"last_error":"busy","next_ms":)"));
  CHECK(says(explained(), "request 1 failed: busy; the next may begin from "));
  call.told.on_attempt(2);
  CHECK_FALSE(says(explained(), "request"));
  call.told.on_done(answer("at last"));
  CHECK(says(outcome_of("w1"), "completed"));
}

TEST_CASE_METHOD(model_fixture, "what an attempt says too late is dropped", "[model]") {
  begin("w1");
  auto& first = models.call(1);
  first.told.on_attempt(1);
  first.told.on_delta(1, 0, "old");
  CHECK(next_of("model.delta").data.at("text") == "old");
  first.told.on_done(std::unexpected{refusal(model::failure_kind::rate)});
  const auto failed = next_of("task.failed");
  CHECK(failed.data.at("final") == false);
  CHECK(failed.data.at("error").at("class") == "rate");
  auto& second = models.call(2);
  CHECK(second.request.idempotency_key == first.request.idempotency_key);
  second.told.on_attempt(1);
  first.told.on_attempt(2);
  first.told.on_delta(2, 0, "late");
  first.told.on_done(answer("too late"));
  second.told.on_delta(1, 0, "new");
  auto frame = next_of("model.reset");
  CHECK(frame.data.at("attempt") == 2);
  frame = next();
  CHECK(frame.data.at("text") == "new");
  // The client asks again within the attempt.
  second.told.on_attempt(2);
  second.told.on_delta(2, 0, "newest");
  frame = next();
  CHECK(frame.type == "model.reset");
  CHECK(frame.data.at("round") == 2);
  CHECK(next().data.at("text") == "newest");
  second.told.on_done(answer("newest"));
  CHECK(next_of("task.completed").data.at("attempt") == 2);
  CHECK(says(outcome_of("w1"), R"("result":"newest")"));
}

TEST_CASE_METHOD(model_fixture, "who joins late gets the text so far", "[model]") {
  begin("w1");
  auto& call = models.call(1);
  call.told.on_attempt(1);
  REQUIRE(next_of("model.reset").data.at("round") == 1);
  // Nothing was said yet.
  ask_snapshot();
  CHECK(next().type == "model.reset");
  const auto explained = ask(explain_workflow{topic("workflow.w1")});
  REQUIRE(explained);
  CHECK(says(std::get<workflow_answer>(*explained).body, "a model's answer to 'greet'"));
  call.told.on_delta(1, 0, "one ");
  CHECK(next_of("model.delta").data.at("index") == 0);
  call.told.on_delta(1, 1, "two ");
  CHECK(next_of("model.delta").data.at("index") == 1);
  ask_snapshot();
  const auto snapshot = next();
  CHECK(snapshot.type == "model.snapshot");
  CHECK_FALSE(snapshot.is_stored);
  CHECK(snapshot.data.at("text") == "one two ");
  CHECK(snapshot.data.at("index") == 1);
  CHECK(snapshot.data.at("attempt") == 1);
  call.told.on_delta(1, 2, "three");
  CHECK(next().data.at("index") == 2);
  call.told.on_done(answer("one two three"));
  CHECK(next().type == "task.completed");
  CHECK(next().type == "workflow.completed");
  // Nothing of it after its result.
  ask_snapshot();
  CHECK(says(outcome_of("w1"), "completed"));
}

TEST_CASE_METHOD(model_fixture, "attempts end where the policy says", "[model]") {
  begin("w1");
  models.call(1).told.on_done(std::unexpected{refusal(model::failure_kind::retryable)});
  models.call(2).told.on_done(std::unexpected{refusal(model::failure_kind::retryable)});
  CHECK(says(outcome_of("w1"), R"("class":"retryable")"));
  begin("w2");
  models.call(3).told.on_done(std::unexpected{refusal(model::failure_kind::quota)});
  CHECK(says(outcome_of("w2"), R"("class":"quota")"));
  CHECK(models.count() == 3);
}

TEST_CASE_METHOD(model_fixture, "a time that a provider names outlives the node", "[model]") {
  begin("w1");
  auto& call = models.call(1);
  CHECK(call.request.wait_max == std::chrono::minutes{1});
  auto limited = refusal(model::failure_kind::rate);
  limited.retry_after = std::chrono::minutes{2};
  call.told.on_done(std::unexpected{limited});
  CHECK(next_of("task.failed").data.at("deferred") == true);
  restart();
  const auto told = ask(explain_workflow{topic("workflow.w1")});
  REQUIRE(told);
  CHECK(says(std::get<workflow_answer>(*told).body, R"("deferrals":1)"));
  CHECK(models.count() == 1);
  CHECK(recorded_attempts("w1") == std::vector<std::string>{"overloaded"});
  // Whose policy would fail for it has the call wait.
  begin("w2", "test.asking_once");
  CHECK_FALSE(models.call(2).request.wait_max);
}

TEST_CASE_METHOD(model_fixture, "a full queue is asked again", "[model]") {
  models.refuse(2);
  begin("w1");
  models.call(1).told.on_done(answer("ok"));
  CHECK(says(outcome_of("w1"), R"("result":"ok")"));
}

TEST_CASE_METHOD(model_fixture, "a call waits for a provider that the node has lost", "[model]") {
  const error missing{errc::not_found, "no model provider 'main'"};
  begin("w1");
  CHECK(models.call(1).request.provider.empty());
  models.refuse(1'000'000, missing);
  restart();
  const auto explained = [&] {
    const auto told = ask(explain_workflow{topic("workflow.w1")});
    return told ? std::get<workflow_answer>(*told).body : std::string{};
  };
  CHECK(eventually([&] { return says(explained(), "provider_missing"); }));
  CHECK(says(explained(), R"("status":"running")"));
  models.refuse(0);
  restart();
  models.call(2).told.on_done(answer("after all"));
  CHECK(says(outcome_of("w1"), R"("result":"after all")"));
  // What nobody has ever taken is the code's mistake.
  models.refuse(1, missing);
  begin("w2");
  CHECK(says(outcome_of("w2"), R"("code":"not_found")"));
}

TEST_CASE_METHOD(
    model_fixture, "a node that cannot ask records no attempt that it began", "[model]") {
  begin("w1");
  CHECK(models.call(1).request.provider.empty());
  models.refuse(1'000'000, {errc::not_found, "no model provider 'main'"});
  for (int starts = 0; starts < 3; ++starts) {
    restart();
    const auto explained = [&] {
      const auto told = ask(explain_workflow{topic("workflow.w1")});
      return told ? std::get<workflow_answer>(*told).body : std::string{};
    };
    CHECK(eventually([&] { return says(explained(), "provider_missing"); }));
    CHECK(recorded_attempts("w1").empty());
  }
  models.refuse(0);
  restart();
  models.call(2).told.on_done(answer("after all"));
  CHECK(says(outcome_of("w1"), R"("result":"after all")"));
  CHECK(recorded_attempts("w1") == std::vector<std::string>{"interrupted"});
}

TEST_CASE_METHOD(
    model_fixture, "a call that is wrong in itself fails, whoever took it before", "[model]") {
  begin("w1");
  CHECK(models.call(1).request.provider.empty());
  models.refuse(1'000'000, {errc::bad_request, "a model call needs messages"});
  restart();
  CHECK(says(outcome_of("w1"), R"("code":"bad_request")"));
}

TEST_CASE_METHOD(model_fixture, "cancelling a run ends its call", "[model]") {
  begin("w1");
  auto& call = models.call(1);
  call.told.on_attempt(1);
  REQUIRE(ask(cancel_workflow{topic("workflow.w1"), "enough"}));
  CHECK(says(outcome_of("w1"), "cancelled"));
  CHECK(models.is_cancelled(1));
  call.told.on_done(answer("nobody hears it"));
  CHECK(says(outcome_of("w1"), "cancelled"));
}

TEST_CASE_METHOD(model_fixture, "a call is begun again where the run goes on", "[model]") {
  begin("w1");
  auto key = models.call(1).request.idempotency_key;
  // Interrupted attempts do not use up those of the policy.
  for (std::size_t i = 1; i <= 3; ++i) {
    restart();
    CHECK(models.is_cancelled(i));
    CHECK(models.call(i + 1).request.idempotency_key == key);
  }
  models.call(4).told.on_done(std::unexpected{refusal(model::failure_kind::retryable)});
  models.call(5).told.on_done(answer("at last"));
  CHECK(says(outcome_of("w1"), R"("result":"at last")"));
}

TEST_CASE_METHOD(model_fixture, "a step that failed is tried again without a restart", "[model]") {
  begin("w1", "test.stubborn");
  CHECK(says(outcome_of("w1"), R"("result":3)"));
}

}  // namespace callboard::testing
