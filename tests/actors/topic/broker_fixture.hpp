// A broker without a gateway: real journal in a temporary folder, real actors, and a client that
// asks and waits for the answer.
#pragma once

#include "actors/broker_parts.hpp"
#include "actors/local_router.hpp"
#include "actors/reader_pool.hpp"
#include "base/clock.hpp"
#include "base/metrics.hpp"
#include "runtime/topic/broker_projection.hpp"
#include "runtime/workflow/workflow_registry.hpp"
#include "storage/journal.hpp"

#include "tests/runtime/topic/core_fixture.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/temp_dir.hpp"

#include <caf/actor_system.hpp>
#include <caf/actor_system_config.hpp>
#include <caf/scoped_actor.hpp>

#include <callboard/workflow.hpp>
#include <chrono>
#include <latch>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace callboard::testing {

/// Long enough for any answer on a busy machine; only a broken test waits for it.
inline constexpr auto patience = std::chrono::seconds{20};

/// Waits for the signal `go` and gives its payload.
struct waiting_workflow : workflow<waiting_workflow> {
  static constexpr std::string_view type = "test.waiting";

  flow<json> run(context& ctx, json) {
    co_await ctx.step("prepare", [] {}).required();
    co_return co_await ctx.signal("go").required();
  }
};

class broker_fixture {
public:
  explicit broker_fixture(model::chat_calls* models = nullptr) : models_{models} {
    if (!workflows.add(waiting_workflow::definition())) FAIL("cannot add the workflow");
    start();
  }

  ~broker_fixture() { stop(); }

  void start() {
    settings.storage.data_dir = (dir_.path() / "data").string();
    settings.storage.shard_count = 4;
    settings.storage.disk_soft_bytes = 0;
    settings.storage.disk_hard_bytes = 0;
    settings.storage.ballast_bytes = 0;
    settings.storage.spare_log_bytes = 0;
    counters_ = std::make_unique<metrics>();
    auto opened = storage::journal::open(settings.storage, views, time_, *counters_);
    if (!opened) FAIL(opened.error().detail);
    journal = std::move(*opened);
    readers_ = std::make_unique<actors::reader_pool>(time_, 2, 1000);
    system_config_ = std::make_unique<caf::actor_system_config>();
    system_config_->set("scheduler.policy", caf::atom("sharing"));
    system_config_->set("scheduler.max-threads", std::size_t{2});
    system = std::make_unique<caf::actor_system>(*system_config_);
    parts_ = std::make_unique<actors::broker_parts>(actors::broker_parts{
        .settings = settings,
        .journal = *journal,
        .readers = *readers_,
        .time = time_,
        .counters = *counters_});
    user_code_ = std::make_unique<actors::reader_pool>(time_, code_threads, 1000);
    steps_ = std::make_unique<actors::reader_pool>(time_, 2, 1000);
    parts_->workflows = &workflows;
    parts_->user_code = user_code_.get();
    parts_->steps = steps_.get();
    parts_->models = models_;
    router = std::make_unique<actors::local_router>(*system, *parts_);
    client = std::make_unique<caf::scoped_actor>(*system, true);
  }

  /// In the order in which a node stops: what the pools run may still read what the router has.
  void stop() {
    client.reset();
    if (router) router->stop();
    if (steps_) steps_->stop();
    if (user_code_) user_code_->stop();
    if (readers_) readers_->stop();
    if (journal) journal->close();
    if (system) system->await_all_actors_done();
    router.reset();
    system.reset();
    steps_.reset();
    user_code_.reset();
    readers_.reset();
    journal.reset();
  }

  /// As after a clean stop and start of the node.
  void restart() {
    stop();
    start();
  }

  [[nodiscard]] static topic_ref topic(const std::string& name) {
    return {tenant_name::parse("acme").value(), topic_name::parse(name).value()};
  }

  [[nodiscard]] caf::actor self() { return caf::actor_cast<caf::actor>(client->ptr()); }

  /// Publishes one request and waits for its answer.
  [[nodiscard]] result<runtime::publish_outcome>
  publish(const std::string& name, const std::vector<std::string>& ids) {
    actors::publish_batch batch{.topic = topic(name)};
    batch.requests.push_back(make_request(++correlation_, ids));
    if (auto sent = router->publish(std::move(batch), self()); !sent) {
      return std::unexpected{sent.error()};
    }
    std::optional<result<runtime::publish_outcome>> outcome;
    (*client)->receive(
        [&](actors::boxed<actors::publish_replies>& replies) {
          REQUIRE(replies->replies.size() == 1);
          REQUIRE(replies->replies[0].correlation.raw() == correlation_);
          outcome = replies->replies[0].outcome;
        },
        caf::after(patience) >> [] { FAIL("no answer to a publish"); });
    return *outcome;
  }

  [[nodiscard]] result<actors::control_answer> ask(actors::control_body body) {
    const correlation_id id{++correlation_};
    if (auto sent = router->control({id, std::move(body)}, self()); !sent) {
      return std::unexpected{sent.error()};
    }
    std::optional<result<actors::control_answer>> outcome;
    (*client)->receive(
        [&](actors::boxed<actors::control_reply>& reply) {
          REQUIRE(reply->correlation == id);
          outcome = reply->outcome;
        },
        caf::after(patience) >> [] { FAIL("no answer to a request"); });
    return *outcome;
  }

  /// All metrics, as Prometheus reads them.
  [[nodiscard]] std::string exposed() const { return counters_->expose(); }

  config settings;
  std::shared_ptr<const storage::projection> views = std::make_shared<runtime::broker_projection>();
  std::unique_ptr<storage::journal> journal;
  std::unique_ptr<caf::actor_system> system;
  std::unique_ptr<actors::local_router> router;
  std::unique_ptr<caf::scoped_actor> client;

  runtime::workflow_registry workflows;

  /// What has been posted to the threads for code has ended: all of them are here at once.
  void await_code_posted() {
    const auto all = std::make_shared<std::latch>(code_threads + 1);
    for (int i = 0; i < code_threads; ++i) {
      REQUIRE(
          user_code_->post(actors::reader_pool::lane::control, [all] { all->arrive_and_wait(); }));
    }
    all->arrive_and_wait();
  }

private:
  static constexpr int code_threads = 2;

  model::chat_calls* models_;
  temp_dir dir_;
  system_clock time_;
  std::unique_ptr<metrics> counters_;
  std::unique_ptr<actors::reader_pool> user_code_;
  std::unique_ptr<actors::reader_pool> steps_;
  std::unique_ptr<actors::reader_pool> readers_;
  std::unique_ptr<caf::actor_system_config> system_config_;
  std::unique_ptr<actors::broker_parts> parts_;
  std::uint64_t correlation_ = 0;
};

}  // namespace callboard::testing
