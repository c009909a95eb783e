// Until when a provider wants no request, for which model and from whom.
//
// A time to wait is believed for the tenant that was told it: what is refused may lie in its
// requests. Once another tenant is refused while the first is held, it lies with the model, and all
// are held. An answer to a request that began after a hold shows that the provider answers again.
#pragma once

#include "base/clock.hpp"

#include <map>
#include <string>
#include <utility>

namespace callboard::model {

/// Bounded; a time that is not kept is told again by the next refusal. Not thread-safe.
class holds {
public:
  /// `tenant` was told at `now` to ask for `model` not before `until`.
  void add(const std::string& model, const std::string& tenant, boot_time until, boot_time now);

  /// A request for `model` that began at `began` was answered. True: some hold ends by that.
  bool lift(const std::string& model, boot_time began);

  /// Until when `tenant` is held, which may be past; 0 = it is not.
  [[nodiscard]] boot_time until(const std::string& model, const std::string& tenant) const;

  /// The latest of all.
  [[nodiscard]] boot_time last() const;

private:
  struct hold {
    boot_time since{};
    boot_time until{};
  };

  /// By model and tenant.
  std::map<std::pair<std::string, std::string>, hold> own_;
  /// By model.
  std::map<std::string, hold> all_;
};

}  // namespace callboard::model
