// Undoing what was done when the rest cannot be: compensations in reverse order, recorded like any
// command and run also when the workflow is cancelled.
#pragma once

#include "callboard/context.hpp"
#include "callboard/json_text.hpp"

#include <boost/json/serialize.hpp>

#include <exception>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace callboard {

/// Collects compensations; see `run_saga`.
class saga {
public:
  /// `undo` runs as a step named `name` if the saga does not end well, and is retried as any step
  /// by `retry`: what must be undone may be worth more attempts than the default. Register it
  /// before the step that it undoes: the step may have taken effect although its result was never
  /// recorded.
  void compensate(
      std::string name,
      std::function<outcome<void>(const step_attempt&)> undo,
      retry_policy retry = {}) {
    auto as_step = [name, undo = std::move(undo), retry](context& ctx) -> flow<void> {
      co_await ctx.step(name, undo, retry).required();
    };
    compensate(std::move(name), std::move(as_step));
  }

  /// An `undo` of any commands: a task for a worker, a child, a call of an agent. It has failed if
  /// it throws, as `required()` does; `name` is for `not_undone` only. It is run shielded: waiting
  /// for what never comes keeps a cancelled run from ending.
  void compensate(std::string name, std::function<flow<void>(context&)> undo) {
    undos_.push_back({std::move(name), std::move(undo)});
  }

  /// Latest first; one that fails for good does not keep the others from running: `told_by` says
  /// so.
  flow<void> undo_all(context& ctx) {
    while (!undos_.empty()) {
      auto last = std::move(undos_.back());
      undos_.pop_back();
      try {
        co_await last.body(ctx);
      } catch (const run_failed& failed) {
        not_undone_.emplace_back(std::move(last.name), failed.why());
      } catch (const std::exception& bug) {
        not_undone_.emplace_back(
            std::move(last.name), failure{failure_class::bug, "exception", bug.what()});
      }
    }
  }

  /// `why` with the compensations that failed for good: in words, and as `not_undone` of its
  /// details.
  [[nodiscard]] failure told_by(failure why) const {
    if (not_undone_.empty()) return why;
    boost::json::array list;
    for (const auto& [name, reason] : not_undone_) {
      why.message += "; '" + name + "' failed, so that is not undone";
      list.push_back(
          boost::json::object{{"step", name}, {"code", reason.code}, {"message", reason.message}});
    }
    auto details = json_or_text(why.details);
    if (!details.is_object()) details = boost::json::object{};
    details.as_object()["not_undone"] = std::move(list);
    why.details = boost::json::serialize(details);
    return why;
  }

private:
  struct undo {
    std::string name;
    std::function<flow<void>(context&)> body;
  };

  std::vector<undo> undos_;
  std::vector<std::pair<std::string, failure>> not_undone_;
};

/// Runs `body(saga&)`. Whatever it throws (`run_failed`, cancelling, a bug) is thrown on once the
/// compensations are through; a `run_failed` with what could not be undone. C++ cannot await in a
/// handler, so the handler is left first. A saga that loses an `any` undoes nothing: its frame is
/// destroyed where it stands. Put the race inside, `any(…)` as a step of the body, and throw
/// `run_failed` if the clock wins.
template <class F>
[[nodiscard]] auto run_saga(context& ctx, F body) -> std::invoke_result_t<F&, saga&> {
  using T = typename std::invoke_result_t<F&, saga&>::value_type;
  saga undos;
  std::exception_ptr thrown;
  std::optional<failure> why;
  std::optional<std::conditional_t<std::is_void_v<T>, nothing, T>> result;
  try {
    if constexpr (std::is_void_v<T>) {
      co_await body(undos);
      result.emplace();
    } else {
      result.emplace(co_await body(undos));
    }
  } catch (const run_failed& failed) {
    thrown = std::current_exception();
    why = failed.why();
  } catch (...) {
    thrown = std::current_exception();
  }
  if (thrown) {
    co_await ctx.shielded([&undos](context& inner) -> flow<void> { return undos.undo_all(inner); });
    if (why) throw run_failed{undos.told_by(*std::move(why))};
    std::rethrow_exception(thrown);
  }
  if constexpr (!std::is_void_v<T>) co_return std::move(*result);
}

}  // namespace callboard
