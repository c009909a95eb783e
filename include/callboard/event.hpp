// Events as those outside a node see them: what is published, and what comes of it.
#pragma once

#include "callboard/json.hpp"

#include <boost/json/object.hpp>

#include <cstdint>
#include <string>

namespace callboard {

/// A CloudEvent 1.0. Only `type` must be given to publish one.
struct event {
  /// Unique for its source within the topic's dedupe window: published again with the same content
  /// it is stored once. Empty: made by the client.
  std::string id;
  /// Empty: `/client`.
  std::string source;
  std::string type;
  std::string subject;
  /// RFC 3339. Empty: when the node takes it.
  std::string time;
  json data;
  /// Further attributes, for instance `run` and `command` on the channel of a workflow: lower-case
  /// names, and text, numbers or booleans.
  boost::json::object extensions;

  friend bool operator==(const event&, const event&) = default;
};

/// An event with its place in its topic.
struct received_event {
  event what;
  std::string topic;
  /// 1, 2, 3…; 0 for an ephemeral event, which has no place.
  std::uint64_t seq = 0;
  /// Resumes after it. Empty for an ephemeral event.
  std::string cursor;
};

/// In the form of CloudEvents' JSON format. Empty members are left out.
[[nodiscard]] boost::json::object to_cloud_event(const event& from);

/// The reverse. What is no event gives the members that can be read.
[[nodiscard]] event from_cloud_event(const boost::json::object& from);

}  // namespace callboard
