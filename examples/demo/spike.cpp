#include "examples/demo/spike.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <functional>
#include <optional>
#include <thread>

#include "examples/demo/json_members.hpp"
#include "examples/demo/screen.hpp"

namespace callboard::demo {

namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

/// Connections that start and approve.
constexpr std::size_t callers = 8;
constexpr std::chrono::seconds patience{120};
constexpr milliseconds poll_interval{50};
constexpr milliseconds pace{20};
constexpr auto prefix = "s-";

double milliseconds_between(steady_time from, steady_time to) {
  return std::chrono::duration<double, std::milli>(to - from).count();
}

std::string percentiles(std::vector<double> values) {
  if (values.empty()) return "nothing measured";
  std::ranges::sort(values);
  const auto at = [&](double part) {
    return values[static_cast<std::size_t>(part * static_cast<double>(values.size() - 1))];
  };
  return fmt::format(
      "p50 {:.0f} ms, p99 {:.0f} ms, most {:.0f} ms", at(0.5), at(0.99), values.back());
}

struct session {
  std::string tenant;
  std::string id;
  std::string customer;
};

std::vector<session> make_sessions(const stage& on, const spike_options& options) {
  const auto& tenants = on.options().tenants;
  std::vector<session> all;
  all.reserve(options.sessions);
  for (std::uint64_t i = 0; i < options.sessions; ++i) {
    const auto customer = i / tenants.size() % options.customers;
    all.push_back(
        {.tenant = tenants[i % tenants.size()],
         .id = prefix + std::to_string(i),
         .customer = "customer" + std::to_string(customer)});
  }
  return all;
}

/// Sends one POST for each session over several kept connections; gives how long each took.
class crowd {
public:
  using request = std::function<std::pair<std::string, std::string>(const session&)>;

  crowd(const stage& on, const std::vector<session>& all, const request& make)
      : took_ms_(all.size()) {
    for (std::size_t first = 0; first < callers; ++first)
      threads_.emplace_back([this, &on, &all, make, first] { send(on, all, make, first); });
  }

  [[nodiscard]] std::uint64_t answered() const { return answered_; }

  [[nodiscard]] bool failed() const { return failed_; }

  /// Joins the threads.
  std::vector<double> times() && {
    threads_.clear();
    return std::move(took_ms_);
  }

private:
  void
  send(const stage& on, const std::vector<session>& all, const request& make, std::size_t first) {
    std::map<std::string, client::api> connections;
    for (auto i = first; i < all.size() && !failed_; i += callers) {
      auto& api =
          connections.try_emplace(all[i].tenant, on.account_of(all[i].tenant)).first->second;
      const auto [path, body] = make(all[i]);
      const auto begun = steady_clock::now();
      const auto answer = api.call("POST", api.tenant_path(path), body);
      took_ms_[i] = milliseconds_between(begun, steady_clock::now());
      if (answer) {
        ++answered_;
      } else if (!failed_.exchange(true)) {
        say("refused", answer.error().detail);
      }
    }
  }

  std::vector<double> took_ms_;
  std::atomic<std::uint64_t> answered_{0};
  std::atomic<bool> failed_{false};
  std::vector<std::jthread> threads_;
};

/// Numbers of the last interval as rates.
class live_numbers {
public:
  explicit live_numbers(const tickets::totals& now) : before_{now} {}

