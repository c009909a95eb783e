// What the HTTP side counts. Looked up once; shared by all I/O threads.
#pragma once

#include "base/ids.hpp"
#include "base/metrics.hpp"
#include "gateway/routes.hpp"

#include <array>
#include <optional>
#include <string_view>

namespace callboard::gateway {

/// Why a connection was not served.
enum class refusal : std::uint8_t { too_many_connections, draining, tls_handshake, accept_failed };

class http_metrics {
public:
  explicit http_metrics(metrics& registry);

  /// `at` is empty for requests that no route matches.
  void answered(std::optional<endpoint> at, unsigned status, boot_time took);

  void refused(refusal why) { refusals_[static_cast<std::size_t>(why)]->Increment(); }

private:
  static constexpr std::size_t endpoints = static_cast<std::size_t>(endpoint::websocket) + 2;
  static constexpr std::size_t status_classes = 6;

  struct route_counters {
    std::array<prometheus::Counter*, status_classes> by_status{};
    prometheus::Histogram* seconds = nullptr;
  };

  std::array<route_counters, endpoints> routes_{};
  std::array<prometheus::Counter*, 4> refusals_{};
};

}  // namespace callboard::gateway
