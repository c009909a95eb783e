#include "examples/demo/story.hpp"

#include <boost/json/serialize.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <functional>
#include <thread>

#include "examples/demo/json_members.hpp"
#include "examples/demo/screen.hpp"

namespace callboard::demo {

namespace {

namespace json = boost::json;
using std::chrono::milliseconds;
using std::chrono::steady_clock;

/// Pieces of the draft that are seen before the node is killed.
constexpr int pieces_before_kill = 14;
constexpr std::chrono::seconds patience{30};
constexpr milliseconds poll_interval{10};

/// The same id in both: tenants know nothing of each other.
constexpr auto ticket_id = "t1";

struct scene {
  std::string tenant;
  std::string customer;
  std::string question;
  /// What the person says to the draft.
  bool is_approved;
};

const std::vector<scene>& scenes() {
  static const std::vector<scene> both{
      {"acme", "ada", "Where is my lamp? It should have arrived on Monday.", true},
      {"globex", "bob", "I was charged twice, please check my last invoice.", false}};
  return both;
}

bool wait_for(const std::function<bool()>& condition) {
  const auto end = steady_clock::now() + patience;
  while (!condition()) {
    if (steady_clock::now() > end) return false;
    std::this_thread::sleep_for(poll_interval);
  }
  return true;
}

bool all_reached(const tickets& seen, ticket_phase phase) {
  return std::ranges::all_of(
      scenes(), [&](const scene& one) { return seen.at({one.tenant, ticket_id}).phase >= phase; });
}

/// Prints the draft of the first scene as it comes; lives as long as the story.
class spectator {
public:
  explicit spectator(tickets& seen) : seen_{seen} {
    seen_.set_watcher([this](const tickets::key& which, const channel_event& event) {
      if (which == tickets::key{scenes()[0].tenant, ticket_id}) take(event);
    });
  }

  ~spectator() { seen_.set_watcher({}); }

  spectator(const spectator&) = delete;
  spectator& operator=(const spectator&) = delete;

  [[nodiscard]] int pieces() const { return pieces_; }

  /// The next piece is shown once an attempt begins.
  void end_line() {
    const std::lock_guard lock{mutex_};
    line_.end();
  }

private:
  void take(const channel_event& event) {
    const std::lock_guard lock{mutex_};
    if (text_of(event.data, "name") != "draft") return;
    if (event.type == "model.reset" || event.type == "model.snapshot") {
      line_.begin(fmt::format("attempt {}", number_of(event.data, "attempt")));
      pieces_ = 0;
    }
    if (event.type == "model.delta" || event.type == "model.snapshot") {
      line_.add(text_of(event.data, "text"));
      ++pieces_;
    }
  }

