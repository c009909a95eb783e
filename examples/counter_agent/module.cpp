// The agent of counter.hpp for any node: `callboard dev --load build/libcounter_module.so`.
#include <callboard/module.hpp>

#include "examples/counter_agent/counter.hpp"

CALLBOARD_MODULE(counter)
