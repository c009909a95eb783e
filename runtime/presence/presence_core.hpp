// Who is present on one topic. Pure: commands and time in, changes out.
//
// A member is present while its lease is renewed; vanished, expired or known only from before a
// restart it is unknown for the grace, and only then has it left. Coming back within the grace is
// silent, so a short network split is seen by nobody.
#pragma once

#include "base/error.hpp"
#include "base/ids.hpp"

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace callboard::runtime {

inline constexpr std::size_t presence_state_size_max = 4096;
inline constexpr std::size_t presence_member_size_max = 255;

struct presence_limits {
  std::chrono::milliseconds lease{30'000};
  std::chrono::milliseconds grace{15'000};
  std::uint32_t members_max = 10'000;
};

/// A member as it is stored and listed. `state` is a JSON object.
struct presence_entry {
  std::string member;
  std::string state;
  /// The topic's presence version at its last change.
  std::uint64_t version = 0;
  bool present = false;

  friend bool operator==(const presence_entry&, const presence_entry&) = default;
};

enum class presence_event : std::uint8_t { joined, updated, left };

struct presence_change {
  presence_event what = presence_event::joined;
  std::string member;
  std::string state;

  friend bool operator==(const presence_change&, const presence_change&) = default;
};

/// Changes since the last batch, in order; one record and one version for all of them.
struct presence_batch {
  std::uint64_t version = 0;
  std::vector<presence_change> changes;
  /// What the record says: the members as they are after all changes.
  std::vector<presence_entry> joined_or_updated;
  std::vector<std::string> left;
  /// Every member was written again since; what was written before is needed no more. 0: says
  /// nothing.
  lsn dead_before{};
};

/// Owned by the PRESENCE actor, used by it alone. Survives a restart: the members, as unknown.
class presence_core {
public:
  /// `known`: from the journal; all are unknown and the grace runs from `now`. `version`: not
  /// below any version used before.
  presence_core(
      presence_limits limits,
      std::vector<presence_entry> known,
      std::uint64_t version,
      boot_time now);

  /// Why it may not join with this state.
  /// Errors: bad_request (name, state), too_large, overloaded (members_max).
  [[nodiscard]] result<void> check(const std::string& member, std::string_view state) const;

  /// Joins, or renews and updates the state. Empty state = `{}`. Errors: those of `check`.
  [[nodiscard]] result<void> join(const std::string& member, std::string state, boot_time now);

  /// Joining with this state would only renew: nothing is to be written for it.
  [[nodiscard]] bool has(const std::string& member, std::string_view state) const;

  [[nodiscard]] bool has(const std::string& member) const { return members_.contains(member); }

  /// Renews the lease. Errors: not_found if it is no member (any more): join again.
  [[nodiscard]] result<void> renew(const std::string& member, boot_time now);

  /// Leaves at once, or becomes unknown for the grace if it has only vanished. Members that are
  /// unknown already keep their remaining grace.
  void leave(const std::string& member, bool vanished, boot_time now);

  /// Runs leases and graces out.
  void tick(boot_time now);

  /// The node stood still for `pause`, up to now: leases and graces are as long as they were
  /// before, at most granted anew.
  void paused(boot_time pause, boot_time now);

  [[nodiscard]] bool has_changes() const { return !changes_.empty(); }

  /// The changes, and with those who came or changed now and then some members that have not
  /// changed for long, so that what was written before need not be kept for them.
  [[nodiscard]] presence_batch take_changes();

  /// What was taken last is on disk there.
  void committed(lsn at);

  [[nodiscard]] std::vector<presence_entry> list() const;

  [[nodiscard]] std::uint64_t version() const { return version_; }

  /// Nobody is here and nothing waits to be written.
  [[nodiscard]] bool empty() const { return members_.empty() && changes_.empty(); }

private:
  struct member {
    std::string state;
    std::uint64_t version = 0;
    /// Version of the batch that had it last; 0: none since this was made.
    std::uint64_t written = 0;
    bool present = false;
    /// End of the lease while present, of the grace while unknown.
    boot_time deadline{};
  };

  void arm(const std::string& name, member& one, boot_time deadline);
  void remove(std::map<std::string, member>::iterator it);
  void restate(presence_batch& batch, std::size_t most);

  /// Members written again, name by name, from the batch of this version on.
  struct restating {
    std::uint64_t version = 0;
    lsn begin{};
    std::string last_name;
  };

  const presence_limits limits_;
  std::map<std::string, member> members_;
  std::set<std::pair<boot_time, std::string>> deadlines_;
  std::vector<presence_change> changes_;
  std::uint64_t version_ = 0;
  /// Members written since the last time that all were begun to be written again; nothing: not
  /// known.
  std::optional<std::size_t> written_;
  std::optional<restating> restating_;
};

}  // namespace callboard::runtime
