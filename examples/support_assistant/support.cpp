#include "examples/support_assistant/support.hpp"

#include <chrono>
#include <tuple>

namespace support {

using callboard::context;
using callboard::flow;
using callboard::json;

namespace {

using namespace std::chrono_literals;

/// After that the ticket is closed unanswered.
constexpr auto approval_wait = 24h;

std::string text_of(const json& object, std::string_view name) {
  const auto* found = object.is_object() ? object.as_object().if_contains(name) : nullptr;
  return found != nullptr && found->is_string() ? std::string{found->as_string()} : std::string{};
}

callboard::model_request
ask(const context& ctx, std::string_view system, const std::string& question) {
  callboard::model_request request;
  request.messages.emplace_back(callboard::system_message(system));
  request.messages.emplace_back(callboard::user_message(question));
  // Providers tell abuse by it; the test provider shows it beside its counts.
  request.options["user"] = ctx.identity().tenant + "/" + ctx.identity().workflow_id;
  return request;
}

}  // namespace

flow<std::string> ticket::classify(context& ctx, std::string question) {
  auto request =
      ask(ctx, "Say in one word what this is about: delivery, refund, invoice or other.", question);
  request.stream = false;
  request.max_tokens = 4;
  auto reply = co_await ctx.model("classify", std::move(request)).required();
  co_return reply.text;
}

flow<std::string>
ticket::draft(context& ctx, std::string customer, std::string question, std::string facts) {
  auto request =
      ask(ctx,
          "Write a short, friendly answer to a customer, from these facts only: " + facts,
          customer + " asks: " + question);
  auto reply = co_await ctx.model("draft", std::move(request)).required();
  co_return reply.text;
}

flow<std::string> ticket::look_up(context& ctx, std::string customer, std::string category) {
  auto found = co_await ctx
                   .task<json>(
                       "lookups",
                       boost::json::object{
                           {"ticket", ctx.identity().workflow_id},
                           {"customer", customer},
                           {"category", category}})
                   .required();
  co_return text_of(found, "facts");
}

flow<json> ticket::ask_a_person(context& ctx, std::string text) {
  ctx.set_status("waiting for approval");
  co_await ctx.update(boost::json::object{{"phase", "approval"}, {"draft", text}}).required();
  auto answer = co_await ctx.signal<json>("approval", approval_wait).required();
  boost::json::object decided{
      {"outcome", "expired"}, {"by", text_of(answer.value_or(json{}), "by")}};
  if (answer) {
    const auto* approved =
        answer->is_object() ? answer->as_object().if_contains("approved") : nullptr;
    decided["outcome"] = approved != nullptr && *approved == true ? "sent" : "rejected";
  }
  co_return json(std::move(decided));
}

flow<json> ticket::run(context& ctx, json input) {
  const auto customer = callboard::from_json<std::string>(input.at("customer"));
  const auto question = callboard::from_json<std::string>(input.at("question"));
  ctx.set_status("classifying");
  const auto category = co_await classify(ctx, question);

  ctx.set_status("looking up");
  const auto [facts, contact] = co_await callboard::all(
      look_up(ctx, customer, category),
      ctx.call<std::int64_t>("desk", customer, "open", ctx.identity().workflow_id).required());

  ctx.set_status("drafting");
  const auto text = co_await draft(ctx, customer, question, facts);
  auto decided = (co_await ask_a_person(ctx, text)).as_object();

  ctx.set_status("closing");
  const bool is_sent = decided.at("outcome") == "sent";
  co_await ctx
      .call(
          "desk",
          customer,
          "close",
          boost::json::object{
              {"ticket", ctx.identity().workflow_id}, {"outcome", decided.at("outcome")}})
      .required();
  decided["category"] = category;
  decided["contact"] = contact;
  if (is_sent) decided["reply"] = text;
  // Whoever shows a list of tickets follows this topic.
  co_await ctx
      .publish(
          "support.closed",
          boost::json::object{
              {"ticket", ctx.identity().workflow_id}, {"outcome", decided.at("outcome")}},
          {.type = "support.closed", .subject = customer})
      .required();
  auto last = decided;
  last["phase"] = "closed";
  co_await ctx.update(std::move(last)).required();
  ctx.set_status(decided.at("outcome"));
  co_return json(std::move(decided));
}

flow<std::int64_t> desk::open(context&, std::string) {
  auto& contacts = state()["contacts"];
  contacts = contacts.is_null() ? 1 : contacts.as_int64() + 1;
  co_return contacts.as_int64();
}

flow<void> desk::close(context&, boost::json::object ended) {
  auto& closed = state()["closed"];
  if (closed.is_null()) closed.emplace_array();
  auto& list = closed.as_array();
  if (list.size() == closed_max) list.erase(list.begin());
  list.emplace_back(std::move(ended));
  co_return;
}

}  // namespace support
