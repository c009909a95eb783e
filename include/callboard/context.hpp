// What workflow code may do: every member that returns a command, and the few that answer at once,
// go through the run's journal.
#pragma once

#include "callboard/command.hpp"
#include "callboard/first_success.hpp"
#include "callboard/flow.hpp"
#include "callboard/join.hpp"
#include "callboard/json.hpp"
#include "callboard/model.hpp"
#include "callboard/time_span.hpp"

#include <chrono>
#include <concepts>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

namespace callboard {

/// Who the run is.
struct run_identity {
  std::string tenant;
  std::string workflow_id;
  /// 1, 2, … : `continue_as_new` makes the next.
  std::uint32_t run = 1;
  std::string type;
  std::uint32_t version = 1;
  std::string correlation_id;
  /// Topic that gets what `update` shows, too; empty: none.
  std::string mirror;
};

struct publish_options {
  std::string type = "callboard.workflow.event";
  std::string subject;
};

/// What becomes of a child whose parent ends first.
enum class parent_close : std::uint8_t { abandon, cancel };

struct child_options {
  /// Default: made from the parent's id, its run and the command's index.
  std::string id;
  parent_close on_parent_close = parent_close::cancel;
};

struct call_options {
  /// 0: however long it takes. The agent may handle the message after that all the same.
  time_span timeout = std::chrono::seconds{30};
};

/// Classes of service of a task queue, the most urgent first.
enum class task_priority : std::uint8_t { control, interactive, normal, bulk };

struct task_options {
  task_priority priority = task_priority::normal;
  /// Not given to a worker before it has passed.
  time_span delay = std::chrono::milliseconds{0};
  /// Tasks of one key take turns with those of others. At most 1 KiB.
  std::string fairness_key{};
  /// 0: the queue's.
  std::uint32_t attempts_max = 0;
  /// From now, waiting in the queue included; then the task is withdrawn. 0: however long it takes.
  time_span timeout = std::chrono::milliseconds{0};
};

template <class Derived, class State>
  requires std::default_initializable<State> && std::copyable<State>
class agent;

namespace detail {

template <class F>
auto call_step(F& body, const step_attempt& attempt) {
  if constexpr (std::invocable<F&, const step_attempt&>) {
    return body(attempt);
  } else if constexpr (std::invocable<F&, std::stop_token>) {
    return body(attempt.stop);
  } else {
    return body();
  }
}

template <class F>
using step_return = decltype(call_step(std::declval<F&>(), std::declval<const step_attempt&>()));

template <class R>
struct step_result {
  using type = R;
};

template <class R>
struct step_result<outcome<R>> {
  using type = R;
};

template <>
struct step_result<void> {
  using type = nothing;
};

template <>
struct step_result<outcome<void>> {
  using type = nothing;
};

template <class F>
outcome<json> run_step(F& body, const step_attempt& attempt) {
  using R = step_return<F>;
  if constexpr (std::is_void_v<R>) {
    call_step(body, attempt);
    return json{};
  } else if constexpr (std::is_same_v<R, outcome<void>>) {
    auto ended = call_step(body, attempt);
    if (!ended) return std::unexpected{std::move(ended.error())};
    return json{};
  } else if constexpr (requires(R& r) {
                         r.error();
                         *r;
                       }) {
    auto ended = call_step(body, attempt);
    if (!ended) return std::unexpected{std::move(ended.error())};
    return to_json(std::move(*ended));
  } else {
    return to_json(call_step(body, attempt));
  }
}

}  // namespace detail

/// Given to `workflow::run`; a reference to it, or a copy, may go into the run's own flows and
/// nowhere else. Not thread-safe: one input at a time.
class context {
public:
  context(detail::execution& run, const run_identity& identity, bool is_shielded = false)
      : run_{&run}, identity_{&identity}, is_shielded_{is_shielded} {}

  /// For the handling of one message: `chain` are the agents that wait for its reply.
  context(const context& outer, const boost::json::array& chain) : context{outer} {
    chain_ = &chain;
  }

  [[nodiscard]] const run_identity& identity() const { return *identity_; }

  /// Runs `body()`, `body(step_attempt)` or `body(std::stop_token)` (the attempt's `stop`) on a
  /// worker thread and records what it returns: a value, or `outcome<value>`.
  /// It runs again only if it failed and may be retried, or if the node died before its result was
  /// recorded; then with the same idempotency key. The body owns what it needs (capture by value):
  /// it may outlive the run's frame. An exception from it is a bug: final.
  template <class F>
  [[nodiscard]] auto step(std::string name, F body, retry_policy retry = {}) const {
    using T = typename detail::step_result<detail::step_return<F>>::type;
    static_assert(std::copy_constructible<F>, "a step is kept until its result is recorded");
    detail::command_request request;
    request.kind = command_kind::step;
    request.name = std::move(name);
    request.retry = retry;
    request.body.begin = [body = std::move(body)](
                             const step_attempt& attempt,
                             const std::shared_ptr<detail::step_end>& end) mutable {
      end->tell(detail::run_step(body, attempt));
    };
    return make<T>(std::move(request));
  }

