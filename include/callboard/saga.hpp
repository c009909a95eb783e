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

  /// Latest first; one that fails for good does not keep the others from running: `throw_on` tells
  /// of it.
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
      } catch (...) {
        not_undone_.emplace_back(
            std::move(last.name),
            failure{
                failure_class::bug,
                "exception",
                "it threw what is no std::exception, as awaiting with another context than its own "
                "does while the run is being cancelled"});
      }
    }
  }

  /// Throws on what ended the body: as it is if all was undone, else with what was not. A bug is a
  /// `run_failed` then.
  [[noreturn]] void throw_on(const std::exception_ptr& thrown) const {
    if (not_undone_.empty()) std::rethrow_exception(thrown);
    try {
      std::rethrow_exception(thrown);
    } catch (const run_failed& failed) {
      throw run_failed{told_by(failed.why())};
    } catch (const cancelled& asked) {
      throw cancelled{told_by(
          asked.why.value_or(failure{failure_class::permanent, "cancelled", "it was cancelled"}))};
    } catch (const std::exception& bug) {
      throw run_failed{told_by({failure_class::bug, "exception", bug.what()})};
    } catch (...) {
      throw run_failed{
          told_by({failure_class::bug, "exception", "something that is no std::exception"})};
    }
  }

private:
  /// `why` with the compensations that failed for good: in words, and as `not_undone` of its
  /// details.
  [[nodiscard]] failure told_by(failure why) const {
    auto details = json_or_text(why.details);
    if (!details.is_object()) details = boost::json::object{};
    auto& told = details.as_object()["not_undone"];
    // Behind those of a saga inside of this one.
    if (!told.is_array()) told = boost::json::array{};
    auto& list = told.as_array();
    for (const auto& [name, reason] : not_undone_) {
      why.message += "; '" + name + "' failed, so that is not undone";
      list.push_back(
          boost::json::object{{"step", name}, {"code", reason.code}, {"message", reason.message}});
    }
    why.details = boost::json::serialize(details);
    return why;
  }

  struct undo {
    std::string name;
    std::function<flow<void>(context&)> body;
  };

  std::vector<undo> undos_;
  std::vector<std::pair<std::string, failure>> not_undone_;
};

/// Runs `body(saga&)`. Whatever it throws (`run_failed`, cancelling, a bug) is thrown on once the
/// compensations are through, with what could not be undone: `saga::throw_on`. C++ cannot await in
/// a handler, so the handler is left first. A saga that loses an `any` undoes nothing: its frame is
/// destroyed where it stands. Put the race inside, `any(…)` as a step of the body, and throw
/// `run_failed` if the clock wins.
template <class F>
[[nodiscard]] auto run_saga(context& ctx, F body) -> std::invoke_result_t<F&, saga&> {
  using T = typename std::invoke_result_t<F&, saga&>::value_type;
  saga undos;
  std::exception_ptr thrown;
  std::optional<std::conditional_t<std::is_void_v<T>, nothing, T>> result;
  try {
    if constexpr (std::is_void_v<T>) {
      co_await body(undos);
      result.emplace();
    } else {
      result.emplace(co_await body(undos));
    }
  } catch (...) {
    thrown = std::current_exception();
  }
  if (thrown) {
    co_await ctx.shielded([&undos](context& inner) -> flow<void> { return undos.undo_all(inner); });
    undos.throw_on(thrown);
  }
  if constexpr (!std::is_void_v<T>) co_return std::move(*result);
}

}  // namespace callboard
