// Whose turn it is at a provider.
#pragma once

#include "model/chat_client.hpp"

#include <cstddef>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>

namespace callboard::model {

/// Tenants take turns, one call each; the calls of a tenant go the oldest first. Those that ask for
/// a model without room are passed by until it has some. Not thread-safe.
class turn_queue {
public:
  using room = std::function<bool(const std::string& model)>;

  void add(const std::string& model, const std::string& tenant, call_id id);

  /// It is in.
  void remove(const std::string& model, const std::string& tenant, call_id id);

  /// Takes out whose turn it is; nothing if no model that is asked for has room.
  [[nodiscard]] std::optional<call_id> take(const room& has_room);

  [[nodiscard]] bool empty() const { return all_.empty(); }

  [[nodiscard]] std::size_t size() const { return all_.size(); }

  /// All of them, the oldest first.
  [[nodiscard]] const std::set<call_id>& calls() const { return all_; }

private:
  /// Those that have a call here; their turns go by name.
  using tenants = std::map<std::string, std::set<call_id>>;

  std::set<call_id> all_;
  std::map<std::string, tenants> models_;
  /// Who had the last turn.
  std::string served_;
};

}  // namespace callboard::model