  /// `is_last`: what came since the last interval is told, too, however short that was.
  [[nodiscard]] std::string line(const tickets::totals& now, bool is_last) {
    const auto at = steady_clock::now();
    const auto seconds = std::chrono::duration<double>(at - since_).count();
    if (seconds >= 0.5 || (is_last && seconds >= 0.05)) {
      tokens_per_s_ = static_cast<double>(now.deltas - before_.deltas) / seconds;
      events_per_s_ = static_cast<double>(now.events - before_.events) / seconds;
      done_per_s_ = static_cast<double>(now.reached[4] - before_.reached[4]) / seconds;
      before_ = now;
      since_ = at;
    }
    return fmt::format(
        "{} started, {} drafting, {} waiting, {} done ({:.0f}/s); {:.0f} pieces/s, {:.0f} events/s",
        styled("1", fmt::format("{:>4}", now.reached[0])),
        styled("1;33", fmt::format("{:>4}", now.reached[1] - now.reached[2])),
        styled("1;35", fmt::format("{:>4}", now.reached[2] - now.reached[3])),
        styled("1;32", fmt::format("{:>4}", now.reached[4])),
        done_per_s_,
        tokens_per_s_,
        events_per_s_);
  }

private:
  tickets::totals before_;
  steady_time since_ = steady_clock::now();
  double tokens_per_s_ = 0;
  double events_per_s_ = 0;
  double done_per_s_ = 0;
};

/// Shows numbers until all sessions have reached `phase`.
result<double> watch(
    const tickets& seen,
    std::uint64_t wanted,
    ticket_phase phase,
    const std::function<bool()>& failed) {
  live_numbers numbers{seen.count(prefix)};
  const auto begun = steady_clock::now();
  auto shown = begun;
  for (;;) {
    const auto now = seen.count(prefix);
    const bool is_done = now.reached[static_cast<std::size_t>(phase)] >= wanted;
    const auto line = numbers.line(now, is_done);
    const auto at = steady_clock::now();
    if (is_done) {
      end_live("", line);
      return std::chrono::duration<double>(at - begun).count();
    }
    if (failed()) return fail(errc::unreachable, "a session was refused");
    if (at - begun > patience) return fail(errc::timeout, "not all sessions came through: " + line);
    // A line a second also where there is no terminal to replace it on.
    if (at - shown >= std::chrono::seconds{1}) {
      shown = at;
      end_live("", line);
    } else {
      show_live("", line);
    }
    std::this_thread::sleep_for(poll_interval);
  }
}

result<void> check(
    const stage& on,
    const std::vector<std::pair<tickets::key, ticket_record>>& records,
    const spike_options& options,
    claims& checked) {
  const auto n = options.sessions;
  std::uint64_t completed = 0;
  std::uint64_t out_of_turn = 0;
  for (const auto& [which, record] : records) {
    completed += record.is_completed ? 1 : 0;
    out_of_turn += record.out_of_turn;
  }
  checked.expect_count("sessions that completed", completed, n);
  checked.expect_count("events of their channels lost, repeated or out of order", out_of_turn, 0);

  const auto keys = on.provider_counts();
  if (!keys) return std::unexpected{keys.error()};
  std::uint64_t asked = 0;
  std::uint64_t requests = 0;
  for (const auto& key : *keys) {
    if (!key.user.contains(std::string{"/"} + prefix)) continue;
    ++asked;
    requests += key.requests;
  }
  checked.expect_count("model calls (keys), two for each session", asked, 2 * n);
  checked.expect_count("requests that the provider got for them", requests, 2 * n);

  std::uint64_t looked_up = 0;
  std::uint64_t twice = 0;
  for (const auto& [ticket, times] : on.worker_counts()) {
    if (!ticket.contains(std::string{"/"} + prefix)) continue;
    ++looked_up;
    twice += times - 1;
  }
  checked.expect_count("look-ups that the worker carried out", looked_up, n);
  checked.expect_count("look-ups carried out more than once", twice, 0);

  std::uint64_t contacts = 0;
  std::uint64_t desks = 0;
  for (const auto& tenant : on.options().tenants) {
    for (std::uint64_t i = 0; i < options.customers; ++i) {
      const auto desk = on.call(tenant, "/agents/desk/customer" + std::to_string(i));
      if (!desk) continue;
      ++desks;
      contacts += number_of(object_of(*desk, "state"), "contacts");
    }
  }
  checked.expect_count(fmt::format("contacts that {} agents counted", desks), contacts, n);
  return {};
}

}  // namespace

result<void>
play_spike(const stage& on, const tickets& seen, const spike_options& options, claims& checked) {
  if (auto paced = on.set_pace(pace); !paced) return paced;
  const auto sessions = make_sessions(on, options);
  say("spike",
      fmt::format(
          "{} sessions over {} tenants and {} agents, {} connections",
          sessions.size(),
          on.options().tenants.size(),
          options.customers * on.options().tenants.size(),
          callers));
  crowd starting{on, sessions, [](const session& one) {
                   return std::pair{
                       std::string{"/workflows"},
                       ticket_start(one.id, one.customer, "Where is my parcel?")};
                 }};
  auto took =
      watch(seen, sessions.size(), ticket_phase::waiting, [&] { return starting.failed(); });
  if (!took) return std::unexpected{took.error()};
  const auto start_ms = std::move(starting).times();
  say("open",
      fmt::format("{} sessions wait for a person at once, after {:.1f} s", sessions.size(), *took));

  crowd approving{on, sessions, [](const session& one) {
                    return std::pair{
                        "/workflows/" + one.id + "/signals/approval",
                        std::string{R"({"approved":true,"by":"kim"})"}};
                  }};
  took = watch(seen, sessions.size(), ticket_phase::closed, [&] { return approving.failed(); });
  if (!took) return std::unexpected{took.error()};
  (void)std::move(approving).times();
  say("closed",
      fmt::format(
          "all of them, after {:.1f} s: {:.0f} done per second",
          *took,
          static_cast<double>(sessions.size()) / *took));

  const auto records = seen.with_prefix(prefix);
  std::vector<double> to_draft;
  std::vector<double> to_end;
  std::uint64_t seen_whole = 0;
  for (const auto& [which, record] : records) {
    to_draft.push_back(milliseconds_between(record.reached[0], record.reached[2]));
    to_end.push_back(milliseconds_between(record.reached[3], record.reached[4]));
    seen_whole += record.streamed == record.recorded ? 1 : 0;
  }
  say("intent", "POST to 201, on disk: " + percentiles(start_ms));
  say("draft", "started to draft ready: " + percentiles(std::move(to_draft)));
  // No claim: frames of a draft that a slow watcher misses are not sent again.
  say("stream", fmt::format("{} drafts were seen whole, piece by piece", seen_whole));
  say("approval", "approved to completed: " + percentiles(std::move(to_end)));
  fmt::print("\n");
  return check(on, records, options, checked);
}

}  // namespace callboard::demo
