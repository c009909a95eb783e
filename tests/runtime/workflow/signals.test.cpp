// Signals that nobody has read, by the record alone; and values that mean the same in another
// spelling.
#include "runtime/workflow/canonical_json.hpp"
#include "runtime/workflow/run_limits.hpp"
#include "runtime/workflow/signal_ledger.hpp"

#include "tests/support/catch.hpp"

#include <boost/json/parse.hpp>

#include <string>

using namespace callboard;
using namespace callboard::runtime;

namespace {

run_event signal(std::string name, json payload = 1) {
  run_event event;
  event.kind = run_event_kind::signalled;
  event.name = std::move(name);
  event.data = std::move(payload);
  return event;
}

run_event
issued(std::uint32_t command, std::string name, command_kind what = command_kind::signal) {
  run_event event;
  event.kind = run_event_kind::issued;
  event.what = what;
  event.command = command;
  event.name = std::move(name);
  return event;
}

run_event ended(std::uint32_t command, run_event_kind how) {
  run_event event;
  event.kind = how;
  event.command = command;
  return event;
}

std::string canonical(std::string_view text) {
  return canonical_text(boost::json::parse(text));
}

}  // namespace

TEST_CASE("signals are unread until a command takes them", "[workflow][signals]") {
  signal_ledger ledger;
  CHECK_FALSE(ledger.take(signal("junk", "1234567890")));
  CHECK_FALSE(ledger.take(signal("go", "abc")));
  CHECK(ledger.unread_count() == 2);
  CHECK(ledger.unread_bytes() == 2 * unread_overhead + 4 + 12 + 2 + 5);
  CHECK_FALSE(ledger.take(issued(1, "go", command_kind::step)));
  CHECK(ledger.take(issued(2, "go")) == 2);
  CHECK(ledger.unread_count() == 1);
  CHECK(ledger.unread_bytes() == unread_overhead + 4 + 12);
}

TEST_CASE("the first command that waits for a signal gets it", "[workflow][signals]") {
  signal_ledger ledger;
  CHECK_FALSE(ledger.take(issued(4, "go")));
  CHECK_FALSE(ledger.take(issued(5, "go")));
  CHECK_FALSE(ledger.take(issued(6, "go")));
  // Its time is up; another goes on without it.
  CHECK_FALSE(ledger.take(ended(4, run_event_kind::timer_fired)));
  CHECK_FALSE(ledger.take(ended(6, run_event_kind::command_cancelled)));
  CHECK(ledger.take(signal("go")) == 5);
  CHECK_FALSE(ledger.take(signal("go")));
  CHECK(ledger.unread_count() == 1);
}

TEST_CASE("a command that is cancelled had no signal", "[workflow][signals]") {
  // Both signals were there before the code was: it saw the second name first, cancelled who waited
  // for the other, and asked for that again.
  signal_ledger ledger;
  CHECK_FALSE(ledger.take(signal("b")));
  CHECK_FALSE(ledger.take(signal("a", "long")));
  CHECK(ledger.take(issued(1, "a")) == 1);
  CHECK(ledger.take(issued(2, "b")) == 2);
  CHECK_FALSE(ledger.take(ended(1, run_event_kind::command_cancelled)));
  CHECK(ledger.unread_count() == 1);
  CHECK(ledger.unread_bytes() == unread_overhead + 1 + 6);
  CHECK(ledger.take(issued(3, "a")) == 3);
  CHECK(ledger.unread_bytes() == 0);
  // The next signal of the name is nobody's.
  CHECK_FALSE(ledger.take(signal("a")));
  CHECK(ledger.unread_count() == 1);
}

TEST_CASE("a signal goes on to who waits behind one that is cancelled", "[workflow][signals]") {
  signal_ledger ledger;
  CHECK_FALSE(ledger.take(issued(1, "a")));
  CHECK_FALSE(ledger.take(issued(2, "a")));
  // One turn: time is up for something else, the signal comes; and the code gives up on 1.
  CHECK_FALSE(ledger.take(ended(9, run_event_kind::timer_fired)));
  CHECK(ledger.take(signal("a")) == 1);
  CHECK(ledger.take(ended(1, run_event_kind::command_cancelled)) == 2);
  CHECK(ledger.unread_count() == 0);
  // What was given in an earlier turn is not taken back.
  CHECK_FALSE(ledger.take(signal("a")));
  CHECK_FALSE(ledger.take(ended(2, run_event_kind::command_cancelled)));
  CHECK(ledger.unread_count() == 1);
}

TEST_CASE("values that mean the same have one text", "[workflow][signals]") {
  CHECK(
      canonical(R"({"a":1,"b":{"d":[1,2],"c":null}})")
      == canonical(R"( {"b":{"c":null,"d":[1.0,2e0]},"a":1} )"));
  CHECK(canonical("-0.0") == canonical("0"));
  CHECK(canonical("18446744073709551615") != canonical("-1"));
  CHECK(canonical("[1,2]") != canonical("[2,1]"));
  CHECK(canonical("[[1],2]") != canonical("[[1,2]]"));
  CHECK(canonical("1.5") != canonical("1"));
  CHECK(canonical(R"("1")") != canonical("1"));
  CHECK(canonical(R"({"a":1})") != canonical(R"({"b":1})"));
  CHECK(hash_of_named("go", 1) != hash_of_named("stop", 1));
}
