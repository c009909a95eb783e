// docs/openapi.yaml says what is routed: every path and method in it, and nothing that it lacks.
#include "gateway/documents.hpp"

#include "gateway/routes.hpp"

#include "tests/support/catch.hpp"

#include <map>
#include <set>
#include <string>

using namespace callboard;
using namespace callboard::gateway;

namespace {

std::string upper(std::string_view text) {
  std::string out{text};
  for (char& c : out) {
    if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 0x20);
  }
  return out;
}

/// Paths with their methods: lines of two spaces and a slash, then lines of four spaces and a name.
std::map<std::string, std::set<std::string>> described() {
  std::map<std::string, std::set<std::string>> paths;
  std::string current;
  auto rest = openapi_document();
  while (!rest.empty()) {
    const auto end = rest.find('\n');
    const auto line = rest.substr(0, end);
    rest.remove_prefix(end == std::string_view::npos ? rest.size() : end + 1);
    if (line.starts_with("  /")) current = line.substr(2, line.size() - 3);
    if (line == "components:") break;
    if (!line.starts_with("    ") || line.starts_with("     ") || !line.ends_with(':')) continue;
    const auto name = line.substr(4, line.size() - 5);
    if (name != "parameters") paths[current].insert(upper(name));
  }
  return paths;
}

std::string filled_in(std::string path) {
  for (auto open = path.find('{'); open != std::string::npos; open = path.find('{')) {
    const auto size = path.find('}') - open + 1;
    const auto name = std::string_view{path}.substr(open, size);
    const bool is_number = name == "{task}" || name == "{index}" || name == "{seq}";
    path.replace(open, size, is_number ? "1" : "x");
  }
  return path;
}

}  // namespace

TEST_CASE("what is described is routed, with the same methods", "[gateway][documents]") {
  const auto paths = described();
  REQUIRE(paths.size() > 15);
  std::set<endpoint> seen;
  for (const auto& [path, methods] : paths) {
    INFO(path);
    const auto target = parse_target(filled_in(path));
    REQUIRE(target.has_value());
    const auto route = find_route(*target);
    REQUIRE(route.has_value());
    seen.insert(route->at);
    for (const auto* name : {"GET", "POST", "PUT", "DELETE"}) {
      INFO(name);
      CHECK(route->allows(*method_named(name)) == methods.contains(name));
    }
  }
  CHECK(seen.size() == static_cast<std::size_t>(endpoint::websocket) + 1);
}

TEST_CASE("both documents are there", "[gateway][documents]") {
  CHECK(openapi_document().starts_with("openapi: 3.1.0"));
  CHECK(asyncapi_document().starts_with("asyncapi: 3.0.0"));
}
