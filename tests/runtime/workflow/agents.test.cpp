// When an agent goes on as new: by the messages it has handled, the bytes of its history or what it
// does at once, and never otherwise than its record says.
#include "tests/runtime/workflow/scripted_run.hpp"
#include "tests/support/catch.hpp"

#include <algorithm>
#include <callboard/agent.hpp>
#include <callboard/saga.hpp>
#include <chrono>
#include <map>
#include <memory>

using namespace callboard;
using namespace callboard::runtime;
using namespace callboard::tests;

namespace {

struct tally : agent<tally, std::int64_t> {
  static constexpr std::string_view type = "tally";

  static void handlers(handler_table<tally>& on) { on.message("add", &tally::add); }

  flow<std::int64_t> add(context&, std::int64_t by) { co_return state() += by; }
};

/// Says and does much at once.
struct talker : agent<talker, std::int64_t> {
  static constexpr std::string_view type = "talker";

  static void handlers(handler_table<talker>& on) {
    on.message("fill", &talker::fill)
        .message("flood", &talker::flood)
        .message("doze", &talker::doze);
  }

  flow<std::string> fill(context&, std::size_t size) {
    ++state();
    co_return std::string(size, 'x');
  }

  flow<void> flood(context& ctx, std::int64_t updates) {
    ++state();
    for (std::int64_t i = 0; i < updates; ++i)
      co_await ctx.update(i).required();
  }

  flow<void> doze(context& ctx, json) { co_await ctx.sleep(std::chrono::hours{1}).required(); }
};

/// Its state is all that it was told.
struct hoarder : agent<hoarder, std::string> {
  static constexpr std::string_view type = "hoarder";

  static void handlers(handler_table<hoarder>& on) {
    on.message("add", &hoarder::add).message("show", &hoarder::show);
  }

  flow<void> add(context&, std::string text) {
    state() += text;
    co_return;
  }

  flow<std::string> show(context&, std::size_t size) { co_return std::string(size, 'x'); }
};

/// Fails as it is told: at once, or in a saga that cannot undo what it did.
struct refuser : agent<refuser, std::int64_t> {
  static constexpr std::string_view type = "refuser";

  static void handlers(handler_table<refuser>& on) {
    on.message("refuse", &refuser::refuse).message("undo", &refuser::undo);
  }

