// A member of consumer groups on a broker of the test: asks, takes, acks.
#pragma once

#include "base/hash.hpp"
#include "proto/event.pb.h"

#include "tests/actors/topic/virtual_broker.hpp"

#include <string>
#include <vector>

namespace callboard::testing {

using namespace std::chrono_literals;

class group_client : public virtual_broker {
public:
  using virtual_broker::virtual_broker;

  [[nodiscard]] static actors::group_ref
  group(const std::string& topic_name, const std::string& group_name) {
    return {topic(topic_name), group_name::parse(group_name).value()};
  }

  /// `count` events with ids `<prefix>1`...
  void publish_many(const std::string& name, int count, const std::string& prefix = "e") {
    for (int i = 1; i <= count; ++i)
      publish_event(name, prefix + std::to_string(i));
    settle();
  }

  void publish_event(const std::string& name, const std::string& id, std::size_t bytes = 0) {
    v1::Event event;
    if (bytes != 0) event.set_text(std::string(bytes, 'x'));
    event.set_id(id);
    event.set_source("/test");
    event.set_type("test");
    std::string stored(runtime::event_prefix_size, '\0');
    event.AppendToString(&stored);
    runtime::write_event_prefix(
        stored.data(),
        event_identity(event.source(), event.id()),
        hash_64(std::string_view{stored}.substr(runtime::event_prefix_size)));
    auto request = make_request(0, {id});
    request.events = {{shared_bytes{std::move(stored)}}};
    publish(name, std::move(request));
  }

  [[nodiscard]] actors::group_description make_group(actors::put_group put) {
    const auto answer = ask_now(std::move(put));
    if (!answer) FAIL(answer.error().detail);
    return std::get<actors::group_description>(*answer);
  }

  [[nodiscard]] actors::group_description describe(const actors::group_ref& which) {
    const auto answer = ask_now(actors::get_group{which});
    if (!answer) FAIL(answer.error().detail);
    return std::get<actors::group_description>(*answer);
  }

  [[nodiscard]] std::vector<actors::delivery>
  fetch(const actors::group_ref& which, const std::string& member, std::uint32_t max) {
    const auto answer = ask_now(actors::fetch_deliveries{which, member, max, 0});
    if (!answer) FAIL(answer.error().detail);
    return std::get<actors::delivery_list>(*answer).deliveries;
  }

  [[nodiscard]] actors::ack_result
  ack(const actors::group_ref& which, const std::vector<actors::delivery>& deliveries) {
    const auto answer = ask_now(actors::ack_deliveries{which, tokens(deliveries), {}});
    if (!answer) FAIL(answer.error().detail);
    return std::get<actors::ack_result>(*answer);
  }

  [[nodiscard]] actors::ack_result nack(
      const actors::group_ref& which,
      const std::vector<actors::delivery>& deliveries,
      std::optional<std::uint32_t> delay_ms = {}) {
    const auto answer =
        ask_now(actors::nack_deliveries{which, tokens(deliveries), delay_ms, "no luck"});
    if (!answer) FAIL(answer.error().detail);
    return std::get<actors::ack_result>(*answer);
  }

  [[nodiscard]] static std::vector<std::string>
  tokens(const std::vector<actors::delivery>& deliveries) {
    std::vector<std::string> all;
    for (const auto& one : deliveries)
      all.push_back(one.token);
    return all;
  }

  [[nodiscard]] static std::vector<std::uint64_t>
  seqs(const std::vector<actors::delivery>& deliveries) {
    std::vector<std::uint64_t> all;
    for (const auto& one : deliveries)
      all.push_back(one.event.seq.raw());
    return all;
  }

  [[nodiscard]] errc refusal(actors::control_body body) {
    const auto answer = ask_now(std::move(body));
    REQUIRE_FALSE(answer);
    return answer.error().code;
  }
};

}  // namespace callboard::testing
