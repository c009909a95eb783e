#include "runtime/workflow/recorded_builds.hpp"

#include "runtime/workflow/json_values.hpp"

#include <boost/json/serialize.hpp>

#include <algorithm>
#include <utility>

namespace callboard::runtime {

namespace {

/// A number of a command; nothing if there is none.
std::uint32_t command_at(const boost::json::object& from, std::string_view key) {
  const auto* value = from.if_contains(key);
  if (value == nullptr || !value->is_number()) return 0;
  boost::system::error_code failed;
  const auto number = value->to_number<std::uint32_t>(failed);
  return failed ? 0 : number;
}

const std::string nobody_knows;

}  // namespace

void recorded_builds::take(const run_event& event) {
  if (event.kind == run_event_kind::issued) {
    last_command_ = std::max(last_command_, event.command);
    return;
  }
  const auto* data = event.data.if_object();
  if (data == nullptr) return;
  if (event.kind == run_event_kind::started) {
    spans_.clear();
    last_command_ = 0;
    add(0, text_at(*data, "build"));
  } else if (event.kind == run_event_kind::build_changed) {
    // Earlier versions did not say from where on, and wrote it behind what it had done.
    const auto first = command_at(*data, "command");
    add(first == 0 ? last_command_ + 1 : first, text_at(*data, "build"));
  } else if (event.kind == run_event_kind::parted && data->contains("build")) {
    add(last_command_ + 1, text_at(*data, "build"));
  }
}

void recorded_builds::add(std::uint32_t first, std::string build) {
  if (!spans_.empty() && spans_.back().build == build) return;
  spans_.push_back({first, std::move(build)});
}

const std::string& recorded_builds::latest() const {
  return spans_.empty() ? nobody_knows : spans_.back().build;
}

const std::string& recorded_builds::of(std::uint32_t command) const {
  if (command == 0) return latest();
  const auto found = std::ranges::find_if(
      spans_.rbegin(), spans_.rend(), [&](const span& one) { return one.first <= command; });
  return found == spans_.rend() ? nobody_knows : found->build;
}

run_event make_build_changed(const std::string& build, std::uint32_t first) {
  run_event event;
  event.kind = run_event_kind::build_changed;
  event.data = boost::json::object{{"build", build}, {"command", first}};
  return event;
}

failure with_builds(failure why, const recorded_builds& recorded, const std::string& build) {
  auto details = json_or_text(why.details);
  if (!details.is_object()) details = boost::json::object{};
  auto& to = details.get_object();
  to["recorded_build"] = recorded.of(command_at(to, "command"));
  to["build"] = build;
  why.details = boost::json::serialize(details);
  return why;
}

}  // namespace callboard::runtime