  /// A step whose work goes on elsewhere (a client library with callbacks, a thread of your own):
  /// `body(attempt, step_promise<T>)` begins it on a worker thread and returns; the promise tells
  /// the end. The run stays in memory until then. What holds for `step` holds here; an attempt that
  /// is lost with its node may still be under way elsewhere when the next one begins.
  template <class T, class F>
    requires std::invocable<F&, const step_attempt&, step_promise<T>>
  [[nodiscard]] command<T> async_step(std::string name, F body, retry_policy retry = {}) const {
    static_assert(std::copy_constructible<F>, "a step is kept until its result is recorded");
    detail::command_request request;
    request.kind = command_kind::step;
    request.name = std::move(name);
    request.retry = retry;
    request.body.is_async = true;
    request.body.begin = [body = std::move(body)](
                             const step_attempt& attempt,
                             std::shared_ptr<detail::step_end> end) mutable {
      body(attempt, step_promise<T>{std::move(end)});
    };
    return make<T>(std::move(request));
  }

  /// Asks a model. The answer is recorded once; until then the provider may be asked again, always
  /// under the same idempotency key. While it is made, the run's channel shows its text
  /// (`model.delta`). Fails with the provider's refusal: `kind` says what may help.
  [[nodiscard]] command<model_reply> model(std::string name, model_request question) const {
    detail::command_request request;
    request.kind = command_kind::model;
    request.name = std::move(name);
    request.retry = question.retry;
    // Not the question itself: a history would grow with the square of a conversation.
    if (!question.provider.empty()) request.arguments["provider"] = question.provider;
    if (!question.model.empty()) request.arguments["model"] = question.model;
    request.arguments["messages"] = question.messages.size();
    request.question = std::make_shared<const model_request>(std::move(question));
    return make<model_reply>(std::move(request));
  }

  /// Durable: goes on after a restart; ends at `delay` by shard time, never early. What would end
  /// after the year 9999 ends with it.
  [[nodiscard]] command<nothing> sleep(time_span delay, std::string name = "sleep") const {
    detail::command_request request;
    request.kind = command_kind::sleep;
    request.name = std::move(name);
    request.delay = delay;
    return make<nothing>(std::move(request));
  }

  /// Ends when the machine's clock shows `when`, and `now()` too, which shows no less from then on.
  /// If that clock is set forward by more than a second it ends within two all the same, and
  /// `now()` shows `when` until the shard's time is past it.
  template <class Duration>
  [[nodiscard]] command<nothing> sleep_until(std::chrono::sys_time<Duration> when) const {
    detail::command_request request;
    request.kind = command_kind::sleep;
    request.name = "sleep_until";
    request.arguments["clock"] = "wall";
    request.until =
        std::chrono::sys_time<std::chrono::milliseconds>{time_span{when.time_since_epoch()}};
    return make<nothing>(std::move(request));
  }

  /// The next signal of this name, sent before or after now; each is read once. One whose payload
  /// is no T is read, too: as the failure `wrong_shape`.
  template <class T = json>
  [[nodiscard]] command<T> signal(std::string name) const {
    detail::command_request request;
    request.kind = command_kind::signal;
    request.name = std::move(name);
    return make<T>(std::move(request));
  }

  /// The same, or nothing after `timeout`. A signal without payload is null, not nothing.
  template <class T = json>
  [[nodiscard]] command<std::optional<T>> signal(std::string name, time_span timeout) const {
    detail::command_request request;
    request.kind = command_kind::signal;
    request.name = std::move(name);
    request.delay = timeout;
    return make<std::optional<T>>(std::move(request));
  }

  /// Publishes an event to a topic of the tenant, once; gives its seq.
  template <class T>
  [[nodiscard]] command<std::uint64_t>
  publish(std::string topic, T&& data, publish_options options = {}) const {
    detail::command_request request;
    request.kind = command_kind::publish;
    request.name = std::move(topic);
    request.arguments["data"] = to_json(std::forward<T>(data));
    request.arguments["type"] = std::move(options.type);
    if (!options.subject.empty()) request.arguments["subject"] = std::move(options.subject);
    return make<std::uint64_t>(std::move(request));
  }

  /// Starts another workflow and waits for its result.
  template <class T = json, class Input = json>
  [[nodiscard]] command<T>
  child(std::string type, Input&& input, child_options options = {}) const {
    detail::command_request request;
    request.kind = command_kind::child;
    request.name = std::move(type);
    request.arguments["input"] = to_json(std::forward<Input>(input));
    if (!options.id.empty()) request.arguments["id"] = std::move(options.id);
    request.arguments["on_parent_close"] =
        options.on_parent_close == parent_close::cancel ? "cancel" : "abandon";
    return make<T>(std::move(request));
  }

