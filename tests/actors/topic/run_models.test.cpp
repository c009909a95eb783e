// What a run shows of its model calls to those who watch, also when some of it did not go out.
#include "actors/run_models.hpp"

#include "proto/event.pb.h"

#include "tests/support/catch.hpp"

#include <boost/json/parse.hpp>

#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace callboard::actors {

namespace {

/// Begins every call and says nothing by itself.
class silent_models final : public model::chat_calls {
public:
  result<model::call_id>
  start(const model::chat_request&, model::chat_callbacks callbacks) override {
    told.push_back(std::move(callbacks));
    return model::call_id{told.size()};
  }

  result<void> find(const std::string&, const std::string&) const override { return {}; }

  void cancel(model::call_id) override {}

  std::vector<model::chat_callbacks> told;
};

std::vector<std::string> in_words(const std::vector<runtime::encoded_event>& events) {
  std::vector<std::string> all;
  for (const auto& one : events) {
    v1::Event event;
    REQUIRE(event.ParseFromString(std::string{runtime::event_proto(one.stored)}));
    const auto data = boost::json::parse(event.json()).as_object();
    auto words = event.type().substr(event.type().find('.') + 1) + ' '
                 + std::to_string(data.at("step").to_number<int>());
    if (const auto* index = data.if_contains("index")) {
      words += ' ' + std::to_string(index->to_number<int>()) + ' '
               + std::string{data.at("text").as_string()};
    }
    all.push_back(std::move(words));
  }
  return all;
}

/// Its only thread is the test's, and what is shown is kept as words.
class watched_home final : public model_home {
public:
  void show(std::vector<runtime::encoded_event> events) override {
    for (auto& one : in_words(events))
      shown.push_back(std::move(one));
  }

  void model_ended(std::uint32_t, std::uint32_t, outcome<json>) override {}

  std::function<void(std::move_only_function<void()>)> doorbell() override {
    return [](std::move_only_function<void()> rest) { rest(); };
  }

  void later(std::chrono::milliseconds, std::move_only_function<void()> rest) override { rest(); }

  std::vector<std::string> shown;
};

using words = std::vector<std::string>;

/// The first attempts of commands 1 and 2.
void begin_two(run_models& models, silent_models& calls) {
  const auto question = std::make_shared<const model_request>();
  for (const std::uint32_t command : {1U, 2U}) {
    REQUIRE(models.start({.command = command, .name = "say", .question = question}, {}));
    calls.told.back().on_attempt(1);
  }
}

}  // namespace

TEST_CASE("who missed frames of a model gets all of its text next", "[model]") {
  silent_models calls;
  watched_home home;
  run_models models{home, &calls};
  begin_two(models, calls);
  const auto say = [&](std::size_t call, std::string_view text) {
    calls.told.at(call - 1).on_delta(1, 0, text);
  };
  say(1, "one ");
  say(2, "uno ");
  CHECK(
      std::exchange(home.shown, {})
      == words{"reset 1", "reset 2", "delta 1 0 one ", "delta 2 0 uno "});
  models.frames_lost();
  // Both, each once, at the index at which its text stands.
  say(1, "two ");
  say(1, "three ");
  say(2, "due ");
  CHECK(
      std::exchange(home.shown, {})
      == words{"snapshot 1 1 one two ", "delta 1 2 three ", "snapshot 2 1 uno due "});
  // What a new round voids nobody needs.
  models.frames_lost();
  calls.told.front().on_attempt(2);
  say(1, "again ");
  say(2, "tre ");
  CHECK(home.shown == words{"reset 1", "delta 1 0 again ", "snapshot 2 2 uno due tre "});
}

TEST_CASE("the text of an answer is there until it is recorded", "[model]") {
  silent_models calls;
  watched_home home;
  run_models models{home, &calls};
  begin_two(models, calls);
  for (auto& one : calls.told)
    one.on_delta(1, 0, "half");
  calls.told.front().on_done(model::chat_result{});
  CHECK_FALSE(models.is_under_way(1));
  CHECK_FALSE(models.pause_of(1));
  CHECK(in_words(models.so_far({})) == words{"snapshot 1 0 half", "snapshot 2 0 half"});
  // Only what has ended can have been told.
  CHECK(in_words(models.so_far({1, 2})) == words{"snapshot 2 0 half"});
  models.recorded(1);
  models.recorded(2);
  CHECK(in_words(models.so_far({})) == words{"snapshot 2 0 half"});
  models.cancel(2);
  CHECK(models.so_far({}).empty());
}

}  // namespace callboard::actors
