// What docs/asyncapi.yaml says of the events of a workflow's channel, held against what was sent.
#pragma once

#include "tests/e2e/broker.hpp"

#include <map>
#include <set>
#include <string>

namespace callboard::testing {

/// Reads the messages that the document lists for the channel `workflow`, each of them one line of
/// `components.messages` in flow style.
class event_contract {
public:
  /// From the node's own copy. Throws std::runtime_error if a line cannot be read.
  explicit event_contract(http_client& node);

  /// Empty, or what of the event is other than described: an unknown type, a member of its data
  /// that is missing, has another JSON type, or is not mentioned.
  [[nodiscard]] std::string fault_of(const json::object& event);

  /// Types that `fault_of` was asked about.
  [[nodiscard]] const std::set<std::string>& seen() const { return seen_; }

  /// Types that the channel lists.
  [[nodiscard]] std::set<std::string> described() const;

private:
  /// Schemas of headers and payload, by type.
  std::map<std::string, json::object> messages_;
  json::object headers_;
  std::set<std::string> seen_;
};

}  // namespace callboard::testing