  flow<void> refuse(context&, std::size_t size) {
    failure why{failure_class::rate, "busy", "come back later", 5'000};
    if (size != 0) why.details = boost::json::serialize(json(std::string(size, 'x')));
    throw run_failed{std::move(why)};
    co_return;
  }

  flow<void> undo(context& ctx, json) {
    co_await run_saga(ctx, [](saga& undos) -> flow<void> {
      undos.compensate("release", [](context& inner) -> flow<void> {
        (void)co_await inner.signal("released").required();
      });
      throw run_failed{failure{failure_class::permanent, "sold_out", "none is left"}};
      co_return;
    });
  }
};

boost::json::object message_of(const std::string& id, const std::string& message, json payload) {
  return {
      {"id", id},
      {"message", message},
      {"payload", std::move(payload)},
      {"chain", boost::json::array{}}};
}

void say(
    scripted_run& run, const std::string& id, const std::string& message = "add", json with = 1) {
  run.signal(std::string{detail::agent_signal}, message_of(id, message, std::move(with)));
}

/// By message: the code of its failure, or nothing.
std::map<std::string, std::string> replies_of(const std::vector<run_event>& history) {
  std::map<std::string, std::string> replies;
  for (const auto& one : history) {
    if (one.kind != run_event_kind::issued || one.what != command_kind::reply) continue;
    const auto* error = one.data.as_object().if_contains("error");
    replies[std::string{one.data.at("id").as_string()}] =
        error == nullptr ? "" : std::string{error->at("code").as_string()};
  }
  return replies;
}

/// What its caller is told, as it stands in the record.
failure told(const scripted_run& run, std::string_view message) {
  for (const auto& one : run.history) {
    const bool is_reply = one.kind == run_event_kind::issued && one.what == command_kind::reply;
    if (is_reply && one.data.at("id").as_string() == message)
      return read_failure(one.data.at("error"));
  }
  FAIL("it has not replied");
  return {};
}

/// The next run of an agent, given all that its last one has not read.
std::unique_ptr<scripted_run> next_run(scripted_run& ended) {
  if (!ended.end || ended.end->status != run_status::continued) FAIL("it does not go on");
  auto next = std::make_unique<scripted_run>(talker::definition(), ended.end->result);
  for (auto& one : ended.engine->take_unread())
    next->feed(std::move(one));
  return next;
}

}  // namespace

TEST_CASE("an agent goes on as new when its history is long", "[workflow][agent]") {
  scripted_run run{tally::definition()};
  const auto limit = run_limits{}.agent_history_bytes;
  say(run, "m1");
  run.engine->note_history(limit - 1);
  say(run, "m2");
  CHECK_FALSE(run.end);
  run.engine->note_history(limit + 100);
  say(run, "m3");
  REQUIRE(run.end);
  CHECK(run.end->status == run_status::continued);
  CHECK(run.end->result.at("state") == 3);
  // Whoever replays it knows nothing of bytes.
  const auto commands = run.engine->commands();
  run.crash();
  CHECK_FALSE(run.engine->blocked());
  CHECK(run.engine->commands() == commands);
  CHECK(run.engine->open().empty());
}

TEST_CASE("an agent goes on as new when it has handled many messages", "[workflow][agent]") {
  scripted_run run{tally::definition()};
  const auto limit = run_limits{}.agent_messages;
  for (std::uint32_t i = 1; i < limit; ++i)
    say(run, "m" + std::to_string(i));
  CHECK_FALSE(run.end);
  say(run, "last");
  REQUIRE(run.end);
  CHECK(run.end->status == run_status::continued);
}

TEST_CASE("what would be written again does not make a history long", "[workflow][agent]") {
  const auto limit = run_limits{}.agent_history_bytes;
  const std::string text(limit, 'x');
  scripted_run run{tally::definition()};
  // One that waits for the message before it.
  run_event waits;
  waits.kind = run_event_kind::signalled;
  waits.name = "other";
  waits.data = boost::json::string{text};
  run.feed(std::move(waits));
  run.engine->note_history(limit + limit / 2);
  say(run, "m1");
  CHECK_FALSE(run.end);
  run.engine->note_history(3 * limit);
  say(run, "m2");
  CHECK(run.end);
}

TEST_CASE("an agent outlives a reply that is larger than all that a turn may say", "[agent]") {
  scripted_run run{talker::definition()};
  say(run, "m1", "fill", 2 * turn_bytes_max);
  CHECK(replies_of(run.history).at("m1") == "reply_too_large");
  const auto next = next_run(run);
  say(*next, "m2", "fill", 10);
  CHECK(replies_of(next->history).at("m2").empty());
  CHECK(next->engine->status() == 2);
}

TEST_CASE("an agent outlives a handler that does all that a turn may", "[agent]") {
  scripted_run run{talker::definition()};
  say(run, "m1", "flood", turn_commands_max);
  CHECK(replies_of(run.history).at("m1").empty());
  run.crash();
  REQUIRE_FALSE(run.engine->blocked());
  const auto next = next_run(run);
  say(*next, "m2", "flood", turn_commands_max + 1);
  CHECK(replies_of(next->history).at("m2") == "too_many_commands");
  const auto last = next_run(*next);
  say(*last, "m3", "flood", 1);
  CHECK(replies_of(last->history).at("m3").empty());
  CHECK(last->engine->status() == 2);
}

TEST_CASE("messages that an agent comes to at once are all handled", "[agent]") {
  constexpr std::size_t messages = 40;
  scripted_run run{talker::definition()};
  say(run, "m0", "doze", nullptr);
  for (std::size_t i = 1; i <= messages; ++i)
    say(run, "m" + std::to_string(i), "fill", 1 << 20);
  run.fire(run.engine->open().begin()->first);
  const auto unread = run.engine->unread_bytes();
  CHECK(unread != 0);
  run.crash();
  CHECK_FALSE(run.engine->blocked());
  CHECK(run.engine->unread_bytes() == unread);
  auto replies = replies_of(run.history);
  CHECK(replies.size() > 5);
  const auto next = next_run(run);
  replies.merge(replies_of(next->history));
  CHECK(replies.size() == messages + 1);
  CHECK(std::ranges::all_of(replies, [](const auto& one) { return one.second.empty(); }));
  CHECK(next->engine->status() == messages);
}

TEST_CASE("what an agent puts out for all that it has not read fits in a batch", "[agent]") {
  const auto code = talker::definition();
  auto who = scripted_run::identity();
  who.type = code.type;
  run_engine engine{code, who, 7};
  run_start start;
  auto first = make_started(start);
  first.data = nullptr;
  std::vector<run_event> inputs{std::move(first)};
  for (int i = 1; i <= 40; ++i) {
    run_event heard;
    heard.kind = run_event_kind::signalled;
    heard.name = detail::agent_signal;
    heard.data = message_of("m" + std::to_string(i), "fill", 1 << 20);
    inputs.push_back(std::move(heard));
  }
  const auto outputs = engine.deliver(inputs);
  REQUIRE(outputs.end);
  CHECK(outputs.end->status == run_status::continued);
  std::size_t bytes = 0;
  for (const auto& one : outputs.events)
    bytes += size_of(one.data);
  CHECK(bytes < turn_bytes_max);
  CHECK(engine.take_unread().size() > 30);
}

TEST_CASE("a state that could not be handed on is not kept", "[agent]") {
  run_limits limits;
  limits.result_bytes_max = 2000;
  scripted_run run{hoarder::definition(), {}, limits};
  say(run, "m1", "add", json(std::string(900, 'a')));
  say(run, "m2", "add", json(std::string(1200, 'b')));
  CHECK(replies_of(run.history).at("m2") == "state_too_large");
  CHECK(run.engine->status() == json(std::string(900, 'a')));
  say(run, "m3", "add", "c");
  const std::string kept = std::string(900, 'a') + 'c';
  CHECK(run.engine->status() == json(kept));
  // As it was told, whatever the limit is now.
  for (const auto now : {200UL, 1UL << 20U}) {
    limits.result_bytes_max = now;
    run.crash_under(limits);
    REQUIRE_FALSE(run.engine->blocked());
    CHECK(run.engine->status() == json(kept));
  }
}

TEST_CASE("an agent hands on what it was allowed to have", "[agent]") {
  run_limits limits;
  limits.result_bytes_max = 2000;
  scripted_run run{hoarder::definition(), {}, limits};
  say(run, "m1", "add", json(std::string(1900, 'a')));
  // Its last reply is remembered, too, and is larger than a state may be.
  run.engine->note_history(2 * limits.agent_history_bytes);
  say(run, "m2", "show", 100'000);
  REQUIRE(run.end);
  CHECK(run.end->status == run_status::continued);
  CHECK(run.end->result.at("state") == json(std::string(1900, 'a')));
  CHECK(run.end->result.at("recent").as_array().size() == 1);
}

TEST_CASE("what a handler fails with is told whole", "[workflow][agent]") {
  scripted_run run{refuser::definition()};
  say(run, "m1", "refuse", 0);
  CHECK(told(run, "m1") == failure{failure_class::rate, "busy", "come back later", 5'000, {}});
  say(run, "m2", "undo", nullptr);
  REQUIRE(run.engine->open().size() == 1);
  run.end_command(
      run.engine->open().begin()->first,
      std::unexpected{failure{failure_class::permanent, "lost", "nobody answers"}});
  const auto undone = told(run, "m2");
  CHECK(undone.code == "sold_out");
  CHECK(
      undone.details
      == R"({"not_undone":[{"step":"release","code":"lost","message":"nobody answers"}]})");
  // A record of it is read as it was written, also what an earlier version left out.
  run.crash();
  CHECK_FALSE(run.engine->blocked());
  CHECK(
      read_failure(json{{"class", "rate"}, {"code", "busy"}, {"message", "come back later"}})
      == failure{failure_class::rate, "busy", "come back later"});
}

TEST_CASE("details that a reply has no room for are left out", "[workflow][agent]") {
  run_limits limits;
  limits.reply_bytes_max = 1'000;
  scripted_run run{refuser::definition(), {}, limits};
  const failure told_alone{failure_class::rate, "busy", "come back later", 5'000, {}};
  say(run, "m1", "refuse", 500);
  CHECK(told(run, "m1").details.size() == 502);
  say(run, "m2", "refuse", 2'000);
  CHECK(told(run, "m2") == told_alone);
}
