// Whose turn it is at a provider.
#pragma once

#include "model/chat_client.hpp"

#include <cstddef>
#include <map>
#include <set>
#include <string>

namespace callboard::model {

/// Tenants take turns, one call each; the calls of a tenant go the oldest first. Not thread-safe.
class turn_queue {
public:
  void add(const std::string& tenant, call_id id);

  /// It is in.
  void remove(const std::string& tenant, call_id id);

  /// Takes out whose turn it is; the queue is not empty.
  [[nodiscard]] call_id take();

  [[nodiscard]] bool empty() const { return all_.empty(); }

  [[nodiscard]] std::size_t size() const { return all_.size(); }

  /// All of them, the oldest first.
  [[nodiscard]] const std::set<call_id>& calls() const { return all_; }

private:
  std::set<call_id> all_;
  /// Those that have a call here; their turns go by name.
  std::map<std::string, std::set<call_id>> tenants_;
  /// Who had the last turn.
  std::string served_;
};

}  // namespace callboard::model
