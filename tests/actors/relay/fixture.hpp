// An actor system without threads, and a router that remembers what it was asked.
#pragma once

#include "actors/router.hpp"

#include <boost/asio/io_context.hpp>
#include <caf/actor_system.hpp>
#include <caf/actor_system_config.hpp>
#include <caf/scheduler/test_coordinator.hpp>
#include <caf/scoped_actor.hpp>
#include <caf/send.hpp>

#include <string>
#include <vector>

namespace callboard::testing {

struct quiet_system {
  struct setup : caf::actor_system_config {
    setup() { set("scheduler.policy", caf::atom("testing")); }
  } configuration;

  caf::actor_system system{configuration};
  boost::asio::io_context loop{1};
  caf::scheduler::test_coordinator& scheduler =
      dynamic_cast<caf::scheduler::test_coordinator&>(system.scheduler());
  caf::scoped_actor self{system, true};

  quiet_system() { scheduler.clock().current_time += std::chrono::hours{1}; }

  /// Everything that is ready.
  void run() {
    std::size_t done = 1;
    while (done > 0) {
      done = scheduler.run();
      loop.restart();
      done += loop.poll();
    }
  }
};

/// Answers nothing by itself.
class silent_router final : public actors::router {
public:
  std::vector<std::pair<actors::publish_batch, caf::actor>> published;
  std::vector<std::pair<actors::control_request, caf::actor>> controls;
  std::vector<std::pair<actors::attach_relay, caf::actor>> attached;
  std::vector<topic_ref> detached;
  std::vector<std::string> watched;
  std::vector<std::string> unwatched;
  std::optional<error> refuse;
  time_ms now{};

  result<void> publish(actors::publish_batch batch, const caf::actor& reply_to) override {
    if (refuse) return std::unexpected{*refuse};
    published.emplace_back(std::move(batch), reply_to);
    return {};
  }

  result<void> control(actors::control_request request, const caf::actor& reply_to) override {
    if (refuse) return std::unexpected{*refuse};
    controls.emplace_back(std::move(request), reply_to);
    return {};
  }

  void attach(actors::attach_relay message, const caf::actor& relay) override {
    attached.emplace_back(std::move(message), relay);
  }

  void detach(actors::detach_relay message, const caf::actor&) override {
    detached.push_back(std::move(message.topic));
  }

  void watch(const actors::watch_pattern& message, const caf::actor&) override {
    watched.push_back(message.pattern.str());
  }

  void unwatch(const actors::unwatch_pattern& message, const caf::actor&) override {
    unwatched.push_back(message.pattern.str());
  }

  time_ms event_time() const override { return now; }

  /// Lets go of handles, so that their actors can end.
  void forget() {
    published.clear();
    controls.clear();
    attached.clear();
  }
};

}  // namespace callboard::testing
