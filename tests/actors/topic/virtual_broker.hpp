// A broker on CAF's deterministic scheduler and a journal in memory: nothing happens but what the
// test lets happen, and time stands still until it is moved.
#pragma once

#include "actors/broker_parts.hpp"
#include "actors/local_router.hpp"
#include "base/clock.hpp"
#include "base/metrics.hpp"
#include "runtime/topic/broker_projection.hpp"
#include "runtime/workflow/workflow_registry.hpp"

#include "tests/runtime/topic/core_fixture.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/memory_journal.hpp"

#include <caf/actor_system.hpp>
#include <caf/actor_system_config.hpp>
#include <caf/event_based_actor.hpp>
#include <caf/scheduler/test_coordinator.hpp>
#include <caf/send.hpp>

#include <deque>
#include <future>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace callboard::testing {

/// What a client, relay or hub was sent, in order of arrival.
struct received {
  std::map<std::uint64_t, result<runtime::publish_outcome>> published;
  std::map<std::uint64_t, result<actors::control_answer>> answered;
  std::uint64_t answers = 0;
  std::vector<actors::relay_attached> attached;
  std::vector<runtime::event_batch_ptr> delivered;
  std::vector<actors::relay_skipped> skipped;
  std::vector<actors::topic_active> active;
  std::vector<actors::unheard_since> unheard;
  std::uint64_t gone = 0;
  std::uint64_t released = 0;

  /// Seqs of everything delivered.
  [[nodiscard]] std::vector<std::uint64_t> seqs() const {
    std::vector<std::uint64_t> all;
    for (const auto& batch : delivered) {
      for (const auto& event : batch->events)
        all.push_back(event.seq.raw());
    }
    return all;
  }
};

/// Stands for a connection, a relay or a hub.
class probe final : public caf::event_based_actor {
public:
  probe(caf::actor_config& config, received& into) : event_based_actor{config}, into_{into} {}

  caf::behavior make_behavior() override {
    using namespace actors;
    return {
        [this](boxed<publish_replies>& message) {
          for (auto& one : message->replies) {
            ++into_.answers;
            into_.published.emplace(one.correlation.raw(), std::move(one.outcome));
          }
        },
        [this](boxed<control_reply>& message) {
          ++into_.answers;
          into_.answered.emplace(message->correlation.raw(), std::move(message->outcome));
        },
        [this](boxed<relay_attached>& message) {
          topic_ = caf::actor_cast<caf::actor>(current_sender());
          into_.attached.push_back(*message);
        },
        [this](boxed<deliver>& message) { into_.delivered.push_back(message->batch); },
        [this](boxed<relay_skipped>& message) { into_.skipped.push_back(*message); },
        [this](boxed<topic_active>& message) { into_.active.push_back(*message); },
        [this](boxed<unheard_since>& message) { into_.unheard.push_back(*message); },
        [this](const boxed<relay_released>&) { ++into_.released; },
        // The test says when this relay has been let go of.
        [this](const boxed<release_relay>& message) {
          if (topic_) send(topic_, message, caf::actor_cast<caf::actor>(this));
        },
        [this](boxed<topic_gone>&) { ++into_.gone; },
        // The test says how many credits this relay gives its topic.
        [this](const boxed<relay_credit>& message) {
          if (topic_) send(topic_, message);
        },
    };
  }

  void on_exit() override { topic_ = nullptr; }

private:
  received& into_;
  caf::actor topic_;
};

class virtual_broker {
public:
  /// With `code`, runs are driven and their steps done on the pool of the readers; the steps on
  /// that of the test, if it gives one: nobody waits for them.
  explicit virtual_broker(
      config with = {},
      const runtime::workflow_registry* code = nullptr,
      actors::reader_pool* steps = nullptr,
      model::chat_calls* models = nullptr)
      : settings{std::move(with)} {
    set_policy();
    parts_.workflows = code;
    parts_.models = models;
    if (code != nullptr) parts_.user_code = parts_.steps = &readers_;
    if (steps != nullptr) parts_.steps = steps;
    read();
    start();
  }

  ~virtual_broker() {
    stop();
    if (gate_) gate_->set_value();
    readers_.stop();
  }

  virtual_broker(const virtual_broker&) = delete;
  virtual_broker& operator=(const virtual_broker&) = delete;

  /// As kill -9 and a new start: what was not committed is gone, and so is what was sent.
  void crash() {
    journal.refuse_activations(error{errc::io_error, "the node is dead", 0});
    journal.lose_queued();
    stop();
    got = {};
    journal.refuse_activations(std::nullopt);
    journal.start_clocks();
    start();
  }

  [[nodiscard]] caf::actor make_probe(received& into) {
    probes_.push_back(system->spawn<probe>(into));
    return probes_.back();
  }

  /// Lets actors and readers work until nothing is left to do; commits nothing.
  void run() {
    do {
      run_actors();
      read();
    } while (scheduler_->has_job() || readers_.depth() > 0);
  }

  /// Lets actors handle one message; readers do nothing. False if there was none.
  bool step() { return scheduler_->try_run_once(); }

  /// Lets actors work until they have nothing left to do; readers do nothing.
  void run_actors() {
    while (scheduler_->run() > 0) {
    }
  }

