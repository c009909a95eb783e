// Templates: what they accept, what they make of an event, and that no text breaks them.
#include "runtime/binding/template_text.hpp"

#include "tests/runtime/binding/sample_event.hpp"
#include "tests/support/catch.hpp"

#include <random>

namespace callboard::runtime {

namespace {

using testing::sample_event;

std::string expanded(const std::string& text, sample_event from = {}) {
  const auto parsed = template_text::parse(text);
  if (!parsed) FAIL(parsed.error().detail);
  auto event = from.read();
  const auto out = parsed->expand(event);
  return out ? *out : "refused: " + out.error().detail;
}

}  // namespace

TEST_CASE("a template puts in what the event says", "[runtime][binding]") {
  const sample_event event{.json = R"({"order":{"id":"o-7","n":12,"big":18446744073709551615,
    "open":true},"lines":[{"sku":"a"},{"sku":"b"}]})"};
  CHECK(expanded("plain") == "plain");
  CHECK(expanded("") == "");
  CHECK(expanded("{id}/{source}/{type}/{subject}") == "e-1//shop/order.placed/customer-9");
  CHECK(expanded("order-{data.order.id}.x", event) == "order-o-7.x");
  CHECK(expanded("{data.order.n}", event) == "12");
  CHECK(expanded("{data.order.big}", event) == "18446744073709551615");
  CHECK(expanded("{data.order.open}", event) == "true");
  CHECK(expanded("{data.lines.1.sku}", event) == "b");
}

TEST_CASE("what an event does not say is refused by name", "[runtime][binding]") {
  const sample_event event{.subject = "", .json = R"({"a":{"b":null,"c":[1]},"l":[1]})"};
  CHECK(expanded("{subject}", event) == "refused: the event has no subject");
  CHECK(expanded("{data.x.y}", event) == "refused: the event has no data.x.y");
  CHECK(
      expanded("{data.a.b}", event)
      == "refused: data.a.b of the event is neither a text nor a number");
  CHECK(
      expanded("{data.a.c}", event)
      == "refused: data.a.c of the event is neither a text nor a number");
  CHECK(expanded("{data.l.1}", event) == "refused: the event has no data.l.1");
  CHECK(expanded("{data.l.x}", event) == "refused: the event has no data.l.x");
  CHECK(expanded("{data.a}", {.json = ""}) == "refused: the event has no data.a");
}

TEST_CASE("a template with a mistake is refused when it is made", "[runtime][binding]") {
  for (const auto* text :
       {"{",
        "}",
        "a{id",
        "a}b",
        "{{id}}",
        "{}",
        "{nothing}",
        "{data}",
        "{data.}",
        "{data..a}",
        "{data.a.}",
        "{ id }",
        "{id}}"}) {
    INFO(text);
    CHECK_FALSE(template_text::parse(text));
  }
  CHECK(template_text::parse(std::string(template_text::size_max, 'x')));
  CHECK_FALSE(template_text::parse(std::string(template_text::size_max + 1, 'x')));
}

TEST_CASE("any text is a template that expands or a mistake", "[runtime][binding]") {
  std::mt19937 random{20'261'126};
  constexpr std::string_view letters = "{}{}.adtid-x\x7f\xc3";
  std::size_t sound = 0;
  for (int round = 0; round < 20'000; ++round) {
    std::string text;
    for (auto length = random() % 14; length > 0; --length)
      text += letters[random() % letters.size()];
    if (random() % 4 == 0) text.insert(random() % (text.size() + 1), "{data.a}");
    const auto parsed = template_text::parse(text);
    if (!parsed) continue;
    ++sound;
    CHECK(parsed->str() == text);
    auto event = sample_event{.json = R"({"a":"v"})"}.read();
    const auto out = parsed->expand(event);
    if (out) CHECK(out->find_first_of("{}") == std::string::npos);
  }
  CHECK(sound > 1000);
}

}  // namespace callboard::runtime
