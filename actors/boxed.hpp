// Carries any of our structs through a mailbox of this process without copying or serializing it.
#pragma once

#include <caf/allowed_unsafe_message_type.hpp>

#include <memory>
#include <type_traits>
#include <utility>

namespace callboard::actors {

/// A message that is moved, not copied: handlers take `boxed<T>` and may take `*value` over.
/// Local only: CAF must never serialize it (caf-0.17: an unsafe type arrives remotely as null).
template <class T>
struct boxed {
  std::shared_ptr<T> value;

  T& operator*() const { return *value; }

  T* operator->() const { return value.get(); }
};

template <class T>
[[nodiscard]] boxed<std::decay_t<T>> box(T&& value) {
  return {std::make_shared<std::decay_t<T>>(std::forward<T>(value))};
}

}  // namespace callboard::actors

template <class T>
struct caf::allowed_unsafe_message_type<callboard::actors::boxed<T>> : std::true_type {};
