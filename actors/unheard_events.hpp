// Ephemeral events of a topic that come between the news of it and the relays of those who were
// told: nobody can read them later, so they are kept for these for a moment.
#pragma once

#include "base/clock.hpp"
#include "runtime/topic/topic_core.hpp"

#include <algorithm>
#include <optional>
#include <vector>

namespace callboard::actors {

/// Belongs to one TOPIC, as whose relay of key `own` it stands. Bounds: `batches_max` batches for
/// about `travel_max`, and only if ephemeral events come.
class unheard_events {
public:
  /// Whoever follows a topic because of news of it attaches sooner than this.
  static constexpr boot_time travel_max = std::chrono::seconds{5};
  static constexpr std::uint32_t batches_max = 16;

  unheard_events(runtime::topic_core& core, runtime::relay_key own) : core_{core}, own_{own} {}

  void told(boot_time now) { told_ = now; }

  /// Before these are published.
  void expect(const std::vector<runtime::publish_request>& requests, boot_time now) {
    if (is_kept_ || !is_young(now)) return;
    const bool all = core_.image().settings.kind == runtime::topic_kind::ephemeral;
    // Of streams a snapshot tells.
    is_kept_ = std::ranges::any_of(requests, [all](const auto& one) {
      return (all || one.ephemeral) && one.role == runtime::frame_role::event;
    });
    if (is_kept_) core_.attach(own_, batches_max);
  }

  void keep(const runtime::topic_effects::delivery& one) {
    const bool is_event = one.batch->role == runtime::frame_role::event;
    if (one.relay == own_ && one.batch->ephemeral && is_event) batches_.push_back(one.batch);
  }

  /// For a relay that attaches because it was told, at most `most`.
  [[nodiscard]] std::vector<runtime::event_batch_ptr>
  since_news(boot_time now, std::size_t most) const {
    if (!is_young(now)) return {};
    const auto count = static_cast<std::ptrdiff_t>(std::min(batches_.size(), most));
    return {batches_.begin(), batches_.begin() + count};
  }

  [[nodiscard]] bool is_kept() const { return is_kept_; }

  /// Lets go of what is too old for everybody.
  void age(boot_time now) {
    if (!is_young(now)) forget();
  }

  void forget() {
    if (!std::exchange(is_kept_, false)) return;
    core_.detach(own_);
    batches_.clear();
  }

private:
  [[nodiscard]] bool is_young(boot_time now) const { return told_ && now - *told_ < travel_max; }

  runtime::topic_core& core_;
  runtime::relay_key own_;
  std::optional<boot_time> told_;
  bool is_kept_ = false;
  std::vector<runtime::event_batch_ptr> batches_;
};

}  // namespace callboard::actors
