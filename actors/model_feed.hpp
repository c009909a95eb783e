// What a model says, on its way from the client's thread to the run that asked.
#pragma once

#include "base/ids.hpp"
#include "model/failure.hpp"

#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>

namespace callboard::actors {

/// Gathers pieces until the run looks, so that a slow run never slows the call, and one message
/// tells of many pieces. Any thread. Bound: the text of one answer (`text_bytes_max` of its
/// provider); never more than two looks are asked for before one is taken.
class model_feed {
public:
  /// How soon the run should look.
  enum class look : std::uint8_t { soon, now };

  /// Pieces of this size together are not kept waiting.
  static constexpr std::size_t gather_bytes = 512;

  struct taken {
    /// 0: nobody was asked so far.
    std::uint32_t round = 0;
    /// Of this round, since the last look.
    std::string text;
    std::optional<model::chat_outcome> outcome;
  };

  /// Between two rounds.
  struct pause {
    std::uint32_t round = 0;
    std::string why;
    boot_time next{};
  };

  explicit model_feed(std::function<void(look)> tell) : tell_{std::move(tell)} {}

  // The client's thread.
  void begin(std::uint32_t round);
  void add(std::string_view text);
  void rest(pause between);
  void end(model::chat_outcome outcome);

  // The run.
  [[nodiscard]] taken take();
  /// Nothing while somebody is asked.
  [[nodiscard]] std::optional<pause> resting() const;

private:
  const std::function<void(look)> tell_;
  mutable std::mutex mutex_;
  taken waiting_;
  std::optional<pause> pause_;
  bool told_ = false;
  bool urged_ = false;
};

}  // namespace callboard::actors
