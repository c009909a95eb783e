#include "actors/model_feed.hpp"

#include <utility>

namespace callboard::actors {

void model_feed::begin(std::uint32_t round) {
  {
    const std::lock_guard guard{mutex_};
    waiting_.round = round;
    pause_.reset();
    waiting_.text.clear();
    urged_ = false;
  }
  tell_(look::now);
}

void model_feed::add(std::string_view text) {
  std::optional<look> wanted;
  {
    const std::lock_guard guard{mutex_};
    waiting_.text += text;
    if (!std::exchange(told_, true)) wanted = look::soon;
    if (waiting_.text.size() >= gather_bytes && !std::exchange(urged_, true)) wanted = look::now;
  }
  if (wanted) tell_(*wanted);
}

void model_feed::rest(pause between) {
  const std::lock_guard guard{mutex_};
  pause_ = std::move(between);
}

std::optional<model_feed::pause> model_feed::resting() const {
  const std::lock_guard guard{mutex_};
  return pause_;
}

void model_feed::end(model::chat_outcome outcome) {
  {
    const std::lock_guard guard{mutex_};
    pause_.reset();
    waiting_.outcome.emplace(std::move(outcome));
  }
  tell_(look::now);
}

model_feed::taken model_feed::take() {
  const std::lock_guard guard{mutex_};
  told_ = urged_ = false;
  taken out{.round = waiting_.round, .text = std::exchange(waiting_.text, {})};
  out.outcome = std::exchange(waiting_.outcome, std::nullopt);
  return out;
}

}  // namespace callboard::actors
