// A module that says it was built with something else.
extern "C" const char* callboard_module_abi() {
  return "callboard 0, gcc 3";
}

extern "C" void callboard_module_describe(void*) {
  __builtin_trap();
}
