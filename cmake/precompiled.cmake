# Headers of others, read once a build instead of once a source, which is a third of what a source
# costs. The programs of tests have them in every build, modules only in those of the sanitizers: what
# is precompiled hides an include that is missing, and the release build has to find it.
# -DCMAKE_DISABLE_PRECOMPILE_HEADERS=ON builds without.

# No header of this tree: each change of it would compile everything.
set(CALLBOARD_PRECOMPILED
  <algorithm> <array> <atomic> <charconv> <chrono> <condition_variable> <coroutine> <cstdint> <cstdlib>
  <cstring> <deque> <expected> <filesystem> <fstream> <functional> <iterator> <map> <memory> <mutex>
  <optional> <random> <ranges> <set> <span> <sstream> <string> <string_view> <thread> <unordered_map>
  <unordered_set> <utility> <variant> <vector>
  <boost/container/deque.hpp> <boost/json.hpp> <boost/unordered/unordered_flat_map.hpp>
  <caf/actor.hpp> <caf/actor_system.hpp> <caf/actor_system_config.hpp> <caf/event_based_actor.hpp>
  <caf/scoped_actor.hpp> <caf/send.hpp>
  <fmt/format.h>
  <google/protobuf/extension_set.h> <google/protobuf/generated_message_util.h> <google/protobuf/message.h>
  <google/protobuf/unknown_field_set.h>
  <prometheus/counter.h> <prometheus/family.h> <prometheus/gauge.h> <prometheus/histogram.h>
  <prometheus/registry.h>)

# callboard_precompiled(NAME OPTIONS ... LINKS ... HEADERS ...): makes the precompiled header NAME of
# the headers above and those given. OPTIONS are those of the targets that use it, as the compiler
# refuses one that was made for other code.
function(callboard_precompiled name)
  cmake_parse_arguments(ARG "" "" "OPTIONS;LINKS;HEADERS" ${ARGN})
  # Clang finds it good where only definitions differ; others do not.
  if(CMAKE_DISABLE_PRECOMPILE_HEADERS OR NOT CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
    return()
  endif()
  set(source ${CMAKE_BINARY_DIR}/precompiled.cpp)
  file(CONFIGURE OUTPUT ${source} CONTENT "// A target needs a source.\n")
  add_library(callboard_precompiled_${name} OBJECT ${source})
  target_link_libraries(callboard_precompiled_${name} PRIVATE
    Boost::boost Boost::json caf::core fmt::fmt prometheus-cpp::core protobuf::libprotobuf ${ARG_LINKS}
    callboard_options)
  target_precompile_headers(callboard_precompiled_${name}
    PRIVATE ${CALLBOARD_PRECOMPILED} ${ARG_HEADERS})
  # With the times of headers in it, ccache would find no source compiled before.
  target_compile_options(callboard_precompiled_${name} PRIVATE
    ${ARG_OPTIONS} "SHELL:-Xclang -fno-pch-timestamp")
endfunction()

# callboard_use_precompiled(TARGET NAME): lets TARGET use the precompiled header NAME, if there is one.
function(callboard_use_precompiled target name)
  if(TARGET callboard_precompiled_${name})
    target_precompile_headers(${target} REUSE_FROM callboard_precompiled_${name})
  endif()
endfunction()

if(CALLBOARD_SANITIZE)
  callboard_precompiled(modules)
endif()
