#include "bench/report.hpp"

#include "cli/client/raw_json.hpp"
#include "cli/output.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace callboard::bench {

std::string with_commas(std::uint64_t value) {
  auto digits = std::to_string(value);
  for (auto at = static_cast<std::ptrdiff_t>(digits.size()) - 3; at > 0; at -= 3) {
    digits.insert(static_cast<std::size_t>(at), 1, ',');
  }
  return digits;
}

measurement& measurement::text(std::string name, std::string_view value) {
  cells_.push_back({std::move(name), std::string{value}, client::json_quoted(value)});
  return *this;
}

measurement& measurement::number(std::string name, std::uint64_t value) {
  cells_.push_back({std::move(name), with_commas(value), std::to_string(value)});
  return *this;
}

measurement& measurement::real(std::string name, double value, int digits) {
  auto shown = fmt::format("{:.{}f}", value, digits);
  cells_.push_back({std::move(name), shown, shown});
  return *this;
}

measurement& measurement::latency(const std::string& prefix, const histogram& times) {
  const auto ms = [](std::int64_t ns) { return static_cast<double>(ns) / 1e6; };
  real(prefix + "p50_ms", ms(times.percentile(50)), 3);
  real(prefix + "p99_ms", ms(times.percentile(99)), 3);
  real(prefix + "p999_ms", ms(times.percentile(99.9)), 3);
  return real(prefix + "max_ms", ms(times.max()), 3);
}

std::string measurement::json() const {
  auto out = fmt::format(R"({{"workload":{})", client::json_quoted(workload_));
  for (const auto& cell : cells_) {
    out += fmt::format(R"(,{}:{})", client::json_quoted(cell.name), cell.json);
  }
  return out + "}";
}

std::string shown(const std::vector<measurement>& rows) {
  std::vector<std::string> titles;
  for (const auto& row : rows) {
    for (const auto& cell : row.cells()) {
      if (std::ranges::find(titles, cell.name) == titles.end()) titles.push_back(cell.name);
    }
  }
  cli::table table{titles};
  for (const auto& row : rows) {
    std::vector<std::string> cells;
    for (const auto& title : titles) {
      const auto found =
          std::ranges::find_if(row.cells(), [&](const auto& c) { return c.name == title; });
      cells.push_back(found == row.cells().end() ? "-" : found->shown);
    }
    table.add(std::move(cells));
  }
  return table.render();
}

}  // namespace callboard::bench
