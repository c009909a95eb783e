// The workflows and the agent of the example.
#pragma once

#include <callboard/agent.hpp>
#include <callboard/workflow.hpp>
#include <string>
#include <string_view>

namespace research {

/// `{"subject": string, "angles": [string], "patience_ms": number}`; gives `{"report", "late",
/// "reports"}`: the text, the angles that nobody answered in time, and how many reports there are
/// on the subject by now.
struct study : callboard::workflow<study> {
  static constexpr std::string_view type = "research";

  callboard::flow<callboard::json> run(callboard::context& ctx, callboard::json input);

private:
  /// What a child found out; empty if it was late or failed.
  static callboard::flow<std::string>
  look_into(callboard::context& ctx, std::string subject, std::string angle, std::uint64_t wait_ms);
};

/// `{"subject": string, "angle": string}`; gives the text. A child of `study`, so that it is seen,
/// cancelled and explained on its own.
struct reader : callboard::workflow<reader> {
  static constexpr std::string_view type = "reader";

  callboard::flow<std::string> run(callboard::context& ctx, callboard::json input);
};

/// All reports on one subject, which is the agent's key.
struct notebook : callboard::agent<notebook, boost::json::array> {
  static constexpr std::string_view type = "notebook";
  /// The oldest make room.
  static constexpr std::size_t reports_max = 20;

  static void handlers(callboard::handler_table<notebook>& on) {
    on.message("keep", &notebook::keep).message("last", &notebook::last);
  }

  /// Gives how many reports there are.
  callboard::flow<std::uint64_t> keep(callboard::context& ctx, std::string report);

  /// Null if there is none.
  callboard::flow<callboard::json> last(callboard::context& ctx, callboard::json);
};

}  // namespace research
