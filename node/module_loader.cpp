#include "node/module_loader.hpp"

#include "base/build_id.hpp"
#include "node/library_file.hpp"
#include "runtime/workflow/workflow_registry.hpp"

#include <fmt/format.h>

#include <callboard/module.hpp>
#include <dlfcn.h>
#include <filesystem>
#include <utility>
#include <vector>

namespace callboard::node {

namespace {

template <class Function>
Function function_of(void* library, const char* name) {
  return reinterpret_cast<Function>(::dlsym(library, name));
}

}  // namespace

result<void> load_module(const std::string& path, runtime::workflow_registry& into) {
  // Without a slash the loader would look in the system's folders only.
  const auto file = std::filesystem::absolute(path).string();
  if (auto whole = check_library_file(path); !whole) return whole;
  // Never closed: objects of its classes live as long as the process.
  void* library = ::dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    const char* why = ::dlerror();
    return fail(
        errc::not_found, fmt::format("cannot load {}: {}", path, why == nullptr ? "?" : why));
  }
  const auto abi = function_of<const char* (*)()>(library, "callboard_module_abi");
  const auto describe = function_of<void (*)(std::vector<workflow_definition>*)>(
      library, "callboard_module_describe");
  if (abi == nullptr || describe == nullptr) {
    return fail(
        errc::not_found,
        fmt::format("{} is no callboard module: it has no CALLBOARD_MODULE(...)", path));
  }
  if (const auto own = module_abi(); own != abi()) {
    return fail(
        errc::incompatible,
        fmt::format(
            "{} was built with '{}', this node with '{}': build it again with the node's compiler "
            "and headers",
            path,
            abi(),
            own));
  }
  std::vector<workflow_definition> classes;
  describe(&classes);
  const auto build = build_id_of(reinterpret_cast<const void*>(describe));
  for (auto& one : classes) {
    if (auto added = into.add(std::move(one), build); !added) {
      return fail(added.error().code, fmt::format("{}: {}", path, added.error().detail));
    }
  }
  return {};
}

}  // namespace callboard::node
