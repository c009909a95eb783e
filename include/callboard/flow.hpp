// flow<T>: the coroutine of workflow code. Lazy: it runs when it is awaited, or handed to `all` or
// `any`. Only the durable-execution engine resumes it, one input at a time.
#pragma once

#include <coroutine>
#include <exception>
#include <optional>
#include <type_traits>
#include <utility>
#include <variant>

namespace callboard {

template <class T>
class flow;

namespace detail {

/// Hears that a flow has ended, and says who goes on.
class flow_listener {
public:
  virtual std::coroutine_handle<> on_done() = 0;

protected:
  ~flow_listener() = default;
};

struct flow_promise_base {
  flow_listener* listener = nullptr;
  std::exception_ptr thrown;

  struct final_awaiter {
    [[nodiscard]] bool await_ready() const noexcept { return false; }

    template <class Promise>
    std::coroutine_handle<> await_suspend(std::coroutine_handle<Promise> ended) const noexcept {
      auto* told = ended.promise().listener;
      return told == nullptr ? std::noop_coroutine() : told->on_done();
    }

    void await_resume() const noexcept {}
  };

  [[nodiscard]] std::suspend_always initial_suspend() const noexcept { return {}; }

  [[nodiscard]] final_awaiter final_suspend() const noexcept { return {}; }

  void unhandled_exception() noexcept { thrown = std::current_exception(); }
};

template <class T>
struct flow_promise : flow_promise_base {
  std::optional<T> value;

  flow<T> get_return_object();

  template <class U>
  void return_value(U&& result) {
    value.emplace(std::forward<U>(result));
  }

  T take() {
    if (thrown) std::rethrow_exception(thrown);
    return std::move(*value);
  }
};

template <>
struct flow_promise<void> : flow_promise_base {
  flow<void> get_return_object();

  void return_void() const noexcept {}

  void take() const {
    if (thrown) std::rethrow_exception(thrown);
  }
};

}  // namespace detail

/// Owns its frame. Destroying it ends what it waits for: open commands are abandoned.
template <class T = void>
class [[nodiscard]] flow {
public:
  using promise_type = detail::flow_promise<T>;
  using value_type = T;

  flow() = default;

  explicit flow(std::coroutine_handle<promise_type> frame) : frame_{frame} {}

  flow(flow&& other) noexcept : frame_{std::exchange(other.frame_, {})} {}

  flow& operator=(flow&& other) noexcept {
    if (this != &other) {
      reset();
      frame_ = std::exchange(other.frame_, {});
    }
    return *this;
  }

  flow(const flow&) = delete;
  flow& operator=(const flow&) = delete;

  ~flow() { reset(); }

  /// Runs to the first suspension. Precondition: not started yet. `listener` outlives the flow.
  void start(detail::flow_listener& listener) {
    frame_.promise().listener = &listener;
    frame_.resume();
  }

  [[nodiscard]] bool is_done() const { return frame_ && frame_.done(); }

  /// The result, or what was thrown. Precondition: done; once.
  T take() { return frame_.promise().take(); }

  void reset() {
    if (frame_) std::exchange(frame_, {}).destroy();
  }

  auto operator co_await() && {
    struct awaiter final : detail::flow_listener {
      explicit awaiter(std::coroutine_handle<promise_type> frame) : awaited{frame} {}

      std::coroutine_handle<> on_done() override { return waiting; }

      [[nodiscard]] bool await_ready() const noexcept { return false; }

      std::coroutine_handle<> await_suspend(std::coroutine_handle<> parent) noexcept {
        waiting = parent;
        awaited.promise().listener = this;
        return awaited;
      }

      T await_resume() { return awaited.promise().take(); }

      std::coroutine_handle<promise_type> awaited;
      std::coroutine_handle<> waiting;
    };

    return awaiter{frame_};
  }

private:
  std::coroutine_handle<promise_type> frame_;
};

namespace detail {

template <class T>
flow<T> flow_promise<T>::get_return_object() {
  return flow<T>{std::coroutine_handle<flow_promise>::from_promise(*this)};
}

inline flow<void> flow_promise<void>::get_return_object() {
  return flow<void>{std::coroutine_handle<flow_promise>::from_promise(*this)};
}

}  // namespace detail

}  // namespace callboard
