// Whose turn it is at a provider.
#pragma once

#include "model/chat_client.hpp"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>

namespace callboard::model {

/// Tenants take turns at each model, one call each; the calls of a tenant for it go the oldest
/// first. Of the models with room, that goes whose next tenant has had no turn at the provider for
/// longest, so that nobody gets more for asking for more models. Not thread-safe.
class turn_queue {
public:
  using room = std::function<bool(const std::string& model)>;

  void add(const std::string& model, const std::string& tenant, call_id id);

  /// It is in.
  void remove(const std::string& model, const std::string& tenant, call_id id);

  /// Takes out whose turn it is; nothing if no model that is asked for has room.
  [[nodiscard]] std::optional<call_id> take(const room& has_room);

  [[nodiscard]] bool empty() const { return all_.empty(); }

  [[nodiscard]] bool asks_for(const std::string& model) const { return models_.contains(model); }

  [[nodiscard]] std::size_t size() const { return all_.size(); }

  /// All of them, the oldest first.
  [[nodiscard]] const std::set<call_id>& calls() const { return all_; }

private:
  /// The more, the later.
  using turn = std::uint64_t;

  /// The calls for one model.
  struct line {
    /// Their turns go by name.
    std::map<std::string, std::set<call_id>> tenants;
    /// Who had the last turn.
    std::string served;
    /// When that was, or when the line began.
    turn last = 0;
  };

  /// Of a tenant that has a call here.
  struct presence {
    std::size_t calls = 0;
    /// When its last turn was, or when it came.
    turn last = 0;
  };

  std::set<call_id> all_;
  std::map<std::string, line> models_;
  std::map<std::string, presence> tenants_;
  turn turns_ = 0;
};

}  // namespace callboard::model
