// An assistant that answers questions with a model and a tool: the workflow of
// docs/guide/model-calls.md.
#include <boost/json/parse.hpp>

#include <callboard/node.hpp>
#include <callboard/workflow.hpp>

using callboard::json;

namespace {

/// What the tool does: a step like any other, so its result is recorded once, too.
std::string price_of(const std::string& item) {
  return item == "lamp" ? "40 EUR" : "not sold here";
}

boost::json::object price_tool() {
  return {
      {"type", "function"},
      {"function",
       {{"name", "price"},
        {"description", "The price of an item"},
        {"parameters",
         {{"type", "object"},
          {"properties", {{"item", {{"type", "string"}}}}},
          {"required", {"item"}}}}}}};
}

std::string item_of(const std::string& arguments) {
  boost::system::error_code failed;
  const auto value = boost::json::parse(arguments, failed);
  const auto* item = failed              ? nullptr
                     : value.is_object() ? value.get_object().if_contains("item")
                                         : nullptr;
  return item != nullptr && item->is_string() ? std::string{item->get_string()} : std::string{};
}

}  // namespace

struct assistant : callboard::workflow<assistant> {
  static constexpr std::string_view type = "assistant";
  static constexpr int turns_max = 8;

  callboard::flow<json> run(callboard::context& ctx, std::string question) {
    boost::json::array messages;
    messages.emplace_back(callboard::system_message("You sell lamps. Be brief."));
    messages.emplace_back(callboard::user_message(question));
    for (int turn = 0; turn < turns_max; ++turn) {
      callboard::model_request request;
      request.messages = messages;
      request.tools.emplace_back(price_tool());
      auto reply = co_await ctx.model("answer", std::move(request)).required();
      messages.emplace_back(reply.message());
      if (reply.tool_calls.empty())
        co_return boost::json::object{{"answer", reply.text}, {"turns", turn + 1}};
      for (const auto& call : reply.tool_calls) {
        const auto item = item_of(call.arguments);
        auto price = co_await ctx.step("price", [item] { return price_of(item); }).required();
        messages.emplace_back(callboard::tool_message(call.id, price));
      }
    }
    throw callboard::run_failed{
        {callboard::failure_class::permanent, "too_many_turns", "the model never comes to an end"}};
  }
};

int main(int argc, char** argv) {
  return callboard::node{}.add<assistant>().main(argc, argv);
}
