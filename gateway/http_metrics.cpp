#include "gateway/http_metrics.hpp"

#include <chrono>
#include <string>

namespace callboard::gateway {

namespace {

constexpr std::string_view refusal_names[] = {
    "too_many_connections", "draining", "tls_handshake", "accept_failed"};

}  // namespace

http_metrics::http_metrics(metrics& registry) {
  for (std::size_t i = 0; i < endpoints; ++i) {
    const auto route =
        i + 1 == endpoints ? std::string_view{"other"} : route_class(static_cast<endpoint>(i));
    for (std::size_t status = 1; status < status_classes; ++status) {
      routes_[i].by_status[status] = &registry.counter(
          "http_requests_total",
          "HTTP requests answered, by class of route and of status.",
          {{"route", std::string{route}}, {"status", std::to_string(status) + "xx"}});
    }
    routes_[i].seconds = &registry.histogram(
        "http_request_seconds",
        "From the head of a request to its answer being ready to write.",
        metrics::latency_bounds(),
        {{"route", std::string{route}}});
  }
  for (std::size_t i = 0; i < refusals_.size(); ++i) {
    refusals_[i] = &registry.counter(
        "connections_refused_total",
        "Connections that were closed without being served, by reason.",
        {{"reason", std::string{refusal_names[i]}}});
  }
}

void http_metrics::answered(std::optional<endpoint> at, unsigned status, boot_time took) {
  auto& route = routes_[at ? static_cast<std::size_t>(*at) : endpoints - 1];
  const auto status_class = status / 100;
  if (status_class >= 1 && status_class < status_classes)
    route.by_status[status_class]->Increment();
  route.seconds->Observe(std::chrono::duration<double>{took}.count());
}

}  // namespace callboard::gateway
