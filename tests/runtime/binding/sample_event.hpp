// A stored event as tests of bindings want it.
#pragma once

#include "base/hash.hpp"
#include "proto/event.pb.h"
#include "runtime/binding/bound_event.hpp"
#include "runtime/topic/event_batch.hpp"

#include "tests/support/catch.hpp"

#include <string>
#include <utility>
#include <vector>

namespace callboard::testing {

struct sample_event {
  std::string id = "e-1";
  std::string type = "order.placed";
  std::string subject = "customer-9";
  /// Empty: no data.
  std::string json = R"({"a":1})";
  std::vector<std::pair<std::string, std::string>> extensions{};

  [[nodiscard]] v1::Event event() const {
    v1::Event made;
    made.set_id(id);
    made.set_source("/shop");
    made.set_type(type);
    made.set_subject(subject);
    if (!json.empty()) made.set_json(json);
    for (const auto& [name, text] : extensions) {
      auto& one = *made.add_extensions();
      one.set_name(name);
      one.set_text(text);
    }
    return made;
  }

  [[nodiscard]] static shared_bytes stored(const v1::Event& event) {
    std::string bytes(runtime::event_prefix_size, '\0');
    event.AppendToString(&bytes);
    const auto body = std::string_view{bytes}.substr(runtime::event_prefix_size);
    runtime::write_event_prefix(
        bytes.data(), event_identity(event.source(), event.id()), hash_64(body));
    return shared_bytes{std::move(bytes)};
  }

  [[nodiscard]] static runtime::bound_event read(const v1::Event& event) {
    auto read = runtime::bound_event::read(
        stored(event), time_ms{std::chrono::milliseconds{1'700'000'000'123}});
    REQUIRE(read);
    return *std::move(read);
  }

  [[nodiscard]] runtime::bound_event read() const { return read(event()); }
};

}  // namespace callboard::testing
