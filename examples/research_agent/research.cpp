#include "examples/research_agent/research.hpp"

#include <chrono>
#include <optional>
#include <vector>

namespace research {

using callboard::context;
using callboard::flow;
using callboard::json;

namespace {

/// Agents' keys are of the grammar of topic names, subjects are not.
std::string key_of(const std::string& subject) {
  std::string key;
  for (const char c : subject) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
    key += plain ? c : '-';
  }
  return key;
}

callboard::model_request ask(std::string_view system, std::string_view question) {
  callboard::model_request request;
  request.messages.emplace_back(callboard::system_message(system));
  request.messages.emplace_back(callboard::user_message(question));
  return request;
}

}  // namespace

flow<std::string> reader::run(context& ctx, json input) {
  const auto subject = callboard::from_json<std::string>(input.at("subject"));
  const auto angle = callboard::from_json<std::string>(input.at("angle"));
  auto reply = co_await ctx.model("read", ask("Answer in three sentences.", subject + ": " + angle))
                   .required();
  co_return reply.text;
}

flow<std::string>
study::look_into(context& ctx, std::string subject, std::string angle, std::uint64_t wait_ms) {
  // Whoever loses is cancelled: the timer, or the child with the call it has under way.
  auto first = co_await callboard::any(
      ctx.child<std::string>("reader", boost::json::object{{"subject", subject}, {"angle", angle}}),
      ctx.sleep(std::chrono::milliseconds{wait_ms}, "patience"));
  const auto* found = std::get_if<0>(&first);
  co_return found != nullptr && *found ? **found : std::string{};
}

flow<json> study::run(context& ctx, json input) {
  const auto subject = callboard::from_json<std::string>(input.at("subject"));
  const auto angles = callboard::from_json<std::vector<std::string>>(input.at("angles"));
  const auto patience_ms = callboard::from_json<std::uint64_t>(input.at("patience_ms"));
  ctx.set_status("reading");
  std::vector<flow<std::string>> readers;
  readers.reserve(angles.size());
  for (const auto& angle : angles)
    readers.push_back(look_into(ctx, subject, angle, patience_ms));
  const auto texts = co_await callboard::all(std::move(readers));

  std::string notes;
  boost::json::array late;
  for (std::size_t i = 0; i < texts.size(); ++i) {
    if (texts[i].empty()) {
      late.emplace_back(angles[i]);
    } else {
      notes += angles[i] + ": " + texts[i] + "\n";
    }
  }
  if (notes.empty()) {
    throw callboard::run_failed{
        {callboard::failure_class::permanent, "nothing_found", "no angle was answered in time"}};
  }
  ctx.set_status("writing");
  auto report =
      co_await ctx.model("report", ask("Make one paragraph of these notes.", notes)).required();
  const auto reports =
      co_await ctx.call<std::uint64_t>("notebook", key_of(subject), "keep", report.text).required();
  co_return boost::json::object{
      {"report", report.text}, {"late", std::move(late)}, {"reports", reports}};
}

flow<std::uint64_t> notebook::keep(context&, std::string report) {
  if (state().size() == reports_max) state().erase(state().begin());
  state().emplace_back(std::move(report));
  co_return state().size();
}

flow<json> notebook::last(context&, json) {
  co_return state().empty() ? json{} : state().back();
}

}  // namespace research
