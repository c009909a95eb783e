// When an agent goes on as new: by the messages it has handled, or the bytes of its history, and
// never otherwise than its record says.
#include "tests/runtime/workflow/scripted_run.hpp"
#include "tests/support/catch.hpp"

#include <callboard/agent.hpp>

using namespace callboard;
using namespace callboard::runtime;
using namespace callboard::tests;

namespace {

struct tally : agent<tally, std::int64_t> {
  static constexpr std::string_view type = "tally";

  static void handlers(handler_table<tally>& on) { on.message("add", &tally::add); }

  flow<std::int64_t> add(context&, std::int64_t by) { co_return state() += by; }
};

void say(scripted_run& run, const std::string& id) {
  run.signal(
      std::string{detail::agent_signal},
      boost::json::object{
          {"id", id}, {"message", "add"}, {"payload", 1}, {"chain", boost::json::array{}}});
}

}  // namespace

TEST_CASE("an agent goes on as new when its history is long", "[workflow][agent]") {
  scripted_run run{tally::definition()};
  const auto limit = run_limits{}.agent_history_bytes;
  say(run, "m1");
  run.engine->note_history(limit - 1);
  say(run, "m2");
  CHECK_FALSE(run.end);
  run.engine->note_history(limit);
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
