#include "node/node.hpp"

#include "actors/broker_parts.hpp"
#include "actors/local_router.hpp"
#include "actors/reader_pool.hpp"
#include "base/byte_budget.hpp"
#include "base/clock.hpp"
#include "base/log.hpp"
#include "base/metrics.hpp"
#include "base/random.hpp"
#include "base/thread_priority.hpp"
#include "gateway/gateway.hpp"
#include "model/chat_client.hpp"
#include "node/model_settings.hpp"
#include "node/system_config.hpp"
#include "runtime/topic/broker_projection.hpp"
#include "storage/journal.hpp"

#include <caf/actor_system.hpp>
#include <fmt/format.h>
#include <google/protobuf/stubs/logging.h>

#include <algorithm>
#include <atomic>
#include <thread>

namespace callboard::node {

namespace {

std::uint32_t worker_threads(const config& settings) {
  if (settings.node.worker_threads != 0) return settings.node.worker_threads;
  return std::max(1U, std::thread::hardware_concurrency());
}

/// Workflow code waits for nothing, but it may compute.
std::uint32_t user_threads() {
  return std::max(4U, std::thread::hardware_concurrency());
}

/// Members are built top down and destroyed bottom up: nothing outlives what it stands on.
class running_node final : public node {
public:
  running_node(const config& settings, const runtime::workflow_registry* workflows)
      : settings_{settings},
        workflows_{workflows},
        payload_budget_{settings.node.payload_bytes_max} {}

  ~running_node() override {
    while (!stop(std::chrono::hours{1}))
      log_->warn(
          "model calls, or code of workflows or steps, do not end: the node cannot be destroyed "
          "before");
  }

  result<void> build() {
    auto opened = storage::journal::open(
        settings_.storage, std::make_shared<runtime::broker_projection>(), clock_, metrics_);
    if (!opened) return std::unexpected{opened.error()};
    journal_ = std::move(*opened);
    readers_ = std::make_unique<actors::reader_pool>(
        clock_, settings_.node.reader_threads, settings_.storage.reader_queue_max);
    system_config_ = std::make_unique<system_config>(worker_threads(settings_));
    system_ = std::make_unique<caf::actor_system>(*system_config_);
    parts_ = std::make_unique<actors::broker_parts>(actors::broker_parts{
        .settings = settings_,
        .journal = *journal_,
        .readers = *readers_,
        .time = clock_,
        .counters = metrics_});
    if (workflows_ != nullptr) {
      const batch_threads both;
      const auto& limits = settings_.workflows;
      user_code_ =
          std::make_unique<actors::reader_pool>(clock_, user_threads(), limits.steps_waiting_max);
      steps_ = std::make_unique<actors::reader_pool>(
          clock_, limits.step_threads, limits.steps_waiting_max);
      parts_->workflows = workflows_;
      parts_->user_code = user_code_.get();
      parts_->steps = steps_.get();
    }
    if (!settings_.models.providers.empty()) {
      auto models = model::chat_client::open(
          model_settings(settings_.models),
          {.time = clock_, .counters = metrics_, .random = random_64});
      if (!models) return std::unexpected{models.error()};
      models_ = std::move(*models);
      parts_->models = models_.get();
    }
    router_ = std::make_unique<actors::local_router>(*system_, *parts_);
    add_samplers();
    auto started = gateway::gateway::start(gateway::gateway_parts{
        .settings = settings_,
        .system = *system_,
        .router = *router_,
        .time = clock_,
        .counters = metrics_,
        .payload_budget = payload_budget_,
        .readiness = [this] { return readiness(); },
        .node_status = [this] { return status_json(); },
        .backup = [this](std::string target, auto done) { backup(std::move(target), done); }});
    if (!started) return std::unexpected{started.error()};
    gateway_ = std::move(*started);
    return {};
  }

  [[nodiscard]] std::uint16_t port() const override { return gateway_->port(); }

  [[nodiscard]] std::string url() const override {
    const auto& listen = settings_.listen;
    const bool is_v6 = listen.address.contains(':');
    return fmt::format(
        "{}://{}{}{}:{}",
        listen.tls_certificate.empty() ? "http" : "https",
        is_v6 ? "[" : "",
        listen.address,
        is_v6 ? "]" : "",
        port());
  }

  void drain() override {
    draining_ = true;
    log_->info("draining: sending clients away");
    if (gateway_) gateway_->drain(std::chrono::milliseconds{settings_.node.drain_timeout_ms});
    if (router_) router_->drain();
  }

