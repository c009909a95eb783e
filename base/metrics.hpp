// The node's metrics: one prometheus-cpp registry, and the counters that several modules touch.
// Tenants are never a label.
#pragma once

#include <prometheus/counter.h>
#include <prometheus/family.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

namespace callboard {

/// Registers metrics under the prefix `callboard_`. Lookups take a lock: do them once, keep the
/// reference, and add in batches on hot paths. References live as long as this object. Any thread.
class metrics {
public:
  using labels = std::map<std::string, std::string>;

  metrics();

  [[nodiscard]] prometheus::Counter&
  counter(const std::string& name, const std::string& help, const labels& with = {});

  [[nodiscard]] prometheus::Gauge&
  gauge(const std::string& name, const std::string& help, const labels& with = {});

  /// `bounds` are the upper ends of the buckets in the metric's base unit.
  [[nodiscard]] prometheus::Histogram& histogram(
      const std::string& name,
      const std::string& help,
      std::vector<double> bounds,
      const labels& with = {});

  /// Buckets from 50 microseconds to 10 seconds, for latencies in seconds.
  [[nodiscard]] static std::vector<double> latency_bounds();

  [[nodiscard]] prometheus::Registry& registry() { return *registry_; }

  /// `sample` sets gauges; it is called before each exposition, on the thread that asks, and must
  /// not block. What it refers to must outlive the last `expose`.
  void add_sampler(std::function<void()> sample);

  /// All metrics in the Prometheus text format 0.0.4.
  [[nodiscard]] std::string expose() const;

private:
  mutable std::mutex mutex_;
  std::vector<std::function<void()>> samplers_;
  std::shared_ptr<prometheus::Registry> registry_;
};

} // namespace callboard
