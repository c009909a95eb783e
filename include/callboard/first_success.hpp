// first_success: several flows or commands side by side, until one of them ends well.
#pragma once

#include "callboard/join.hpp"
#include "callboard/json_text.hpp"

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>

#include <algorithm>
#include <coroutine>
#include <cstddef>
#include <optional>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

namespace callboard {

namespace detail {

template <class T>
struct success {
  using type = T;
};

template <class T>
struct success<outcome<T>> {
  using type = T;
};

template <>
struct success<outcome<void>> {
  using type = nothing;
};

template <>
struct success<void> {
  using type = nothing;
};

/// What a branch gives if it ends well.
template <class T>
using success_of = typename success<T>::type;

/// How those branches have failed that did not win.
class failed_branches {
public:
  explicit failed_branches(std::size_t branch_count)
      : failures_(branch_count), left_{branch_count} {}

  /// The failure of them all, if that of branch `index` was the last to come.
  std::optional<failure> note(std::size_t index, failure why) {
    failures_[index] = std::move(why);
    if (--left_ != 0) return std::nullopt;
    return all_failed();
  }

  /// A branch has ended as the run is being cancelled: so will the others. The first that could not
  /// undo something tells of it.
  void cancel(const cancelled& by) {
    if (!cancelled_ || !cancelled_->why) cancelled_ = by;
  }

  [[nodiscard]] const std::optional<cancelled>& is_cancelled() const { return cancelled_; }

private:
  [[nodiscard]] failure all_failed() const {
    const auto kind = failures_.front().kind;
    const bool is_same =
        std::ranges::all_of(failures_, [kind](const failure& one) { return one.kind == kind; });
    failure all{is_same ? kind : failure_class::permanent, "all_failed", ""};
    boost::json::array list;
    // The first of them may be asked again then.
    for (const auto& one : failures_) {
      const bool is_sooner = all.retry_after_ms == 0 || one.retry_after_ms < all.retry_after_ms;
      if (is_same && one.retry_after_ms != 0 && is_sooner) all.retry_after_ms = one.retry_after_ms;
    }
    for (const auto& one : failures_) {
      if (!all.message.empty()) all.message += "; ";
      all.message += one.code + ": " + one.message;
      boost::json::object told{
          {"class", name_of(one.kind)}, {"code", one.code}, {"message", one.message}};
      if (!one.details.empty()) told["details"] = json_or_text(one.details);
      list.push_back(std::move(told));
    }
    all.details = boost::json::serialize(boost::json::object{{"failures", std::move(list)}});
    return all;
  }

  std::vector<failure> failures_;
  std::size_t left_;
  std::optional<cancelled> cancelled_;
};

/// Ends with what `one` gives, or, if it is the last that fails, with the failure of them all. If
/// others are left it waits to be given up. Cancelling is no decision: others may have something to
/// undo, so it is thrown on by the last. A bug is thrown on at once.
template <class T>
flow<outcome<success_of<T>>> try_branch(flow<T> one, std::size_t index, failed_branches& failed) {
  std::optional<failure> why;
  try {
    if constexpr (std::is_void_v<T>) {
      co_await std::move(one);
      co_return nothing{};
    } else if constexpr (std::is_same_v<T, outcome<void>>) {
      auto ended = co_await std::move(one);
      if (ended) co_return nothing{};
      why = std::move(ended.error());
    } else if constexpr (std::is_same_v<T, success_of<T>>) {
      co_return co_await std::move(one);
    } else {
      auto ended = co_await std::move(one);
      if (ended) co_return std::move(ended);
      why = std::move(ended.error());
    }
  } catch (const run_failed& thrown) {
    why = thrown.why();
  } catch (const cancelled& by) {
    failed.cancel(by);
    why = failure{failure_class::permanent, "cancelled", "the run is being cancelled"};
  }
  auto all = failed.note(index, *std::move(why));
  if (!all) co_await std::suspend_always{};
  if (failed.is_cancelled()) throw cancelled{*failed.is_cancelled()};
  co_return std::unexpected{*std::move(all)};
}

template <class Variant, std::size_t I, class T>
outcome<Variant> as_alternative(outcome<T> ended) {
  if (!ended) return std::unexpected{std::move(ended.error())};
  return outcome<Variant>{std::in_place, std::in_place_index<I>, std::move(*ended)};
}

template <class... Ts, std::size_t... Is>
flow<outcome<std::variant<success_of<Ts>...>>>
first_success_of(std::tuple<flow<Ts>...> branches, std::index_sequence<Is...>) {
  using Variant = std::variant<success_of<Ts>...>;
  failed_branches failed{sizeof...(Ts)};
  auto mine = std::tuple<flow<outcome<success_of<Ts>>>...>{
      try_branch(std::move(std::get<Is>(branches)), Is, failed)...};
  const auto first = co_await tuple_join<outcome<success_of<Ts>>...>{mine, 1};
  std::optional<outcome<Variant>> won;
  ((Is == first ? void(won.emplace(as_alternative<Variant, Is>(std::get<Is>(mine).take())))
                : void()),
   ...);
  co_return std::move(*won);
}

}  // namespace detail

/// The first that ends well: a command that gives its result, a flow that gives no failed `outcome`
/// and throws no `run_failed`. Those that fail meanwhile are passed over, and what holds for the
/// losers of `any` holds for the others. If all fail: `all_failed`, of the class that all share or
/// else `permanent`, with each of them as `failures` of its details, in the order of arguments.
template <class... Items>
  requires(sizeof...(Items) > 0)
[[nodiscard]] auto first_success(Items... items) {
  return detail::first_success_of(
      std::tuple<flow<detail::branch_value<Items>>...>{detail::as_branch(std::move(items))...},
      std::index_sequence_for<Items...>{});
}

/// The same of any number of flows; of none it fails at once.
template <class T>
[[nodiscard]] flow<outcome<winner<detail::success_of<T>>>>
first_success(std::vector<flow<T>> branches) {
  using Value = detail::success_of<T>;
  auto given = std::move(branches);
  if (given.empty()) {
    co_return std::unexpected{
        failure{failure_class::permanent, "all_failed", "there is nothing that could succeed"}};
  }
  detail::failed_branches failed{given.size()};
  std::vector<flow<outcome<Value>>> mine;
  mine.reserve(given.size());
  for (std::size_t i = 0; i < given.size(); ++i)
    mine.push_back(detail::try_branch(std::move(given[i]), i, failed));
  const auto first = co_await detail::vector_join<outcome<Value>>{mine, 1};
  auto won = mine[first].take();
  if (!won) co_return std::unexpected{std::move(won.error())};
  co_return winner<Value>{first, std::move(*won)};
}

}  // namespace callboard
