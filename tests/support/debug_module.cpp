// A module whose containers have another layout than the node's: nothing of it may be called.
#define _GLIBCXX_DEBUG
#include <callboard/module.hpp>

extern "C" const char* callboard_module_abi() {
  static const auto abi = callboard::module_abi();
  return abi.c_str();
}

extern "C" void callboard_module_describe(void*) {
  __builtin_trap();
}
