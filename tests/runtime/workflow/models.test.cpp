// The command `model`: what is recorded of it, live and after a crash, and what the channel shows.
#include "proto/event.pb.h"
#include "runtime/workflow/attempt_end.hpp"
#include "runtime/workflow/model_events.hpp"

#include "tests/runtime/workflow/scripted_run.hpp"
#include "tests/support/catch.hpp"

#include <boost/json/parse.hpp>

#include <callboard/workflow.hpp>
#include <chrono>
#include <string>

namespace callboard {

using runtime::run_event_kind;
using runtime::run_status;
using tests::scripted_run;

namespace {

struct asking : workflow<asking> {
  static constexpr std::string_view type = "asking";

  flow<std::string> run(context& ctx, json) {
    model_request request;
    request.model = "big";
    request.messages.emplace_back(user_message("hi"));
    auto reply = co_await ctx.model("greet", std::move(request)).required();
    co_return reply.text;
  }
};

/// What `asking` became: a step of the same name.
struct stepping : workflow<stepping> {
  static constexpr std::string_view type = "asking";

  flow<std::string> run(context& ctx, json) {
    co_return co_await ctx.step("greet", [] { return std::string{"hello"}; }).required();
  }
};

v1::Event shown(const runtime::encoded_event& encoded) {
  v1::Event event;
  const auto bytes = runtime::event_proto(encoded.stored);
  REQUIRE(event.ParseFromArray(bytes.data(), static_cast<int>(bytes.size())));
  return event;
}

}  // namespace

TEST_CASE("a model call is recorded as one, without its question", "[workflow][model]") {
  scripted_run run{asking::definition()};
  const auto& issued = run.history.at(1);
  CHECK(issued.kind == run_event_kind::issued);
  CHECK(issued.what == command_kind::model);
  CHECK(issued.name == "greet");
  CHECK(issued.data == json({{"model", "big"}, {"messages", 1}}));
  const auto& open = run.engine->open().at(1);
  REQUIRE(open.request.question != nullptr);
  CHECK(open.request.question->messages.size() == 1);

  run.crash();
  // The question comes from the code again; the answer from the record.
  REQUIRE(run.engine->open().at(1).request.question != nullptr);
  run.answer_model(1, "hello");
  REQUIRE(run.end);
  CHECK(run.end->result == "hello");
  CHECK(run.decoded_history().at(2).attempt == 1);
}

TEST_CASE("attempts count on across crashes, interrupted ones apart", "[workflow][model]") {
  scripted_run run{asking::definition()};
  for (const auto code : {std::string_view{"overloaded"}, runtime::interrupted_code}) {
    run.end_attempt(1, std::unexpected{failure{.code = std::string{code}}});
  }
  CHECK(run.engine->open().at(1).attempt == 3);
  CHECK(run.engine->open().at(1).interruptions == 1);
  run.crash();
  CHECK(run.engine->open().at(1).attempt == 3);
  CHECK(run.engine->open().at(1).interruptions == 1);
  run.answer_model(1, "at last");
  CHECK(run.end->status == run_status::completed);
}

TEST_CASE("a model call outlives an outage of a minute unless it says otherwise", "[workflow]") {
  scripted_run run{asking::definition()};
  for (int i = 0; i < 200; ++i) {
    auto open = run.engine->open().at(1);
    std::chrono::milliseconds waited{0};
    for (;; ++open.attempt) {
      const auto event = runtime::event_of(
          {1, open.attempt, std::unexpected{failure{}}},
          open,
          "w" + std::to_string(i),
          time_ms{},
          {});
      if (event.kind == run_event_kind::failed) break;
      REQUIRE(event.kind == run_event_kind::attempt_failed);
      REQUIRE(event.due);
      waited += *event.due - time_ms{};
    }
    CHECK(open.attempt == 8);
    CHECK(waited >= std::chrono::seconds{60});
    CHECK(waited <= std::chrono::seconds{124});
  }
}

TEST_CASE("another command where a model call was recorded parks the run", "[workflow][model]") {
  scripted_run run{asking::definition()};
  run.crash_into(stepping::definition());
  REQUIRE(run.engine->blocked());
  CHECK(run.engine->blocked()->code == "command_differs");
  run.crash_into(asking::definition());
  CHECK_FALSE(run.engine->blocked());
  run.answer_model(1, "back");
  CHECK(run.end->result == "back");
}

TEST_CASE("a cancelled run gives up its model call", "[workflow][model]") {
  scripted_run run{asking::definition()};
  run.cancel();
  REQUIRE(run.end);
  CHECK(run.end->status == run_status::cancelled);
  CHECK(run.engine->open().empty());
}

TEST_CASE("an answer comes back from JSON as it was", "[workflow][model]") {
  model_reply reply;
  reply.text = "gr\xc3\xbc\xc3\x9f";
  reply.refusal = "no";
  reply.tool_calls = {{"c1", "price", R"({"item":"lamp"})"}};
  reply.finish_reason = "tool_calls";
  reply.usage = model_usage{1, 2, 3, 4, 5};
  reply.provider = "main";
  reply.model = "big-1";
  reply.response_id = "r1";
  CHECK(from_json<model_reply>(to_json(reply)) == reply);
  CHECK(from_json<model_reply>(to_json(model_reply{})) == model_reply{});
  const auto message = reply.message();
  CHECK(message.at("role") == "assistant");
  const auto& call = message.at("tool_calls").as_array().at(0);
  CHECK(call.at("function").at("arguments") == R"({"item":"lamp"})");
}

TEST_CASE("frames of a stream name their step, attempt and round", "[workflow][model]") {
  const auto run = scripted_run::identity();
  const runtime::model_piece piece{.command = 3, .name = "greet", .attempt = 2, .round = 4};
  const auto reset = shown(runtime::encode_model_reset(piece, run));
  CHECK(reset.type() == "model.reset");
  CHECK(reset.source() == "/workflows/w1");
  CHECK(
      boost::json::parse(reset.json())
      == json({{"step", 3}, {"name", "greet"}, {"attempt", 2}, {"round", 4}}));
  const auto delta = shown(runtime::encode_model_delta(piece, 7, "te\"xt", run));
  CHECK(delta.type() == "model.delta");
  CHECK(boost::json::parse(delta.json()).at("index") == 7);
  CHECK(boost::json::parse(delta.json()).at("text") == "te\"xt");
  const auto next = shown(runtime::encode_model_delta(piece, 8, "", run));
  CHECK(next.id() != delta.id());
  const auto snapshot = shown(runtime::encode_model_snapshot(piece, 7, "all", run));
  CHECK(snapshot.type() == "model.snapshot");
  CHECK(boost::json::parse(snapshot.json()).at("text") == "all");
  CHECK(snapshot.id() != delta.id());
}

}  // namespace callboard
