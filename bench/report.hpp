// Results as they are printed: a table for people, a JSON line for each measurement.
#pragma once

#include "bench/histogram.hpp"

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace callboard::bench {

/// One line of results: names and values in the order of the table's columns.
class measurement {
public:
  explicit measurement(std::string workload) : workload_{std::move(workload)} {}

  measurement& text(std::string name, std::string_view value);
  measurement& number(std::string name, std::uint64_t value);
  /// With `digits` after the point.
  measurement& real(std::string name, double value, int digits = 2);
  /// p50_ms, p99_ms, p999_ms, max_ms.
  measurement& latency(const std::string& prefix, const histogram& times);

  [[nodiscard]] std::string json() const;

  [[nodiscard]] const std::string& workload() const { return workload_; }

  struct cell {
    std::string name;
    /// As a person reads it.
    std::string shown;
    std::string json;
  };

  [[nodiscard]] const std::vector<cell>& cells() const { return cells_; }

private:
  std::string workload_;
  std::vector<cell> cells_;
};

/// Measurements with the same columns, as one table.
[[nodiscard]] std::string shown(const std::vector<measurement>& rows);

/// "1,234,567"
[[nodiscard]] std::string with_commas(std::uint64_t value);

}  // namespace callboard::bench