  /// Sends an agent a message and waits for its reply; the agent is made by its first message. A
  /// call that comes back to an agent that waits for it fails at once with `agent_cycle`. One whose
  /// reply the agent no longer keeps fails with `reply_forgotten`: it may have been handled.
  template <class T = json, class Payload = json>
  [[nodiscard]] command<T> call(
      std::string type,
      std::string key,
      std::string message,
      Payload&& payload = {},
      call_options options = {}) const {
    detail::command_request request;
    request.kind = command_kind::call;
    request.name = type + "/" + key + "/" + message;
    request.arguments["type"] = std::move(type);
    request.arguments["key"] = std::move(key);
    request.arguments["message"] = std::move(message);
    request.arguments["payload"] = to_json(std::forward<Payload>(payload));
    if (chain_ != nullptr) request.arguments["chain"] = *chain_;
    if (options.timeout.count() != 0) request.delay = options.timeout;
    return make<T>(std::move(request));
  }

  /// Hands a task to the workers of a queue, once, and waits for what one of them completes it with
  /// (JSON; other text arrives as a string). The queue is made by its first task. Fails with
  /// `task_dead` when no attempt succeeded, with `task_queue_deleted`, or with `timeout`. Whoever
  /// goes on without it withdraws it: a worker that holds it then loses its lease.
  template <class T = json, class Payload = json>
  [[nodiscard]] command<T>
  task(std::string queue, Payload&& payload, task_options options = {}) const {
    static constexpr std::string_view names[]{"control", "interactive", "normal", "bulk"};
    detail::command_request request;
    request.kind = command_kind::task;
    request.name = std::move(queue);
    request.arguments["payload"] = to_json(std::forward<Payload>(payload));
    request.arguments["priority"] = names[static_cast<std::size_t>(options.priority)];
    if (options.delay.count() > 0) request.arguments["delay_ms"] = options.delay.count();
    if (!options.fairness_key.empty()) {
      request.arguments["fairness_key"] = std::move(options.fairness_key);
    }
    if (options.attempts_max != 0) request.arguments["attempts_max"] = options.attempts_max;
    if (options.timeout.count() != 0) request.delay = options.timeout;
    return make<T>(std::move(request));
  }

  /// Tells whoever watches `workflow.{id}`: an event of type `workflow.update`.
  template <class T>
  [[nodiscard]] command<nothing> update(T&& data) const {
    detail::command_request request;
    request.kind = command_kind::update;
    request.name = "update";
    request.arguments["data"] = to_json(std::forward<T>(data));
    return make<nothing>(std::move(request));
  }

  /// What `GET /workflows/{id}` shows as `state`.
  template <class T>
  void set_status(T&& state) const {
    run_->set_status(to_json(std::forward<T>(state)));
  }

  /// The time of the input that is being worked on, or the latest that was slept until: the same in
  /// every replay.
  [[nodiscard]] std::chrono::sys_time<std::chrono::milliseconds> now() const { return run_->now(); }

  /// The same numbers in every replay of this run.
  [[nodiscard]] std::uint64_t random() const { return run_->random(); }

  [[nodiscard]] std::string uuid() const;

  /// Which way of doing something this run began with: `current` for runs that come here for the
  /// first time now, 0 for runs that passed before there was a choice. Now is also what follows the
  /// last input that is recorded, where the run has done nothing yet about it.
  [[nodiscard]] std::uint32_t version(const std::string& change, std::uint32_t current) const {
    return run_->version(change, current);
  }

  /// Runs `body(shielded context)` to its end even while the run is being cancelled. Does not help
  /// against losing an `any`.
  template <class F>
  [[nodiscard]] auto shielded(F body) const -> std::invoke_result_t<F&, context&> {
    context inner = *this;
    inner.is_shielded_ = true;
    return run_shielded(std::move(inner), std::move(body));
  }

  /// Ends this run and begins the next of the same workflow with `input` and an empty history.
  /// `co_return ctx.continue_as_new(...)`.
  template <class T>
  [[nodiscard]] json continue_as_new(T&& input) const {
    run_->continue_with(to_json(std::forward<T>(input)));
    return {};
  }

private:
  template <class Derived, class State>
    requires std::default_initializable<State> && std::copyable<State>
  friend class agent;

  /// Answers the message that is being handled. Gives what was recorded as the reply: `with`, or
  /// that it is too large.
  [[nodiscard]] command<json> reply(boost::json::object with) const {
    detail::command_request request;
    request.kind = command_kind::reply;
    request.name = "reply";
    request.arguments = std::move(with);
    return make<json>(std::move(request));
  }

  /// What is recorded of this run, which has handled so many messages, or is to be at once, is so
  /// much that it had better begin anew with its state.
  [[nodiscard]] bool is_history_long(std::uint32_t handled) const {
    return run_->is_history_long(handled);
  }

  /// Why an agent may not keep this state; nothing if it may.
  [[nodiscard]] std::optional<failure> flaw_in_state(const json& state) const {
    return run_->flaw_in_state(state);
  }

  template <class T>
  command<T> make(detail::command_request request) const {
    request.is_shielded = is_shielded_;
    return {*run_, std::move(request)};
  }

  template <class F>
  static std::invoke_result_t<F&, context&> run_shielded(context inner, F body) {
    co_return co_await body(inner);
  }

  detail::execution* run_;
  const run_identity* identity_;
  const boost::json::array* chain_ = nullptr;
  bool is_shielded_;
};

}  // namespace callboard
