// The program of examples/research_agent: children that race against the clock, a model that makes
// one report of what came in time, and an agent that keeps it; with kill -9 in the middle.
#include "tests/e2e/broker.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/chat_provider.hpp"
#include "tests/support/eventually.hpp"

#include <atomic>

namespace {

using namespace callboard::testing;

std::vector<std::string> provider_arguments(const chat_provider& provider) {
  std::vector<std::string> words;
  for (const auto& one :
       {std::string{"models.order=main"},
        std::string{"models.main.default_model=test-model"},
        std::string{"models.main.use_proxy=false"},
        "models.main.base_url=" + provider.base_url()}) {
    words.insert(words.end(), {"--set", one});
  }
  return words;
}

std::string study(std::string_view id, std::uint64_t patience_ms) {
  return R"({"type":"research","id":")" + std::string{id}
         + R"(","input":{"subject":"desk lamps","angles":["history","physics","taste"],)"
         + R"("patience_ms":)" + std::to_string(patience_ms) + "}}";
}

/// Knows history and taste; physics is a question that hangs.
chat_reply learned(const chat_query& query) {
  if (query.body.contains("notes")) return streamed_reply({"A ", "report."});
  if (query.body.contains("physics")) {
    chat_reply none;
    none.hang = true;
    return none;
  }
  return streamed_reply({"Much ", "is known."});
}

}  // namespace

TEST_CASE("children that are late are left behind and reports are kept", "[e2e][research]") {
  chat_provider provider;
  provider.answer_with(learned);
  server_process node{{.arguments = provider_arguments(provider)}};
  broker client{node.where()};
  for (std::uint64_t i = 1; i <= 2; ++i) {
    const auto id = "r" + std::to_string(i);
    const auto ended = client.post("/workflows?wait_ms=20000", study(id, 700)).json();
    CHECK(text_of(ended, "status") == "completed");
    const auto& result = ended.at("result");
    CHECK(text_of(result, "report") == "A report.");
    CHECK(result.at("late") == json::value(json::array{"physics"}));
    CHECK(number_of(result, "reports") == i);
  }
  // The child that lost has been cancelled with its call.
  const auto readers = client.get("/workflows?type=reader").json().at("workflows").as_array();
  REQUIRE(readers.size() == 6);
  CHECK(eventually([&] {
    const auto now = client.get("/workflows?type=reader&status=cancelled").json();
    return now.at("workflows").as_array().size() == 2 && provider.aborted() == 2;
  }));
  const auto last = client.post("/agents/notebook/desk-lamps/last", "null").json();
  CHECK(text_of(last, "result") == "A report.");
}

TEST_CASE("kill -9 while children read: no answer is asked for twice", "[e2e][research]") {
  chat_provider provider;
  std::atomic<bool> knows_physics{false};
  provider.answer_with([&](const chat_query& query) {
    return knows_physics && query.body.contains("physics") ? streamed_reply({"Light."})
                                                           : learned(query);
  });
  server_process node{{.arguments = provider_arguments(provider)}};
  REQUIRE(broker{node.where()}.post("/workflows", study("k1", 60'000)).status == 201);
  REQUIRE(eventually([&] {
    broker client{node.where()};
    return provider.query_count() == 3
           && client.get("/workflows?type=reader&status=completed")
                      .json()
                      .at("workflows")
                      .as_array()
                      .size()
                  == 2;
  }));
  node.kill();
  knows_physics = true;
  node.start();
  const auto ended = broker{node.where()}.get("/workflows/k1/result?wait_ms=20000").json();
  REQUIRE(text_of(ended, "status") == "completed");
  CHECK(ended.at("result").at("late").as_array().empty());
  std::map<std::string, std::uint32_t> by_question;
  for (const auto& query : provider.queries()) {
    for (const auto* word : {"history", "taste", "physics"}) {
      if (query.body.contains(word) && !query.body.contains("notes")) ++by_question[word];
    }
  }
  CHECK(by_question["history"] == 1);
  CHECK(by_question["taste"] == 1);
  CHECK(by_question["physics"] == 2);
  // Three readers and the report: the question that was cut came again under its key.
  CHECK(provider.counts().size() == 4);
}

TEST_CASE("a study of which nothing came says so", "[e2e][research]") {
  chat_provider provider;
  provider.answer_with([](const chat_query&) { return error_reply(400, "bad", "no"); });
  server_process node{{.arguments = provider_arguments(provider)}};
  const auto ended =
      broker{node.where()}.post("/workflows?wait_ms=20000", study("n1", 5'000)).json();
  CHECK(text_of(ended, "status") == "failed");
  CHECK(text_of(ended.at("error"), "code") == "nothing_found");
}
