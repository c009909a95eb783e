// Until when a provider wants no request, for which model and from whom.
//
// A time to wait is believed for the tenant that was told it: what is refused may lie in its
// requests. Once another tenant is refused while the first is held, it lies with the model, and all
// are held, until the provider answers somebody whom it had not refused. A tenant's own hold ends
// by an answer to a request of its own that began after it.
#pragma once

#include "base/clock.hpp"

#include <map>
#include <string>
#include <utility>
#include <vector>

namespace callboard::model {

/// Bounded; a time that is not kept is told again by the next refusal. Not thread-safe.
class holds {
public:
  /// `tenant` was told at `now` to ask for `model` not before `until`.
  void add(const std::string& model, const std::string& tenant, boot_time until, boot_time now);

  /// A request of `tenant` for `model` that began at `began` was answered at `now`. True: some hold
  /// ends by that.
  bool lift(const std::string& model, const std::string& tenant, boot_time began, boot_time now);

  /// Until when `tenant` is held, which may be past; 0 = it is not.
  [[nodiscard]] boot_time until(const std::string& model, const std::string& tenant) const;

  /// Held only because all are: it was told no time itself.
  [[nodiscard]] bool
  is_unheard(const std::string& model, const std::string& tenant, boot_time now) const;

  /// Those for which all are held.
  [[nodiscard]] std::vector<std::string> models(boot_time now) const;

  /// The latest of all.
  [[nodiscard]] boot_time last() const;

private:
  struct hold {
    boot_time since{};
    boot_time until{};
  };

  /// By model and tenant.
  std::map<std::pair<std::string, std::string>, hold> own_;
  /// By model: until when.
  std::map<std::string, boot_time> all_;
};

}  // namespace callboard::model
