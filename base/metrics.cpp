#include "base/metrics.hpp"

#include <prometheus/text_serializer.h>

namespace callboard {

namespace {

std::string prefixed(const std::string& name) {
  return "callboard_" + name;
}

} // namespace

metrics::metrics() : registry_{std::make_shared<prometheus::Registry>()} {}

prometheus::Counter&
metrics::counter(const std::string& name, const std::string& help, const labels& with) {
  return prometheus::BuildCounter().Name(prefixed(name)).Help(help).Register(*registry_).Add(with);
}

prometheus::Gauge&
metrics::gauge(const std::string& name, const std::string& help, const labels& with) {
  return prometheus::BuildGauge().Name(prefixed(name)).Help(help).Register(*registry_).Add(with);
}

prometheus::Histogram& metrics::histogram(
    const std::string& name,
    const std::string& help,
    std::vector<double> bounds,
    const labels& with) {
  return prometheus::BuildHistogram()
      .Name(prefixed(name))
      .Help(help)
      .Register(*registry_)
      .Add(with, std::move(bounds));
}

std::vector<double> metrics::latency_bounds() {
  return {0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01,
          0.025,   0.05,   0.1,     0.25,   0.5,   1.0,    2.5,   10.0};
}

void metrics::add_sampler(std::function<void()> sample) {
  const std::lock_guard guard{mutex_};
  samplers_.push_back(std::move(sample));
}

std::string metrics::expose() const {
  {
    const std::lock_guard guard{mutex_};
    for (const auto& sample : samplers_) sample();
  }
  return prometheus::TextSerializer{}.Serialize(registry_->Collect());
}

} // namespace callboard
