// Whatever goes wrong is described: every code and status in docs/protocol.md and
// docs/openapi.yaml.
#include "gateway/documents.hpp"
#include "gateway/problem.hpp"

#include "tests/support/catch.hpp"

#include <fstream>
#include <map>
#include <set>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

using namespace callboard;
using namespace callboard::gateway;

namespace {

std::vector<errc> all_codes() {
  std::vector<errc> codes;
  for (int number = 1;; ++number) {
    const auto code = static_cast<errc>(number);
    if (errc_named(name_of(code)) != code) return codes;
    codes.push_back(code);
  }
}

/// Words of lower-case letters and underscores, or numbers.
std::set<std::string> words_of(const std::string& text) {
  std::set<std::string> words;
  std::string word;
  for (const char c : text + " ") {
    if ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_') {
      word += c;
    } else if (!word.empty()) {
      words.insert(std::exchange(word, {}));
    }
  }
  return words;
}

/// The table of errors: each code with its statuses.
std::map<std::string, std::set<std::string>> table() {
  std::ifstream file{CALLBOARD_SOURCE_DIR "/docs/protocol.md"};
  std::map<std::string, std::set<std::string>> rows;
  bool is_there = false;
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with("## ")) is_there = line == "## Errors";
    if (!is_there || !line.starts_with("| `")) continue;
    std::istringstream cells{line.substr(1)};
    std::string codes;
    std::string statuses;
    std::getline(cells, codes, '|');
    std::getline(cells, statuses, '|');
    for (const auto& code : words_of(codes)) {
      INFO(code);
      CHECK(rows.emplace(code, words_of(statuses)).second);
    }
  }
  return rows;
}

}  // namespace

TEST_CASE("every code stands in the table of errors, with its status", "[gateway][documents]") {
  auto rows = table();
  for (const auto code : all_codes()) {
    const std::string name{name_of(code)};
    INFO(name);
    REQUIRE(rows.contains(name));
    CHECK(rows.at(name).contains(std::to_string(http_status(code))));
    rows.erase(name);
  }
  CHECK(rows.empty());
}

TEST_CASE("every status that tells an error stands there, too", "[gateway][documents]") {
  std::set<std::string> listed;
  for (const auto& [code, statuses] : table())
    listed.insert(statuses.begin(), statuses.end());
  std::set<std::string> answered;
  for (const auto& [status, reason] : http_statuses()) {
    if (status >= 400) answered.insert(std::to_string(status));
  }
  CHECK(listed == answered);
}

TEST_CASE("a problem has the title of its status", "[gateway][documents]") {
  for (const auto code : all_codes()) {
    const auto status = http_status(code);
    INFO(status);
    CHECK(reason_of(status) != "Unknown");
  }
  for (const auto& [status, reason] : http_statuses()) {
    const auto told = problem_json({errc::bad_request, "x"}, status);
    CHECK_THAT(told, Catch::Contains("\"title\":\"" + std::string{reason} + '"'));
  }
}

TEST_CASE("every code is in the description of HTTP", "[gateway][documents]") {
  const std::string document{openapi_document()};
  const auto problem = document.find("\n    Problem:\n      type: object");
  REQUIRE(problem != std::string::npos);
  const auto begin = document.find("enum: [", problem);
  const auto listed = words_of(document.substr(begin + 7, document.find(']', begin) - begin - 7));
  std::set<std::string> codes;
  for (const auto code : all_codes())
    codes.emplace(name_of(code));
  CHECK(listed == codes);
}
