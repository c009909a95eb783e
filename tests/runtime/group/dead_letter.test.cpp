#include "runtime/group/dead_letter.hpp"

#include "base/hash.hpp"
#include "proto/event.pb.h"
#include "runtime/binding/binding_names.hpp"

#include "tests/support/catch.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <string>

namespace callboard::runtime {

namespace {

dead_letter letter_of(const v1::Event& event) {
  dead_letter letter;
  std::string stored(event_prefix_size, '\0');
  event.AppendToString(&stored);
  letter.event.seq = sequence{42};
  letter.event.stored = shared_bytes{stored};
  letter.attempts = 2;
  letter.history = {
      {1, time_ms{std::chrono::milliseconds{5}}, "w-1", "hold_expired", ""},
      {2, time_ms{std::chrono::milliseconds{6}}, "w-2", "nack", "a \"quoted\"\nline"}};
  return letter;
}

v1::Event decoded(const encoded_event& event) {
  v1::Event back;
  const auto proto = event_proto(event.stored);
  REQUIRE(back.ParseFromArray(proto.data(), static_cast<int>(proto.size())));
  return back;
}

}  // namespace

TEST_CASE("a dead letter keeps the event and tells how it died", "[runtime][group]") {
  v1::Event event;
  event.set_id("order-1");
  event.set_source("/shop");
  event.set_type("order.placed");
  event.set_subject("customer-9");
  event.set_json(R"({"total":1.50})");
  auto& extension = *event.add_extensions();
  extension.set_name("traceparent");
  extension.set_text("00-aa");
  const dead_letter_origin origin{
      {tenant_name::trusted("acme"), topic_name::trusted("orders")},
      "7-1",
      group_name::trusted("billing")};
  const auto made = make_dead_letter(letter_of(event), origin);
  REQUIRE(made);
  const auto back = decoded(*made);
  CHECK(back.id() == "7-1.42.billing.dead");
  CHECK(back.source() == "/shop");
  CHECK(back.type() == "order.placed");
  CHECK(back.subject() == "customer-9");
  CHECK(back.json() == R"({"total":1.50})");
  std::map<std::string, std::string> texts;
  for (const auto& one : back.extensions())
    texts[one.name()] = one.text();
  CHECK(texts.at("deadletterid") == "order-1");
  CHECK(texts.at("deadlettertopic") == "orders");
  CHECK(texts.at("deadlettergroup") == "billing");
  CHECK(texts.at("deadletterseq") == "42");
  CHECK(texts.at("traceparent") == "00-aa");
  CHECK(
      texts.at("deadletterhistory")
      == R"([{"attempt":1,"delivered_ms":5,"member":"w-1","outcome":"hold_expired","error":""},)"
         R"({"attempt":2,"delivered_ms":6,"member":"w-2","outcome":"nack",)"
         R"("error":"a \"quoted\"\u000aline"}])");
  CHECK(made->identity() == event_identity("/shop", back.id()));
  CHECK(made->content() == hash_64(event_proto(made->stored)));
  // The same letter again is the same bytes: publishing it twice is harmless.
  CHECK(make_dead_letter(letter_of(event), origin)->stored == made->stored);
}

TEST_CASE("a dead letter can be read whatever its attempts say", "[runtime][group]") {
  v1::Event event;
  event.set_id("order-1");
  auto letter = letter_of(event);
  letter.history[1].error = "half a character: \xc3";
  const auto made = make_dead_letter(letter, {{}, "7-1", group_name::trusted("billing")});
  REQUIRE(made);
  const auto back = decoded(*made);
  const auto history = std::ranges::find(
      back.extensions(), std::string_view{"deadletterhistory"}, &v1::Extension::name);
  REQUIRE(history != back.extensions().end());
  CHECK(history->text().contains("half a character: \ufffd"));
}

TEST_CASE("a letter that dies again tells of all its attempts", "[runtime][group]") {
  v1::Event event;
  event.set_id("order-1");
  event.set_source("/shop");
  const auto binding = binding_group("start").value();
  const tenant_name acme = tenant_name::trusted("acme");
  const dead_letter_origin first{{acme, topic_name::trusted("orders")}, "7-1", binding};
  const auto once = make_dead_letter(letter_of(event), first);
  REQUIRE(once);
  const auto texts_of = [](const v1::Event& letter) {
    std::map<std::string, std::string> texts;
    for (const auto& one : letter.extensions())
      texts[one.name()] = one.has_text() ? one.text() : std::to_string(one.integer());
    return texts;
  };
  const auto key = texts_of(decoded(*once)).at("deadletterkey");
  const dead_letter_origin again{
      {acme, binding_dead_topic(first.topic.topic, binding)}, "8-1", redrive_group(binding)};
  auto letter = decoded(*once);
  for (std::uint32_t deaths = 2; deaths <= 40; ++deaths) {
    const auto made = make_dead_letter(letter_of(letter), again);
    REQUIRE(made);
    letter = decoded(*made);
    const auto texts = texts_of(letter);
    CHECK(texts.at("deadletterkey") == key);
    CHECK(texts.at("deadletterattempts") == std::to_string(2 * deaths));
    const auto& history = texts.at("deadletterhistory");
    std::size_t attempts = 0;
    for (auto at = history.find("delivered_ms"); at != std::string::npos;
         at = history.find("delivered_ms", at + 1))
      ++attempts;
    CHECK(attempts == std::min<std::size_t>(2 * deaths, attempt_history_max));
    // Each pair of attempts says by which redrive it came, so that no two look the same.
    const auto nth = [](std::uint32_t attempt, std::uint32_t redrive) {
      return fmt::format(R"({{"attempt":{},"redrive":{},)", attempt, redrive);
    };
    CHECK_THAT(history, Catch::Contains(nth(1, deaths - 1)) && Catch::Contains(nth(2, deaths - 1)));
    CHECK_THAT(history, !Catch::Contains(nth(1, deaths)));
    if (deaths == 2) CHECK_THAT(history, Catch::Contains(R"([{"attempt":1,"delivered_ms")"));
  }
}

TEST_CASE("the dead-letter topic is always a topic", "[runtime][group]") {
  const auto name = [](const std::string& topic, const std::string& group) {
    return dead_letter_topic(topic_name::trusted(topic), group_name::trusted(group), "").str();
  };
  CHECK(name("orders", "billing") == "orders.billing.dead");
  CHECK(name("orders", "..a.") == "orders.--a-.dead");
  CHECK(name("workflow.o-1", "audit") == "run.o-1.audit.dead");
  const auto longest = name(std::string(255, 'a'), std::string(255, 'b'));
  CHECK(topic_name::parse(longest));
  CHECK(longest != name(std::string(255, 'a'), std::string(254, 'b')));
  CHECK(dead_letter_topic({}, {}, "chosen").str() == "chosen");
}

TEST_CASE("only what its handler refused is another message of an agent", "[runtime][group]") {
  CHECK(redrive_after_refusal("not JSON") == 0);
  CHECK(redrive_after_refusal("[]") == 0);
  CHECK(redrive_after_refusal(R"([{"error":"agent_not_found: no till"}])") == 0);
  CHECK(redrive_after_refusal(R"([{"error":"agent_failed: empty: nothing"}])") == 1);
  const std::string refused = R"([{"error":"agent_failed: empty: nothing","redrive":2},)";
  CHECK(redrive_after_refusal(refused + R"({"error":"id_conflict: another","redrive":3}])") == 3);
  CHECK(redrive_after_refusal(refused + R"({"error":"agent_failed: x: y","redrive":4}])") == 5);
}

}  // namespace callboard::runtime
