// The workflow of docs/guide/first-workflow.md.
#include <callboard/node.hpp>
#include <callboard/workflow.hpp>

using namespace std::chrono_literals;

struct greeting : callboard::workflow<greeting> {
  static constexpr std::string_view type = "greeting";

  callboard::flow<std::string> run(callboard::context& ctx, std::string name) {
    // Runs on a worker thread; its result is recorded before the next line.
    auto text = co_await ctx.step("compose", [name] { return "Hello, " + name; }).required();
    // Whoever watches workflow.{id} sees this.
    co_await ctx.update(boost::json::object{{"draft", text}}).required();
    // Waits for POST …/signals/approve, through restarts, for at most a day.
    auto approved = co_await ctx.signal<bool>("approve", 24h).required();
    if (!approved || !*approved) co_return "never mind";
    co_await ctx.sleep(2s).required();
    co_return text + "!";
  }
};

int main(int argc, char** argv) {
  return callboard::node{}.add<greeting>().main(argc, argv);
}
