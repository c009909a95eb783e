// What a model says is gathered: nothing is lost, and few looks are asked for.
#include "actors/model_feed.hpp"

#include "tests/support/catch.hpp"

#include <atomic>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace callboard::actors {

using looks = std::vector<model_feed::look>;

TEST_CASE("pieces are told of once until somebody looks", "[model]") {
  looks told;
  model_feed feed{[&](model_feed::look when) { told.push_back(when); }};
  feed.begin(1);
  CHECK(std::exchange(told, {}) == looks{model_feed::look::now});
  feed.add("a");
  feed.add("b");
  CHECK(std::exchange(told, {}) == looks{model_feed::look::soon});
  const auto first = feed.take();
  CHECK(first.round == 1);
  CHECK(first.text == "ab");
  CHECK_FALSE(first.outcome);
  CHECK(feed.take().text.empty());
  feed.add("c");
  CHECK(told == looks{model_feed::look::soon});
}

TEST_CASE("much text is not kept waiting, and told of once, too", "[model]") {
  looks told;
  model_feed feed{[&](model_feed::look when) { told.push_back(when); }};
  feed.begin(1);
  told.clear();
  const std::string half(model_feed::gather_bytes / 2, 'x');
  for (int i = 0; i < 6; ++i)
    feed.add(half);
  CHECK(told == looks{model_feed::look::soon, model_feed::look::now});
  CHECK(feed.take().text.size() == 6 * half.size());
}

TEST_CASE("a new round voids what nobody has seen", "[model]") {
  model_feed feed{[](model_feed::look) {}};
  feed.begin(1);
  feed.add("old");
  feed.begin(2);
  feed.add("new");
  feed.end(model::chat_result{.text = "new"});
  const auto seen = feed.take();
  CHECK(seen.round == 2);
  CHECK(seen.text == "new");
  REQUIRE(seen.outcome);
  CHECK((*seen.outcome)->text == "new");
  CHECK_FALSE(feed.take().outcome);
}

TEST_CASE("one thread says what another sees, whole and in order", "[model]") {
  std::atomic<int> told = 0;
  model_feed feed{[&](model_feed::look) { ++told; }};
  std::string said;
  for (int i = 0; i < 20'000; ++i)
    said += std::to_string(i) + ' ';
  std::thread speaker{[&] {
    feed.begin(1);
    for (std::size_t at = 0; at < said.size(); at += 7)
      feed.add(std::string_view{said}.substr(at, 7));
    feed.end(model::chat_result{.text = "end"});
  }};
  std::string seen;
  int looked = 0;
  for (bool ended = false; !ended;) {
    if (told.exchange(0) == 0) {
      std::this_thread::yield();
      continue;
    }
    const auto news = feed.take();
    ++looked;
    seen += news.text;
    ended = news.outcome.has_value();
  }
  speaker.join();
  CHECK(seen == said);
  CHECK(looked < 20'000);
}

}  // namespace callboard::actors
