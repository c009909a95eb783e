// What was published, acked and delivered on one topic, kept outside the node: the demo's judge.
#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <string>

namespace callboard::demo {

/// The counts of one topic so far.
struct totals {
  std::uint64_t published = 0;
  std::uint64_t acked = 0;
  /// Sent again after the crash, and how many of those the node had already stored.
  std::uint64_t retried = 0;
  std::uint64_t already_stored = 0;
  std::uint64_t delivered = 0;
  /// Acked and not delivered (yet).
  std::uint64_t lost = 0;
  /// Delivered more than once, or out of order.
  std::uint64_t duplicated = 0;
};

/// Thread-safe. Events are known by their ids, which publishers make before the first attempt.
class score {
public:
  void published(const std::string& id);
  void retried();
  void acked(const std::string& id, bool duplicate);

  /// A subscriber received `id` at `seq`; a seq that does not follow the last one counts as
  /// duplicated if it was seen before, and shows up as lost otherwise.
  void delivered(const std::string& id, std::uint64_t seq);

  [[nodiscard]] totals count() const;

private:
  struct fate {
    bool acked = false;
    std::uint32_t deliveries = 0;
  };

  mutable std::mutex mutex_;
  std::map<std::string, fate> events_;
  std::uint64_t last_seq_ = 0;
  totals totals_;
};

}  // namespace callboard::demo
