// A program with one workflow, built twice: as it was when runs began, and changed since.
#include <callboard/node.hpp>

namespace {

using callboard::context;
using callboard::flow;
using callboard::json;

struct trip : callboard::workflow<trip> {
  static constexpr std::string_view type = "trip";

  flow<json> run(context& ctx, json) {
#ifdef CALLBOARD_CHANGED
    constexpr auto second = "train";
#else
    constexpr auto second = "hotel";
#endif
    co_await ctx.update(second).required();
    co_await ctx.step("flight", [] { return 1; }).required();
    co_await ctx.step(second, [] { return 2; }).required();
    co_await ctx.signal("go").required();
    co_await ctx.step("travel", [] { return 3; }).required();
    co_return json("there");
  }
};

}  // namespace

int main(int argc, char** argv) {
  return callboard::node{}.add<trip>().main(argc, argv);
}
