// command<T>: one recorded effect of a workflow, issued when it is awaited. What it is and how it
// ended stand in the journal; replay gives the same answer without doing it again.
#pragma once

#include "callboard/failure.hpp"
#include "callboard/flow.hpp"
#include "callboard/json.hpp"
#include "callboard/step.hpp"

#include <chrono>
#include <coroutine>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>

namespace callboard {

struct model_request;

enum class command_kind : std::uint8_t {
  step,
  sleep,
  signal,
  publish,
  child,
  update,
  version,
  call,
  reply,
  model,
  task
};

namespace detail {

struct command_request {
  command_kind kind{};
  std::string name;
  /// What the journal keeps of it besides its name.
  boost::json::object arguments;
  /// Steps only.
  step_body body;
  /// Model calls only.
  std::shared_ptr<const model_request> question;
  retry_policy retry;
  /// Relative deadline of sleeps, and of what is waited for with a timeout.
  std::optional<std::chrono::milliseconds> delay;
  /// Sleeps only: ends when the wall clock shows it, instead of after `delay`.
  std::optional<std::chrono::sys_time<std::chrono::milliseconds>> until;
  bool is_shielded = false;
};

/// Such a command is answered with null when its time is up, and else with a list of the one thing
/// that came, which may be null itself.
[[nodiscard]] inline bool may_time_out(const command_request& request) {
  return request.kind == command_kind::signal && request.delay.has_value();
}

class execution;

/// Where the answer of an issued command arrives. Lives in the coroutine frame; if the frame goes
/// first, the command is abandoned.
struct command_slot {
  execution* owner = nullptr;
  std::uint32_t index = 0;
  std::coroutine_handle<> waiter;
  std::optional<outcome<json>> answer;
  bool is_cancelled = false;

  command_slot() = default;
  command_slot(const command_slot&) = delete;
  command_slot& operator=(const command_slot&) = delete;
  ~command_slot();
};

/// What issues commands: the engine of one run. Implemented by `runtime`.
class execution {
public:
  /// Gives the command the next index. The slot is answered at once or later; never if the run is
  /// parked because the journal tells of another command here.
  virtual void issue(command_request request, command_slot& slot) = 0;
  virtual void abandon(command_slot& slot) = 0;

  [[nodiscard]] virtual std::chrono::sys_time<std::chrono::milliseconds> now() const = 0;
  [[nodiscard]] virtual std::uint64_t random() = 0;
  [[nodiscard]] virtual std::uint32_t version(const std::string& change, std::uint32_t current) = 0;
  virtual void set_status(json state) = 0;
  virtual void continue_with(json input) = 0;
  [[nodiscard]] virtual bool is_history_long(std::uint32_t handled) const = 0;
  /// Why a state of an agent could not be handed on to its next run; nothing if it can.
  [[nodiscard]] virtual std::optional<failure> flaw_in_state(const json& state) const = 0;

protected:
  ~execution() = default;
};

inline command_slot::~command_slot() {
  if (owner != nullptr) owner->abandon(*this);
}

}  // namespace detail

/// Awaiting it gives `outcome<T>`; await `required()` of it to get T and fail the run otherwise.
/// What came from outside and is no T is the failure `wrong_shape`.
template <class T>
class [[nodiscard]] command {
public:
  command(detail::execution& run, detail::command_request request)
      : run_{&run}, request_{std::move(request)} {}

  auto operator co_await() && { return awaiter{*run_, std::move(request_)}; }

  /// The same command, with failure ending the run (`run_failed` is thrown).
  flow<T> required() && { return require(std::move(*this)); }

private:
  static flow<T> require(command self) {
    outcome<T> ended = co_await std::move(self);
    if (!ended) throw run_failed{std::move(ended.error())};
    co_return std::move(*ended);
  }

  struct awaiter {
    awaiter(detail::execution& run, detail::command_request request)
        : run_{run},
          name_{request.name},
          may_time_out_{detail::may_time_out(request)},
          request_{std::move(request)} {}

    bool await_ready() {
      run_.issue(std::move(request_), slot_);
      return slot_.answer.has_value() || slot_.is_cancelled;
    }

    void await_suspend(std::coroutine_handle<> waiter) { slot_.waiter = waiter; }

    outcome<T> await_resume() {
      if (slot_.is_cancelled) throw cancelled{};
      if (!*slot_.answer) return std::unexpected{std::move(slot_.answer->error())};
      try {
        return read(**slot_.answer);
      } catch (const std::exception& thrown) {
        return give_up("wrong_shape", "what came for '" + name_ + "': " + thrown.what());
      }
    }

    T read(const json& answer) const {
      if constexpr (detail::is_optional<T>) {
        if (may_time_out_) {
          if (answer.is_null()) return std::nullopt;
          return T{std::in_place, from_json<typename T::value_type>(answer.as_array().at(0))};
        }
      }
      return from_json<T>(answer);
    }

    detail::execution& run_;
    std::string name_;
    bool may_time_out_;
    detail::command_request request_;
    detail::command_slot slot_;
  };

  detail::execution* run_;
  detail::command_request request_;
};

}  // namespace callboard
