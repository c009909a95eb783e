// A queue that takes no memory until something is put into it.
#pragma once

#include <boost/container/deque.hpp>

#include <algorithm>

namespace callboard {

/// `std::deque` of libstdc++ takes 576 bytes in two pieces as it is made. An actor has a dozen
/// queues, most of which are empty for all of its life.
template <class T>
using lazy_deque = boost::container::deque<T>;

template <class T, class Predicate>
void erase_if(lazy_deque<T>& from, Predicate matches) {
  const auto rest = std::ranges::remove_if(from, matches);
  from.erase(rest.begin(), rest.end());
}

}  // namespace callboard