  bool stop(std::chrono::milliseconds patience) override {
    if (stopped_) return true;
    const bool has_served = gateway_ != nullptr;
    const auto until = clock_.boot() + patience;
    if (gateway_) gateway_->stop();
    if (router_) router_->stop();
    const auto ends = [&](auto& threads) {
      const auto left =
          std::chrono::duration_cast<std::chrono::milliseconds>(until - clock_.boot());
      return threads == nullptr || threads->stop_within(std::max(left, left.zero()));
    };
    const bool all_end = ends(models_) && ends(steps_) && ends(user_code_);
    if (readers_) readers_->stop();
    if (journal_) journal_->close();
    if (!all_end) return false;
    stopped_ = true;
    // The actor system waits for its last actor, so it goes only when nothing can reach one.
    gateway_.reset();
    // What a killed shard leaves behind ends by itself, and uses the router until then.
    if (system_) system_->await_all_actors_done();
    router_.reset();
    system_.reset();
    models_.reset();
    steps_.reset();
    user_code_.reset();
    readers_.reset();
    journal_.reset();
    if (has_served) log_->info("stopped");
    return true;
  }

private:
  std::optional<error> readiness() const {
    if (draining_) return error{errc::draining, "the node is shutting down", 1000};
    const auto status = journal_->status();
    if (status.damage) return status.damage;
    if (status.below_hard) {
      return error{errc::storage_full, "free disk space is below storage.disk_hard_bytes", 5000};
    }
    return std::nullopt;
  }

  std::string status_json() const {
    const auto status = journal_->status();
    std::uint64_t quarantined = 0;
    for (std::uint32_t i = 0; i < journal_->shard_count(); ++i) {
      if (journal_->state(shard_id{i}).damage) ++quarantined;
    }
    return fmt::format(
        R"({{"mode":"single","nodes":[{{"id":"{}","shards":{},"quarantined":{},"disk_free_bytes":{},)"
        R"("log_bytes":{},"below_soft":{},"below_hard":{},"payload_bytes_in_flight":{}}}]}})",
        settings_.node.id,
        journal_->shard_count(),
        quarantined,
        status.disk_free_bytes,
        status.log_bytes,
        status.below_soft,
        status.below_hard,
        payload_budget_.used());
  }

  void backup(std::string target, const std::function<void(result<std::string>)>& done) {
    auto posted = readers_->post(
        actors::reader_pool::lane::control, [this, target = std::move(target), done] {
          auto copied = journal_->backup(target, [](std::uint64_t, std::uint64_t) {});
          if (!copied) return done(std::unexpected{copied.error()});
          done(fmt::format(R"({{"bytes":{},"files":{}}})", copied->bytes, copied->files));
        });
    if (!posted) done(std::unexpected{posted.error()});
  }

  void add_samplers() {
    auto& payload = metrics_.gauge(
        "payload_bytes_in_flight", "Payload bytes between admission and commit or refusal.");
    auto& payload_max = metrics_.gauge("payload_bytes_max", "Bound of payload_bytes_in_flight.");
    payload_max.Set(static_cast<double>(payload_budget_.size_max()));
    metrics_.add_sampler(
        [this, &payload] { payload.Set(static_cast<double>(payload_budget_.used())); });
    show_queue("reader", *readers_);
    if (user_code_) show_queue("code", *user_code_);
    if (steps_) show_queue("step", *steps_);
  }

  void show_queue(const std::string& pool, const actors::reader_pool& threads) {
    auto& depth = metrics_.gauge(pool + "_queue_depth", "Jobs waiting for one of these threads.");
    auto& oldest = metrics_.gauge(
        pool + "_queue_oldest_seconds", "How long the first of these jobs has waited.");
    metrics_.add_sampler([&depth, &oldest, &threads] {
      depth.Set(static_cast<double>(threads.depth()));
      oldest.Set(std::chrono::duration<double>(threads.oldest_wait()).count());
    });
  }

  const config settings_;
  const runtime::workflow_registry* workflows_;
  const std::shared_ptr<spdlog::logger> log_ = log::channel("node");
  const system_clock clock_;
  metrics metrics_;
  byte_budget payload_budget_;
  std::unique_ptr<storage::journal> journal_;
  std::unique_ptr<actors::reader_pool> readers_;
  std::unique_ptr<actors::reader_pool> user_code_;
  std::unique_ptr<actors::reader_pool> steps_;
  std::unique_ptr<system_config> system_config_;
  std::unique_ptr<caf::actor_system> system_;
  std::unique_ptr<actors::broker_parts> parts_;
  std::unique_ptr<model::chat_client> models_;
  std::unique_ptr<actors::local_router> router_;
  std::unique_ptr<gateway::gateway> gateway_;
  std::atomic<bool> draining_{false};
  bool stopped_ = false;
};

}  // namespace

result<std::unique_ptr<node>>
node::start(const config& settings, const runtime::workflow_registry* workflows) {
  if (auto sound = check_config(settings); !sound) return std::unexpected{sound.error()};
  const auto& listen = settings.listen;
  if (!is_loopback(listen.address) && listen.tls_certificate.empty() && !listen.allow_plaintext) {
    return fail(
        errc::invalid_setting,
        fmt::format(
            "{} can be reached from other machines: set listen.tls_certificate and "
            "listen.tls_key, or allow plaintext explicitly (listen.allow_plaintext)",
            listen.address));
  }
  for (const auto& doubt : doubts_about(settings))
    log::channel("node")->warn("{}", doubt);
  // Bad frames are answered; a line on stderr for each would let clients fill the disk.
  google::protobuf::SetLogHandler(nullptr);
  auto made = std::make_unique<running_node>(settings, workflows);
  if (auto built = made->build(); !built) return std::unexpected{built.error()};
  return made;
}

}  // namespace callboard::node
