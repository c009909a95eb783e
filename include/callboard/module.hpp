// Workflows and agents in a shared library, for `callboard serve --load libmine.so`.
//
//   CALLBOARD_MODULE(greeting, counter)
//
// once in the library, at namespace scope. The library must be built with the same compiler,
// standard library and Callboard headers as the node, which refuses it otherwise.
#pragma once

#include "callboard/agent.hpp"
#include "callboard/workflow.hpp"

#include <boost/version.hpp>

#include <string>
#include <vector>

namespace callboard {

/// To be raised whenever a public header changes what compiled code relies on.
inline constexpr int module_interface = 10;

/// What node and library must agree on to exchange C++ objects.
[[nodiscard]] inline std::string module_abi() {
  auto text = "callboard " + std::to_string(module_interface) + ", ";
#if defined(__clang__)
  text += "clang " + std::to_string(__clang_major__);
#else
  text += "gcc " + std::to_string(__GNUC__);
#endif
#if defined(_GLIBCXX_RELEASE)
  text += ", libstdc++ " + std::to_string(_GLIBCXX_RELEASE) + " abi "
          + std::to_string(_GLIBCXX_USE_CXX11_ABI);
#elif defined(_LIBCPP_VERSION)
  text += ", libc++ " + std::to_string(_LIBCPP_VERSION);
#endif
  text += ", boost " + std::to_string(BOOST_VERSION) + ", sizes " + std::to_string(sizeof(context))
          + " " + std::to_string(sizeof(detail::command_request));
  return text;
}

template <class... Classes>
void describe_module(std::vector<workflow_definition>& to) {
  (to.push_back(Classes::definition()), ...);
}

}  // namespace callboard

/// The names that a node looks for. `callboard_module_abi` uses C types only, so that it can be
/// called whatever the library was built with.
#define CALLBOARD_MODULE(...)                                                                      \
  extern "C" const char* callboard_module_abi() {                                                  \
    static const std::string abi = callboard::module_abi();                                        \
    return abi.c_str();                                                                            \
  }                                                                                                \
  extern "C" void callboard_module_describe(std::vector<callboard::workflow_definition>* to) {     \
    callboard::describe_module<__VA_ARGS__>(*to);                                                  \
  }
