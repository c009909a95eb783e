// Watches all runs of one tenant over one WebSocket, through restarts of the node.
#pragma once

#include "cli/client/api.hpp"

#include <boost/json/object.hpp>

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <thread>

namespace callboard::demo {

/// An event of a channel; `seq` is 0 for what no history keeps.
struct channel_event {
  std::string run;
  std::uint64_t seq = 0;
  std::string type;
  const boost::json::object& data;
  /// The command that it is about; 0 = none.
  std::uint64_t command = 0;
};

/// Lifecycle: follows from its making to its end, on a thread of its own that also calls the
/// listener. All it knows of the past is one cursor for each channel.
class follower {
public:
  using listener = std::function<void(const channel_event&)>;

  follower(client::account who, listener on_event);
  ~follower();
  follower(const follower&) = delete;
  follower& operator=(const follower&) = delete;

private:
  void follow(const std::stop_token& stop);
  void connect_and_read(const std::stop_token& stop);
  void take_frame(const boost::json::object& frame);
  void take(const std::string& topic, const boost::json::object& delivery);

  client::account who_;
  listener on_event_;
  std::map<std::string, std::string> cursors_;
  std::jthread thread_;
};

}  // namespace callboard::demo
