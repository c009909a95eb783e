#include "actors/relay_hub.hpp"

#include "actors/boxed.hpp"
#include "actors/io_actor.hpp"
#include "actors/relay_actor.hpp"
#include "actors/router.hpp"

#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <caf/actor_cast.hpp>
#include <caf/actor_system.hpp>
#include <caf/behavior.hpp>
#include <caf/send.hpp>

#include <algorithm>
#include <atomic>
#include <functional>
#include <map>
#include <unordered_map>

namespace callboard::actors {

namespace {

constexpr std::chrono::milliseconds tick_interval{250};
/// A relay outlives its last subscription by this, for clients that come back.
constexpr boot_time linger = std::chrono::seconds{2};
constexpr std::uint32_t list_page = 1000;
constexpr std::uint64_t page_bytes_max = 512U << 10;

/// The HUB actor: hears from shards of topics that match the patterns watched here.
class hub_actor final : public io_actor {
public:
  std::function<void(const topic_active&)> on_active;
  std::function<void(control_reply&)> on_reply;

  hub_actor(caf::actor_config& setup, boost::asio::io_context& loop)
      : io_actor{setup, loop, unbounded} {}

  caf::behavior make_behavior() override {
    return {
        [this](boxed<topic_active>& message) {
          if (on_active) on_active(*message);
        },
        [this](boxed<control_reply>& message) {
          if (on_reply) on_reply(*message);
        },
    };
  }

  const char* name() const override { return "callboard.hub"; }

  void finish() { end({}); }
};

}  // namespace

class relay_hub::parts final : public pattern_source {
public:
  explicit parts(const relay_hub_parts& from)
      : given{from},
        timer{from.loop},
        shared{
            from.broker,
            from.time,
            relay_limits{},
            counts,
            on_news,
            from.settings.topics.relay_credits,
            from.settings.limits.page_events_max,
            std::min(page_bytes_max, from.settings.limits.output_bytes_max)},
        batches{from.counters.counter(
            "relay_batches_total", "Batches of events that reached an I/O thread")},
        reads{from.counters.counter(
            "relay_reads_total", "Pages of history read for subscriptions that are behind")},
        dropped{from.counters.counter(
            "relay_dropped_events_total",
            "Ephemeral events that did not reach an I/O thread in time")},
        slowest{from.counters.gauge(
            "slowest_subscriber_lag_events",
            "Events that the subscription furthest behind has yet to be sent, by I/O thread",
            {{"thread", std::to_string(from.thread)}})} {
    hub = from.system.spawn<hub_actor>(from.loop);
    actor = static_cast<hub_actor*>(caf::actor_cast<caf::abstract_actor*>(hub));
    on_news = [this](const topic_active& active) { handle_news(active); };
    actor->on_active = [this](const topic_active& active) {
      if (!is_known(active)) handle_active(active);
    };
    actor->on_reply = [this](control_reply& reply) { handle_list(reply); };
  }

  std::unique_ptr<topic_subscription> subscribe(
      const topic_ref& topic,
      subscription_output& output,
      runtime::slow_policy policy,
      runtime::credit_account& credits,
      runtime::position from) override {
    return std::make_unique<topic_subscription>(
        relay_of(topic).get(), output, policy, credits, std::move(from));
  }

  relay_actor& relay_of(const topic_ref& topic) {
    auto& entry = relays[topic];
    const bool is_new = entry.actor == nullptr;
    if (is_new) {
      entry.handle = given.system.spawn<relay_actor>(given.loop, shared, topic);
      entry.actor = static_cast<relay_actor*>(caf::actor_cast<caf::abstract_actor*>(entry.handle));
    }
    if (is_new || entry.actor->is_released()) entry.actor->attach_to_topic();
    entry.idle_since.reset();
    return *entry.actor;
  }

  void let_go(const topic_ref& topic) override {
    const auto found = relays.find(topic);
    if (found != relays.end()) found->second.actor->let_go();
  }

  void ask_again(const pattern_subscription& one) override {
    given.broker.watch({one.tenant(), one.pattern()}, hub);
  }

