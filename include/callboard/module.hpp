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

/// To be raised whenever a public header changes what compiled code relies on. The test `interface`
/// asks that of each change of a header, by the digest.
inline constexpr int module_interface = 12;  // headers 074e6b55c4b6d703

/// What node and library must agree on to exchange C++ objects. Of each of them its own: were it
/// `inline`, the library's would be replaced by the node's when it is loaded.
[[nodiscard, maybe_unused]] static std::string module_abi() {
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
#if defined(_GLIBCXX_DEBUG)
  text += ", debug containers";
#endif
  text += ", boost " + std::to_string(BOOST_VERSION) + ", sizes";
  for (const auto size :
       {sizeof(context),
        sizeof(detail::command_request),
        sizeof(std::vector<workflow_definition>),
        sizeof(workflow_definition),
        sizeof(model_request),
        sizeof(step_attempt),
        sizeof(failure)}) {
    text += " " + std::to_string(size);
  }
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
