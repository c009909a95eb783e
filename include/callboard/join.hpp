// all, and any by either of its names: several flows or commands side by side. Branches start in
// the order of arguments; whatever order they end in, the journal tells the same story again.
#pragma once

#include "callboard/command.hpp"
#include "callboard/flow.hpp"

#include <array>
#include <coroutine>
#include <cstddef>
#include <optional>
#include <stdexcept>
#include <tuple>
#include <utility>
#include <variant>
#include <vector>

namespace callboard {

namespace detail {

/// A branch whose result is a value: `nothing` for void.
template <class T>
flow<T> as_branch(flow<T> one) {
  return one;
}

inline flow<nothing> as_branch(flow<void> one) {
  co_await std::move(one);
  co_return nothing{};
}

template <class T>
flow<outcome<T>> as_branch(command<T> one) {
  co_return co_await std::move(one);
}

template <class Item>
using branch_value = typename decltype(as_branch(std::declval<Item>()))::value_type;

/// Waits until enough branches have ended. Counts; the branches belong to whoever awaits.
class join {
public:
  explicit join(std::size_t wanted) : wanted_{wanted} {}

  struct branch final : flow_listener {
    std::coroutine_handle<> on_done() override { return owner->ended(index); }

    join* owner = nullptr;
    std::size_t index = 0;
  };

  /// Runs `start(i)` for each branch until enough have ended; says who runs next.
  template <class Start>
  std::coroutine_handle<>
  begin(std::coroutine_handle<> parent, std::size_t branch_count, Start start) {
    is_starting_ = true;
    for (std::size_t i = 0; i < branch_count && done_ < wanted_; ++i)
      start(i);
    is_starting_ = false;
    parent_ = parent;
    return done_ >= wanted_ ? parent : std::noop_coroutine();
  }

  /// The first that ended.
  [[nodiscard]] std::size_t first() const { return *first_; }

private:
  std::coroutine_handle<> ended(std::size_t index) {
    if (!first_) first_ = index;
    ++done_;
    return !is_starting_ && done_ == wanted_ ? parent_ : std::noop_coroutine();
  }

  std::size_t wanted_;
  std::size_t done_ = 0;
  std::optional<std::size_t> first_;
  bool is_starting_ = false;
  std::coroutine_handle<> parent_;
};

/// `wanted` of the branches `Ts...`, as an awaitable that gives the join back.
template <class... Ts>
struct tuple_join {
  tuple_join(std::tuple<flow<Ts>...>& of, std::size_t wanted) : branches{of}, state{wanted} {}

  [[nodiscard]] bool await_ready() const noexcept { return sizeof...(Ts) == 0; }

  std::coroutine_handle<> await_suspend(std::coroutine_handle<> parent) {
    return state.begin(parent, sizeof...(Ts), [this](std::size_t i) {
      start_at(i, std::index_sequence_for<Ts...>{});
    });
  }

  [[nodiscard]] std::size_t await_resume() const { return state.first(); }

  template <std::size_t... Is>
  void start_at(std::size_t wanted, std::index_sequence<Is...>) {
    ((Is == wanted ? start_one<Is>() : void()), ...);
  }

  template <std::size_t I>
  void start_one() {
    listeners[I].owner = &state;
    listeners[I].index = I;
    std::get<I>(branches).start(listeners[I]);
  }

  std::tuple<flow<Ts>...>& branches;
  join state;
  std::array<join::branch, sizeof...(Ts)> listeners;
};

template <class T>
struct vector_join {
  vector_join(std::vector<flow<T>>& of, std::size_t wanted)
      : branches{of}, state{wanted}, listeners(of.size()) {}

  [[nodiscard]] bool await_ready() const noexcept { return branches.empty(); }

  std::coroutine_handle<> await_suspend(std::coroutine_handle<> parent) {
    return state.begin(parent, branches.size(), [this](std::size_t i) {
      listeners[i].owner = &state;
      listeners[i].index = i;
      branches[i].start(listeners[i]);
    });
  }

  [[nodiscard]] std::size_t await_resume() const { return state.first(); }

  std::vector<flow<T>>& branches;
  join state;
  std::vector<join::branch> listeners;
};

template <class Variant, std::size_t... Is, class... Ts>
Variant
take_winner(std::tuple<flow<Ts>...>& branches, std::size_t winner, std::index_sequence<Is...>) {
  std::optional<Variant> won;
  ((Is == winner ? void(won.emplace(std::in_place_index<Is>, std::get<Is>(branches).take()))
                 : void()),
   ...);
  return std::move(*won);
}

// Parameters stay until the frame goes, and whoever has the flow may keep that long after its end.
// Locals go at the end: with them the losers, and what they wait for.

template <class... Ts>
flow<std::tuple<Ts...>> all_of(std::tuple<flow<Ts>...> branches) {
  auto mine = std::move(branches);
  (void)co_await tuple_join<Ts...>{mine, sizeof...(Ts)};
  co_return std::apply([](auto&... one) { return std::tuple<Ts...>{one.take()...}; }, mine);
}

template <class... Ts>
flow<std::variant<Ts...>> any_of(std::tuple<flow<Ts>...> branches) {
  auto mine = std::move(branches);
  const auto winner = co_await tuple_join<Ts...>{mine, 1};
  co_return take_winner<std::variant<Ts...>>(mine, winner, std::index_sequence_for<Ts...>{});
}

}  // namespace detail

/// All of them, in order; a branch that throws is thrown on once all have ended.
template <class... Items>
[[nodiscard]] flow<std::tuple<detail::branch_value<Items>...>> all(Items... items) {
  return detail::all_of(
      std::tuple<flow<detail::branch_value<Items>>...>{detail::as_branch(std::move(items))...});
}

/// The first that ends, well or not (`first_success` waits for one that ends well); its index is
/// the variant's. The others are cancelled before whoever awaits goes on: their commands are
/// withdrawn and their frames destroyed. `cancelled` is not thrown in them, so what they hold runs
/// its destructors and nothing else: a `run_saga` in a loser undoes nothing, and what is `shielded`
/// ends there, too. Race within the saga instead.
template <class... Items>
  requires(sizeof...(Items) > 0)
[[nodiscard]] flow<std::variant<detail::branch_value<Items>...>> any(Items... items) {
  return detail::any_of(
      std::tuple<flow<detail::branch_value<Items>>...>{detail::as_branch(std::move(items))...});
}

template <class T>
[[nodiscard]] flow<std::vector<T>> all(std::vector<flow<T>> branches) {
  auto mine = std::move(branches);
  if (!mine.empty()) {
    (void)co_await detail::vector_join<T>{mine, mine.size()};
  }
  std::vector<T> results;
  results.reserve(mine.size());
  for (auto& one : mine)
    results.push_back(one.take());
  co_return results;
}

/// Which branch was first, and what it gave.
template <class T>
struct winner {
  std::size_t index = 0;
  T value;
};

/// What holds for `any` of arguments holds here. Throws std::invalid_argument if there are none:
/// nothing would ever end it.
template <class T>
[[nodiscard]] flow<winner<T>> any(std::vector<flow<T>> branches) {
  auto mine = std::move(branches);
  if (mine.empty()) throw std::invalid_argument{"any of no branches: nothing would ever end it"};
  const auto first = co_await detail::vector_join<T>{mine, 1};
  co_return winner<T>{first, mine[first].take()};
}

/// What `any` does, by the name that the field has for it: the first to end decides.
template <class... Items>
[[nodiscard]] auto race(Items... items) {
  return any(std::move(items)...);
}

}  // namespace callboard
