// A workflow is a class with a name, a version and one coroutine.
//
//   struct greeting : callboard::workflow<greeting> {
//     static constexpr std::string_view type = "greeting";
//     callboard::flow<callboard::json> run(callboard::context& ctx, callboard::json input);
//   };
#pragma once

#include "callboard/context.hpp"
#include "callboard/flow.hpp"
#include "callboard/json.hpp"

#include <cstdint>
#include <exception>
#include <memory>
#include <string>
#include <string_view>

namespace callboard {

/// One run's object: its members are the run's variables, made anew by every replay.
class workflow_instance {
public:
  virtual ~workflow_instance() = default;

  virtual flow<json> run_with(context& ctx, json input) = 0;
};

/// What becomes of a run whose code does something else than its record tells: it waits for code
/// that fits, or it fails (permanent) with the code of the mismatch.
enum class mismatch : std::uint8_t { block, fail };

/// What is registered: runs are pinned to the version they began with.
struct workflow_definition {
  std::string type;
  std::uint32_t version = 1;
  mismatch on_mismatch = mismatch::block;
  std::unique_ptr<workflow_instance> (*make)() = nullptr;
};

/// Base of a workflow class. `Derived` has `type` (a name of the same grammar as topics), may have
/// `version` (default 1) and `on_mismatch` (default `mismatch::block`), and has `flow<R>
/// run(context&, Input)` with JSON-convertible types. An input that is no `Input` ends the run as
/// failed: `input_invalid`, permanent.
template <class Derived>
class workflow : public workflow_instance {
public:
  [[nodiscard]] static workflow_definition definition() {
    workflow_definition made;
    made.type = std::string{Derived::type};
    if constexpr (requires { Derived::version; }) made.version = Derived::version;
    if constexpr (requires { Derived::on_mismatch; }) made.on_mismatch = Derived::on_mismatch;
    made.make = []() -> std::unique_ptr<workflow_instance> { return std::make_unique<Derived>(); };
    return made;
  }

  flow<json> run_with(context& ctx, json input) final {
    return convert(static_cast<Derived&>(*this), &Derived::run, ctx, std::move(input));
  }

private:
  template <class R, class Input>
  static flow<json>
  convert(Derived& self, flow<R> (Derived::*run)(context&, Input), context& ctx, json input) {
    using plain = std::remove_cvref_t<Input>;
    plain given = read_input<plain>(input);
    // It may be large, and this lasts as long as the run.
    input = nullptr;
    if constexpr (std::is_void_v<R>) {
      co_await (self.*run)(ctx, std::move(given));
      co_return nullptr;
    } else {
      co_return to_json(co_await (self.*run)(ctx, std::move(given)));
    }
  }

  template <class Input>
  static Input read_input(const json& input) {
    try {
      return from_json<Input>(input);
    } catch (const std::exception& thrown) {
      const std::string type{Derived::type};
      throw run_failed{
          {failure_class::permanent,
           "input_invalid",
           "the input of the workflow '" + type + "': " + thrown.what()}};
    }
  }
};

}  // namespace callboard