  tickets& seen_;
  std::mutex mutex_;
  live_text line_;
  std::atomic<int> pieces_{0};
};

result<void> begin(stage& on) {
  for (const auto& one : scenes()) {
    auto made =
        on.call(one.tenant, "/workflows", ticket_start(ticket_id, one.customer, one.question));
    if (!made) return std::unexpected{made.error()};
    say("intent", fmt::format("{}/{}  {}: {}", one.tenant, ticket_id, one.customer, one.question));
  }
  return {};
}

void kill(stage& on, spectator& eyes, std::string_view when) {
  const auto pid = on.node_pid();
  on.kill_node();
  eyes.end_line();
  say("kill -9", styled("1;31", fmt::format("node {} is dead, {}", pid, when)));
}

result<void> restart(stage& on) {
  const auto ready = on.start_node();
  if (!ready) return std::unexpected{ready.error()};
  say("restart", fmt::format("ready in {} ms on the same data", ready->count()));
  return {};
}

result<void> until_cut(stage& on, const tickets& seen, spectator& eyes) {
  if (auto begun = begin(on); !begun) return begun;
  const bool cut = wait_for([&] {
    return eyes.pieces() >= pieces_before_kill && all_reached(seen, ticket_phase::drafting);
  });
  if (!cut) return fail(errc::timeout, "no draft was seen");
  kill(on, eyes, "in the middle of two drafts");
  return restart(on);
}

result<void> until_waiting(stage& on, const tickets& seen, spectator& eyes) {
  const bool waits = wait_for([&] { return all_reached(seen, ticket_phase::waiting); });
  eyes.end_line();
  if (!waits) return fail(errc::timeout, "the drafts were not made again");
  for (const auto& one : scenes()) {
    const auto why = on.call(one.tenant, "/workflows/" + std::string{ticket_id});
    if (!why) return std::unexpected{why.error()};
    say("approval", fmt::format("{}/{} is {}", one.tenant, ticket_id, text_of(*why, "state")));
  }
  kill(on, eyes, "while both wait for a person");
  return restart(on);
}

result<void> until_closed(stage& on, const tickets& seen) {
  for (const auto& one : scenes()) {
    const auto answer = json::serialize(json::object{{"approved", one.is_approved}, {"by", "kim"}});
    const auto path = fmt::format("/workflows/{}", ticket_id);
    if (auto sent = on.call(one.tenant, path + "/signals/approval", answer); !sent) {
      return std::unexpected{sent.error()};
    }
    const auto ended = on.call(one.tenant, path + "/result?wait_ms=20000");
    if (!ended) return std::unexpected{ended.error()};
    say("result",
        fmt::format(
            "{}/{} {} by {}",
            one.tenant,
            ticket_id,
            styled("1", text_of(object_of(*ended, "result"), "outcome")),
            text_of(object_of(*ended, "result"), "by")));
  }
  if (!wait_for([&] { return all_reached(seen, ticket_phase::closed); })) {
    return fail(errc::timeout, "the last events of the channels did not come");
  }
  return {};
}

void print_steps(
    const scene& one,
    const ticket_record& record,
    const std::vector<key_count>& keys,
    std::uint64_t look_ups) {
  for (const auto& [name, step] : record.steps) {
    const auto plain = name.substr(name.find(' ') + 1);
    std::string outside;
    for (const auto& key : keys) {
      if (step.kind == "model" && key.kind == plain && key.user == one.tenant + "/" + ticket_id) {
        outside = fmt::format(
            "provider: {} request{}, {} cut, key …{}",
            key.requests,
            key.requests == 1 ? "" : "s",
            key.cut,
            key.key.substr(key.key.size() - std::min<std::size_t>(key.key.size(), 8)));
      }
    }
    if (plain == "lookups") outside = fmt::format("worker: carried out {}", look_ups);
    fmt::print(
        "    {:<8} {:<15} {:<8} attempt {}   {}\n",
        one.tenant,
        plain,
        step.kind,
        std::max<std::uint64_t>(step.attempt, step.attempts_failed + 1),
        outside);
  }
}

void check_models(
    const scene& one,
    const ticket_record& record,
    const std::vector<key_count>& keys,
    claims& checked) {
  std::uint64_t classified = 0;
  std::vector<key_count> drafts;
  for (const auto& key : keys) {
    if (key.user != one.tenant + "/" + ticket_id) continue;
    if (key.kind == "classify") classified += key.requests;
    if (key.kind == "draft") drafts.push_back(key);
  }
  const auto claim = [&](std::string_view what) { return one.tenant + ": " + std::string{what}; };
  checked.expect_count(claim("the provider was asked to classify once"), classified, 1);
  checked.expect_count(claim("both requests for the draft had one key"), drafts.size(), 1);
  if (drafts.size() == 1) {
    checked.expect_count(claim("the draft was asked for twice"), drafts[0].requests, 2);
    checked.expect_count(claim("once it was cut, by the first kill"), drafts[0].cut, 1);
  }
  for (const auto& [name, step] : record.steps) {
    if (!name.ends_with(" draft")) continue;
    checked.expect_count(claim("the history has the draft as attempt"), step.attempt, 2);
    checked.expect_count(claim("results of the draft in the history"), step.completed, 1);
  }
  checked.expect(
      record.streamed == record.recorded && !record.recorded.empty(),
      claim("what was shown word by word is what was recorded"),
      fmt::format("{} characters", record.recorded.size()));
}

result<void> check(stage& on, const tickets& seen, claims& checked) {
  const auto keys = on.provider_counts();
  if (!keys) return std::unexpected{keys.error()};
  const auto look_ups = on.worker_counts();
  const auto carried_out = [&](const scene& one) {
    const auto found = look_ups.find(one.tenant + "/" + ticket_id);
    return found == look_ups.end() ? 0 : found->second;
  };
  fmt::print("\n");
  for (const auto& one : scenes())
    print_steps(one, seen.at({one.tenant, ticket_id}), *keys, carried_out(one));
  fmt::print("\n");
  for (const auto& one : scenes()) {
    const auto record = seen.at({one.tenant, ticket_id});
    check_models(one, record, *keys, checked);
    checked.expect_count(one.tenant + ": the look-up was carried out once", carried_out(one), 1);
    const auto desk = on.call(one.tenant, "/agents/desk/" + one.customer);
    if (!desk) return std::unexpected{desk.error()};
    checked.expect_count(
        one.tenant + ": contacts that the customer's desk counted",
        number_of(object_of(*desk, "state"), "contacts"),
        1);
    checked.expect_count(one.tenant + ": approvals that arrived", record.signals, 1);
    checked.expect(
        record.is_completed && record.last_update == "closed",
        one.tenant + ": the last word was a workflow.update",
        record.last_update);
    checked.expect(
        record.out_of_turn == 0,
        one.tenant + ": its watcher saw every event once, in order",
        fmt::format("{} events", record.events));
  }
  return {};
}

}  // namespace

result<void> play_story(stage& on, tickets& seen, claims& checked) {
  spectator eyes{seen};
  auto played = until_cut(on, seen, eyes);
  if (played) played = until_waiting(on, seen, eyes);
  if (played) played = until_closed(on, seen);
  if (played) played = check(on, seen, checked);
  return played;
}

}  // namespace callboard::demo