  /// Lets readers do what they have been asked for; actors do nothing. Their pool answers control
  /// work in order of arrival with its only thread, which works only while this waits for it: CAF's
  /// scheduler for tests can be used by one thread at a time.
  void read() {
    std::promise<void> ran;
    std::promise<void> next;
    auto has_run = ran.get_future();
    const auto posted = readers_.post(
        actors::reader_pool::lane::reads,
        [ran = std::move(ran), opened = next.get_future()]() mutable {
          ran.set_value();
          opened.wait();
        });
    REQUIRE(posted);
    if (gate_) gate_->set_value();
    gate_ = std::move(next);
    // On a machine that is busy with other things thousands of jobs take their time.
    REQUIRE(has_run.wait_for(std::chrono::minutes{3}) == std::future_status::ready);
  }

  /// Lets everything happen, commits included, until nothing is left to do.
  void settle() {
    do
      run();
    while (journal.commit() > 0);
  }

  /// Moves all clocks, step by step so that timers that re-arm themselves fire in between.
  void advance(std::chrono::milliseconds by) {
    constexpr std::chrono::milliseconds step{50};
    for (std::chrono::milliseconds done{0}; done < by; done += step) {
      tick(step);
      settle();
    }
  }

  /// Moves all clocks and nothing else.
  void tick(std::chrono::milliseconds by) {
    time.advance(by);
    scheduler_->advance_time(by);
  }

  [[nodiscard]] static topic_ref topic(const std::string& name) {
    return {tenant_name::parse("acme").value(), topic_name::parse(name).value()};
  }

  /// Hands one publish over; its answer will be in `got.published`. Returns its correlation.
  std::uint64_t publish(const std::string& name, const std::vector<std::string>& ids) {
    return publish(name, make_request(0, ids));
  }

  std::uint64_t publish(const std::string& name, runtime::publish_request request) {
    request.correlation = correlation_id{++correlation_};
    actors::publish_batch batch{.topic = topic(name)};
    batch.requests.push_back(std::move(request));
    if (auto sent = router->publish(std::move(batch), client); !sent) {
      got.published.emplace(correlation_, std::unexpected{sent.error()});
    }
    return correlation_;
  }

  std::uint64_t ask(actors::control_body body) {
    const correlation_id id{++correlation_};
    if (auto sent = router->control({id, std::move(body)}, client); !sent) {
      got.answered.emplace(id.raw(), std::unexpected{sent.error()});
    }
    return id.raw();
  }

  /// Asks and lets everything happen until the answer is there.
  [[nodiscard]] result<actors::control_answer> ask_now(actors::control_body body) {
    const auto id = ask(std::move(body));
    settle();
    REQUIRE(got.answered.contains(id));
    return got.answered.at(id);
  }

  /// Has a relay give its topic credits.
  void grant(const caf::actor& relay, std::uint32_t credits) {
    caf::anon_send(relay, actors::box(actors::relay_credit{credits}));
    settle();
  }

  /// In memory.
  [[nodiscard]] std::int64_t topics_active() {
    return static_cast<std::int64_t>(counters_.gauge("topics_active", "Topics in memory.").Value());
  }

  [[nodiscard]] double gauge(const std::string& name, const metrics::labels& with) {
    return counters_.gauge(name, {}, with).Value();
  }

  [[nodiscard]] shard_id shard_of(const std::string& name) const {
    return shard_id{shard_index(topic(name), journal.shard_count())};
  }

  config settings;
  manual_clock time;
  memory_journal journal{2, std::make_shared<runtime::broker_projection>(), time};
  std::unique_ptr<caf::actor_system> system;
  std::unique_ptr<actors::local_router> router;
  received got;
  caf::actor client;

private:
  void start() {
    system = std::make_unique<caf::actor_system>(system_config_);
    scheduler_ = dynamic_cast<caf::scheduler::test_coordinator*>(&system->scheduler());
    // CAF's own clock for tests must not start at nothing.
    scheduler_->clock().current_time += std::chrono::hours{1};
    router = std::make_unique<actors::local_router>(*system, parts_);
    client = make_probe(got);
    run();
  }

  void stop() {
    for (const auto& one : probes_)
      caf::anon_send_exit(one, caf::exit_reason::user_shutdown);
    probes_.clear();
    client = nullptr;
    router->begin_stop();
    settle();
    advance(std::chrono::seconds{1});
    router->stop();
    // What a killed shard leaves behind uses the router until it has ended.
    settle();
    router.reset();
    settle();
    system.reset();
  }

  void set_policy() { system_config_.set("scheduler.policy", caf::atom("testing")); }

  metrics counters_;
  actors::reader_pool readers_{time, 1, 1000};
  std::optional<std::promise<void>> gate_;
  caf::actor_system_config system_config_;
  actors::broker_parts parts_{
      .settings = settings,
      .journal = journal,
      .readers = readers_,
      .time = time,
      .counters = counters_};
  caf::scheduler::test_coordinator* scheduler_ = nullptr;
  std::vector<caf::actor> probes_;
  std::uint64_t correlation_ = 0;
};

}  // namespace callboard::testing