  void handle_news(const topic_active& active);
  void handle_active(const topic_active& active);
  [[nodiscard]] bool is_known(const topic_active& active) const;
  void handle_list(control_reply& reply);
  [[nodiscard]] result<void> list(pattern_subscription& one, std::string after);
  void list_on();
  void forget(pattern_subscription& one);
  void tick_relays(boot_time now);
  void tick_members(boot_time now);
  void publish_counts();
  void flush_all();

  struct relay_entry {
    caf::actor handle;
    relay_actor* actor = nullptr;
    std::optional<boot_time> idle_since;
    /// Number of the last news that came by way of it.
    std::uint64_t news = 0;
  };

  relay_hub_parts given;
  boost::asio::steady_timer timer;
  relay_counts counts;
  relay_counts published;
  std::function<void(const topic_active&)> on_news;
  relay_setup shared;
  prometheus::Counter& batches;
  prometheus::Counter& reads;
  prometheus::Counter& dropped;
  prometheus::Gauge& slowest;

  caf::actor hub;
  hub_actor* actor = nullptr;
  std::unordered_map<topic_ref, relay_entry> relays;

  /// Patterns, and the subscriptions of this thread that watch each together.
  std::map<std::pair<tenant_name, std::string>, std::vector<pattern_subscription*>> patterns;
  std::unordered_map<std::uint64_t, pattern_subscription*> lists;
  std::uint64_t next_list = 1;
  /// Lists that go on behind this topic, once there is room for more of them.
  std::vector<std::pair<pattern_subscription*, std::string>> paused_lists;

  std::vector<thread_member*> members;
  bool walking = false;
  std::atomic<std::size_t> member_count{0};

