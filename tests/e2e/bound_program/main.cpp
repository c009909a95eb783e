// A node with one of each that a binding can reach: a workflow to start, one that hears signals,
// and an agent that counts.
#include <callboard/agent.hpp>
#include <callboard/node.hpp>
#include <callboard/workflow.hpp>

namespace {

using namespace callboard;

/// Ends at once with its input.
struct echo : workflow<echo> {
  static constexpr std::string_view type = "echo";

  flow<json> run(context&, json input) { co_return input; }
};

/// Hears signals `note` until it has heard `{"last":true}`; gives the numbers `n` as they came.
struct gather : workflow<gather> {
  static constexpr std::string_view type = "gather";

  flow<json> run(context& ctx, json) {
    boost::json::array heard;
    while (true) {
      const auto note = co_await ctx.signal("note").required();
      const auto& said = note.as_object();
      if (said.contains("last")) co_return heard;
      heard.push_back(said.at("n"));
    }
  }
};

struct counter : agent<counter, std::int64_t> {
  static constexpr std::string_view type = "counter";

  static void handlers(handler_table<counter>& on) { on.message("add", &counter::add); }

  flow<std::int64_t> add(context&, json) { co_return ++state(); }
};

}  // namespace

int main(int argc, char** argv) {
  return node{}.add<echo>().add<gather>().add<counter>().main(argc, argv);
}
