// Ephemeral events of a topic that come between the news of it and the relays of those who were
// told: nobody can read them later, so they are kept for these for a moment.
#pragma once

#include "actors/relay_messages.hpp"
#include "base/clock.hpp"
#include "runtime/topic/topic_core.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <utility>
#include <vector>

namespace callboard::actors {

/// Belongs to one TOPIC, as whose relay of key `own` it stands. Bounds: the last `batches_max`
/// batches of `travel_max`, and only if ephemeral events come.
class unheard_events {
public:
  /// Whoever follows a topic because of news of it attaches sooner than this.
  static constexpr boot_time travel_max = std::chrono::seconds{5};
  static constexpr std::size_t batches_max = 16;

  unheard_events(runtime::topic_core& core, runtime::relay_key own) : core_{core}, own_{own} {}

  /// Gives `news`, which are told now, their number: no other actor of the topic has it, either.
  const topic_active& begin(topic_active news, boot_time now) {
    news.number = (own_.raw() << 32U) + ++news_count_;
    news_ = std::move(news);
    told_ = now;
    drop_old(now);
    return news_;
  }

  /// Before these are published.
  void expect(const std::vector<runtime::publish_request>& requests, boot_time now) {
    if (is_kept_ || !is_young(now)) return;
    const bool all = core_.image().settings.kind == runtime::topic_kind::ephemeral;
    // Of streams a snapshot tells.
    is_kept_ = std::ranges::any_of(requests, [all](const auto& one) {
      return (all || one.ephemeral) && one.role == runtime::frame_role::event;
    });
    if (is_kept_) core_.attach(own_, std::numeric_limits<std::uint32_t>::max());
  }

  void keep(const runtime::topic_effects::delivery& one, boot_time now) {
    const bool is_event = one.batch->role == runtime::frame_role::event;
    if (one.relay != own_ || !one.batch->ephemeral || !is_event) return;
    drop_old(now);
    batches_.push_back({{one.batch, news_.number}, now});
    if (batches_.size() <= batches_max) return;
    const auto& oldest = batches_.front();
    dropped_ += oldest.part.batch->events.size();
    dropped_news_ = oldest.part.news;
    dropped_came_ = oldest.came;
    batches_.erase(batches_.begin());
  }

  /// For a relay that attaches now.
  [[nodiscard]] std::optional<unheard_since> since_news(boot_time now) {
    drop_old(now);
    if (batches_.empty() || !is_young(now)) return std::nullopt;
    unheard_since told{news_, {}, dropped_, dropped_news_};
    for (const auto& one : batches_)
      told.batches.push_back(one.part);
    return told;
  }

  [[nodiscard]] bool is_kept() const { return is_kept_; }

  /// Some who were told may still be on their way here, and what is kept on the way to relays.
  [[nodiscard]] bool may_be_awaited(boot_time now) {
    age(now);
    return is_kept_;
  }

  /// Lets go of what is too old for everybody.
  void age(boot_time now) {
    if (!is_young(now)) forget();
  }

  void forget() {
    if (!std::exchange(is_kept_, false)) return;
    core_.detach(own_);
    batches_.clear();
    dropped_ = 0;
  }

private:
  struct kept {
    unheard_since::part part;
    boot_time came;
  };

  /// New news keep what came before them for those who heard earlier ones, but no longer than these
  /// need it.
  void drop_old(boot_time now) {
    const auto is_old = [now](boot_time came) { return now - came >= travel_max; };
    std::erase_if(batches_, [&](const kept& one) { return is_old(one.came); });
    if (is_old(dropped_came_)) dropped_ = 0;
  }

  [[nodiscard]] bool is_young(boot_time now) const { return told_ && now - *told_ < travel_max; }

  runtime::topic_core& core_;
  runtime::relay_key own_;
  topic_active news_;
  std::uint32_t news_count_ = 0;
  std::optional<boot_time> told_;
  bool is_kept_ = false;
  std::vector<kept> batches_;
  std::uint64_t dropped_ = 0;
  std::uint64_t dropped_news_ = 0;
  boot_time dropped_came_{};
};

}  // namespace callboard::actors
