// The workflows of the example.
#pragma once

#include <callboard/saga.hpp>
#include <callboard/workflow.hpp>
#include <string>
#include <string_view>

namespace order_saga {

/// `{"item": string, "total": number, "fail"?: name of the step that refuses}`
struct order : callboard::workflow<order> {
  static constexpr std::string_view type = "order";

  callboard::flow<std::string> run(callboard::context& ctx, callboard::json input);

private:
  callboard::flow<void> approve(callboard::context& ctx, double total);
};

/// `{"order": string}`; gives the invoice's number.
struct invoice : callboard::workflow<invoice> {
  static constexpr std::string_view type = "invoice";

  callboard::flow<std::string> run(callboard::context& ctx, callboard::json input);
};

/// Sleeps for so many milliseconds.
struct reminder : callboard::workflow<reminder> {
  static constexpr std::string_view type = "reminder";

  callboard::flow<std::string> run(callboard::context& ctx, std::uint64_t delay_ms);
};

}  // namespace order_saga