  std::vector<flushable*> to_flush;
  /// The list that `flush_all` is walking.
  std::vector<flushable*>* flushing = nullptr;
  bool flush_posted = false;
  std::shared_ptr<void> companion;
  std::shared_ptr<bool> alive = std::make_shared<bool>(true);
  std::optional<std::chrono::milliseconds> draining;
  bool stopped = false;
};

// -- patterns --------------------------------------------------------------------------------

void relay_hub::parts::handle_news(const topic_active& active) {
  const auto relay = relays.find(active.topic);
  if (relay != relays.end() && active.number != 0) relay->second.news = active.number;
  handle_active(active);
}

/// Those who watch have heard of it from the topic's relay, and may have let go of the topic since.
bool relay_hub::parts::is_known(const topic_active& active) const {
  const auto relay = relays.find(active.topic);
  return active.number != 0 && relay != relays.end() && relay->second.news == active.number;
}

void relay_hub::parts::handle_active(const topic_active& active) {
  const auto& topic = active.topic.topic.str();
  for (auto& [key, watchers] : patterns) {
    if (key.first != active.topic.tenant || !watchers.front()->pattern().matches(topic)) continue;
    for (auto* one : watchers)
      one->on_active(active);
  }
}

result<void> relay_hub::parts::list(pattern_subscription& one, std::string after) {
  const auto id = next_list++;
  list_topics what{one.tenant(), std::move(after), list_page, one.wants_run_channels()};
  auto asked = given.broker.control({correlation_id{id}, std::move(what)}, hub);
  if (asked) lists.emplace(id, &one);
  return asked;
}

void relay_hub::parts::handle_list(control_reply& reply) {
  const auto found = lists.find(reply.correlation.raw());
  if (found == lists.end()) return;
  auto& one = *found->second;
  lists.erase(found);
  if (!reply.outcome) return one.on_list_failed(reply.outcome.error());
  auto* page = std::get_if<topic_list>(&*reply.outcome);
  if (page == nullptr) return;
  const bool last = page->next_after.empty()
                    || (!page->topics.empty() && one.list_ends_before(page->topics.back().topic));
  if (!page->shards_left_out.empty()) one.on_shards_left_out();
  one.on_listed(page->topics, last);
  if (last || one.is_ready()) return;
  paused_lists.emplace_back(&one, page->next_after);
  list_on();
}

void relay_hub::parts::list_on() {
  for (auto& [one, after] : std::exchange(paused_lists, {})) {
    if (!one->has_room()) {
      paused_lists.emplace_back(one, std::move(after));
    } else if (const auto asked = list(*one, std::move(after)); !asked) {
      one->on_list_failed(asked.error());
    }
  }
}

void relay_hub::parts::forget(pattern_subscription& one) {
  std::erase_if(lists, [&](const auto& entry) { return entry.second == &one; });
  std::erase_if(paused_lists, [&](const auto& entry) { return entry.first == &one; });
  const auto entry = patterns.find({one.tenant(), one.pattern().str()});
  if (entry == patterns.end()) return;
  std::erase(entry->second, &one);
  if (!entry->second.empty()) return;
  patterns.erase(entry);
  if (!stopped) given.broker.unwatch({one.tenant(), one.pattern()}, hub);
}

result<std::unique_ptr<pattern_subscription>> relay_hub::subscribe_pattern(
    const tenant_name& tenant,
    const topic_pattern& pattern,
    pattern_output& output,
    runtime::slow_policy policy,
    runtime::credit_account& credits,
    pattern_start start) {
  auto& p = *parts_;
  if (p.stopped) return fail(errc::draining, "the node is shutting down");
  auto one = std::make_unique<pattern_subscription>(
      p,
      tenant,
      pattern,
      output,
      policy,
      credits,
      std::move(start),
      p.given.settings.limits.pattern_topics_max);
  p.patterns[{tenant, pattern.str()}].push_back(one.get());
  one->on_end = [&p, target = one.get()] { p.forget(*target); };
  // Also if others here watch it: topics tell once, and this one was not there yet.
  p.ask_again(*one);
  if (const auto asked = p.list(*one, one->list_after()); !asked) {
    return std::unexpected{asked.error()};
  }
  return one;
}

// -- the turn and the tick -------------------------------------------------------------------

void relay_hub::parts::tick_relays(boot_time now) {
  std::uint64_t lag = 0;
  for (const auto& [topic, entry] : relays)
    lag = std::max(lag, entry.actor->get().slowest_lag());
  slowest.Set(static_cast<double>(lag));
  for (auto entry = relays.begin(); entry != relays.end();) {
    auto& one = entry->second;
    one.actor->on_tick(now);
    if (one.actor->get().subscription_count() != 0) {
      one.idle_since.reset();
      ++entry;
      continue;
    }
    if (!one.idle_since) one.idle_since = now;
    if (now - *one.idle_since < linger) {
      ++entry;
      continue;
    }
    if (one.actor->try_to_leave()) {
      entry = relays.erase(entry);
    } else {
      one.idle_since = now;
      ++entry;
    }
  }
}

void relay_hub::parts::tick_members(boot_time now) {
  walking = true;
  for (std::size_t i = 0; i < members.size(); ++i) {
    if (members[i] != nullptr) members[i]->on_tick(now);
  }
  walking = false;
}

void relay_hub::parts::publish_counts() {
  batches.Increment(static_cast<double>(counts.batches - published.batches));
  reads.Increment(static_cast<double>(counts.reads - published.reads));
  dropped.Increment(static_cast<double>(counts.dropped_ephemeral - published.dropped_ephemeral));
  published = counts;
}

void relay_hub::parts::flush_all() {
  flush_posted = false;
  // Flushes may ask for more flushes; those run in the next turn.
  auto now = std::exchange(to_flush, {});
  for (auto*& one : now) {
    if (one == nullptr) continue;
    one->requested_ = false;
    flushing = &now;
    one->flush();
  }
  flushing = nullptr;
  now.clear();
  if (to_flush.empty()) to_flush.swap(now);
}

relay_hub::relay_hub(relay_hub_parts from) : parts_{std::make_unique<parts>(from)} {}

relay_hub::~relay_hub() {
  stop();
}

void relay_hub::start() {
  schedule_tick();
}

void relay_hub::schedule_tick() {
  parts_->timer.expires_after(tick_interval);
  parts_->timer.async_wait([this, alive = parts_->alive](const boost::system::error_code& failed) {
    if (failed || !*alive || parts_->stopped) return;
    tick(parts_->given.time.boot());
    schedule_tick();
  });
}

void relay_hub::tick(boot_time now) {
  auto& p = *parts_;
  if (p.stopped) return;
  p.tick_members(now);
  std::erase(p.members, nullptr);
  for (std::size_t i = 0; i < p.members.size(); ++i)
    p.members[i]->place_ = i;
  for (auto& [key, watchers] : p.patterns) {
    for (auto* one : watchers)
      one->on_tick(now);
  }
  p.list_on();
  p.tick_relays(now);
  p.publish_counts();
}

void relay_hub::drain(std::chrono::milliseconds spread) {
  auto& p = *parts_;
  p.draining = spread;
  p.walking = true;
  for (std::size_t i = 0; i < p.members.size(); ++i) {
    if (p.members[i] != nullptr) p.members[i]->on_drain(spread);
  }
  p.walking = false;
}

void relay_hub::stop() {
  auto& p = *parts_;
  if (p.stopped) return;
  p.walking = true;
  for (std::size_t i = 0; i < p.members.size(); ++i) {
    if (p.members[i] != nullptr) p.members[i]->on_stop();
  }
  p.walking = false;
  p.stopped = true;
  *p.alive = false;
  p.timer.cancel();
  for (auto& [topic, entry] : p.relays)
    entry.actor->leave_topic();
  p.relays.clear();
  p.to_flush.clear();
  p.actor->finish();
  p.hub = nullptr;
}

std::unique_ptr<topic_subscription> relay_hub::subscribe(
    const topic_ref& topic,
    subscription_output& output,
    runtime::slow_policy policy,
    runtime::credit_account& credits,
    runtime::position from) {
  return std::make_unique<topic_subscription>(
      parts_->relay_of(topic).get(), output, policy, credits, std::move(from));
}

void relay_hub::join(thread_member& member) {
  auto& p = *parts_;
  member.place_ = p.members.size();
  p.members.push_back(&member);
  ++p.member_count;
}

void relay_hub::catch_up(thread_member& member) const {
  if (parts_->stopped) return member.on_stop();
  if (parts_->draining) member.on_drain(*parts_->draining);
}

void relay_hub::leave(thread_member& member) {
  auto& p = *parts_;
  if (member.place_ >= p.members.size() || p.members[member.place_] != &member) return;
  --p.member_count;
  if (p.walking) {
    p.members[member.place_] = nullptr;
    return;
  }
  p.members[member.place_] = p.members.back();
  if (p.members[member.place_] != nullptr) p.members[member.place_]->place_ = member.place_;
  p.members.pop_back();
}

std::size_t relay_hub::member_count() const {
  return parts_->member_count.load();
}

void relay_hub::request_flush(flushable& one) {
  auto& p = *parts_;
  if (one.requested_ || p.stopped) return;
  one.requested_ = true;
  p.to_flush.push_back(&one);
  if (std::exchange(p.flush_posted, true)) return;
  boost::asio::post(p.given.loop, [&p, alive = p.alive] {
    if (*alive) p.flush_all();
  });
}

void relay_hub::cancel_flush(flushable& one) {
  if (!one.requested_) return;
  one.requested_ = false;
  std::ranges::replace(parts_->to_flush, &one, static_cast<flushable*>(nullptr));
  if (parts_->flushing != nullptr) {
    std::ranges::replace(*parts_->flushing, &one, static_cast<flushable*>(nullptr));
  }
}

std::size_t relay_hub::relay_count() const {
  return parts_->relays.size();
}

boost::asio::io_context& relay_hub::loop() {
  return parts_->given.loop;
}

boot_time relay_hub::now() const {
  return parts_->given.time.boot();
}

time_ms relay_hub::event_time() const {
  return parts_->given.broker.event_time();
}

std::shared_ptr<void>& relay_hub::companion() {
  return parts_->companion;
}

}  // namespace callboard::actors
