// The demo: two tenants publish and subscribe, the node is killed in the middle, nothing is lost.
#include <fmt/format.h>

#include <array>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <thread>
#include <unistd.h>

#include "examples/demo/node_process.hpp"
#include "examples/demo/publisher.hpp"
#include "examples/demo/subscriber.hpp"

namespace callboard::demo {

namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

/// Acked events of each publisher: when the node is killed, and in all.
constexpr std::uint64_t before_crash = 400;
constexpr std::uint64_t in_all = 1000;

const bool on_terminal = ::isatty(STDOUT_FILENO) == 1;

std::string styled(std::string_view codes, std::string_view text) {
  return on_terminal ? fmt::format("\x1b[{}m{}\x1b[0m", codes, text) : std::string{text};
}

void say(std::string_view step, std::string_view text) {
  fmt::print("  {} {}\n", styled("1;36", fmt::format("{:<12}", step)), text);
  std::fflush(stdout);
}

/// Everybody on stage. Each has its own thread while the node lives.
struct cast {
  std::array<stage, 2> stages{};
  std::array<std::unique_ptr<publisher>, 4> publishers;
  std::array<std::unique_ptr<subscriber>, 2> subscribers;

  cast() {
    stages[0].tenant = "acme";
    stages[0].topic = "orders";
    stages[1].tenant = "globex";
    stages[1].topic = "alerts";
    publishers[0] = std::make_unique<http_publisher>("web-shop", stages[0]);
    publishers[1] = std::make_unique<websocket_publisher>("tills", stages[0]);
    publishers[2] = std::make_unique<http_publisher>("smoke-detector", stages[1]);
    publishers[3] = std::make_unique<websocket_publisher>("sensors", stages[1]);
    subscribers[0] = std::make_unique<websocket_subscriber>(stages[0]);
    subscribers[1] = std::make_unique<stream_subscriber>(stages[1]);
  }

  [[nodiscard]] totals sum() const {
    totals all;
    for (const auto& each : stages) {
      const auto one = each.counts.count();
      all.published += one.published;
      all.acked += one.acked;
      all.retried += one.retried;
      all.already_stored += one.already_stored;
      all.delivered += one.delivered;
      all.lost += one.lost;
      all.duplicated += one.duplicated;
    }
    return all;
  }
};

void show_progress(const cast& all) {
  if (!on_terminal) return;
  const auto now = all.sum();
  fmt::print(
      "\r  {:<12} published {}  acked {}  delivered {}   ",
      "",
      styled("1", fmt::format("{:>5}", now.published)),
      styled("1;32", fmt::format("{:>5}", now.acked)),
      styled("1", fmt::format("{:>5}", now.delivered)));
  std::fflush(stdout);
}

void end_progress(const cast& all) {
  show_progress(all);
  if (on_terminal) fmt::print("\n");
}

/// Waits until `condition`, showing the counts meanwhile; false if it takes longer than `limit`.
bool watch_until(const cast& all, const std::function<bool()>& condition, milliseconds limit) {
  const auto end = steady_clock::now() + limit;
  while (!condition()) {
    if (steady_clock::now() > end) return false;
    show_progress(all);
    std::this_thread::sleep_for(milliseconds{20});
  }
  return true;
}

using threads = std::vector<std::jthread>;

threads start_subscribers(cast& all, const client::endpoint& node) {
  threads running;
  for (auto& each : all.subscribers)
    running.emplace_back([&each, node] { each->run(node); });
  return running;
}

threads start_publishers(cast& all, const client::endpoint& node) {
  threads running;
  for (auto& each : all.publishers)
    running.emplace_back([&each, node] { each->run(node, in_all); });
  return running;
}

bool create_topics(const cast& all, const client::endpoint& node) {
  for (const auto& each : all.stages) {
    client::api api{{.server = node, .tenant = each.tenant, .token = {}}};
    if (const auto made = api.call("PUT", api.topic_path(each.topic), "{}"); !made) {
      say("failed", made.error().detail);
      return false;
    }
  }
  return true;
}

/// First act: all is well until the node dies in the middle of a sentence.
bool play_until_crash(cast& all, node_process& node) {
  const auto ready = node.start();
  if (!ready) {
    say("failed", ready.error().detail);
    return false;
  }
  say("start", fmt::format("one node, ready in {} ms at {}", ready->count(), node.where().url()));
  if (!create_topics(all, node.where())) return false;
  say("subscribe", "acme/orders over a WebSocket, globex/alerts as an event stream (SSE)");
  const auto listening = start_subscribers(all, node.where());
  say("publish", "web-shop and smoke-detector over HTTP, tills and sensors over WebSockets");
  const auto publishing = start_publishers(all, node.where());
  const bool reached = watch_until(
      all, [&] { return all.sum().acked >= 4 * before_crash; }, std::chrono::seconds{60});
  end_progress(all);
  say("kill -9", styled("1;31", fmt::format("node {} is dead", node.pid())));
  node.kill();
  return reached;
}

/// Second act: same data, same clients, which know nothing but their cursors and open ids.
bool play_to_the_end(cast& all, node_process& node) {
  const auto dead = all.sum();
  say("",
      fmt::format(
          "{} acked; {} published without an answer: nobody knows what became of them",
          dead.acked,
          dead.published - dead.acked));
  const auto ready = node.start();
  if (!ready) {
    say("failed", ready.error().detail);
    return false;
  }
  say("restart", fmt::format("ready in {} ms on the same data", ready->count()));
  say("resume",
      fmt::format(
          "WebSocket after {}, event stream with Last-Event-ID {}",
          styled("33", all.subscribers[0]->cursor()),
          styled("33", all.subscribers[1]->cursor())));
  const auto listening = start_subscribers(all, node.where());
  {
    const auto publishing = start_publishers(all, node.where());
    (void)watch_until(all, [&] { return all.sum().acked >= 4 * in_all; }, std::chrono::seconds{60});
  }
  const bool settled = watch_until(
      all,
      [&] {
        const auto now = all.sum();
        return now.lost == 0 && now.delivered >= now.acked;
      },
      std::chrono::seconds{10});
  for (auto& each : all.subscribers)
    each->stop();
  end_progress(all);
  const auto now = all.sum();
  say("retry",
      fmt::format(
          "{} events sent again under the same id: {} had been stored before the crash",
          now.retried,
          now.already_stored));
  return settled;
}

void print_row(const std::array<std::string, 7>& cells, bool is_sum) {
  fmt::print("  {:<15}", cells[0]);
  for (std::size_t i = 1; i < cells.size(); ++i) {
    auto cell = fmt::format("{:>12}", cells[i]);
    const bool verdict = i >= 5 && is_sum;
    fmt::print("{}", verdict ? styled(cells[i] == "0" ? "1;32" : "1;31", cell) : cell);
  }
  fmt::print("\n");
}

void print_table(const cast& all) {
  fmt::print("\n");
  print_row({"topic", "published", "acked", "retried", "delivered", "lost", "duplicated"}, false);
  const auto row = [](const std::string& name, const totals& now, bool is_sum) {
    print_row(
        {name,
         std::to_string(now.published),
         std::to_string(now.acked),
         std::to_string(now.retried),
         std::to_string(now.delivered),
         std::to_string(now.lost),
         std::to_string(now.duplicated)},
        is_sum);
  };
  for (const auto& each : all.stages) {
    row(each.tenant + '/' + each.topic, each.counts.count(), false);
  }
  row("all", all.sum(), true);
  fmt::print("\n");
}

void print_lines_to_try(const client::endpoint& node, const std::string& program) {
  const auto url = node.url();
  const auto ws = "ws" + url.substr(4);
  fmt::print(
      R"(  The node runs at {0} until Ctrl-C. Try, in another terminal:

    # the first three events, as JSON
    curl '{0}/v1/tenants/acme/topics/orders/events?from=first&limit=3'

    # follow a topic as an event stream
    curl -N -H 'Accept: text/event-stream' '{0}/v1/tenants/acme/topics/orders/events'

    # publish any JSON; the same key twice is stored once
    curl '{0}/v1/tenants/acme/topics/orders/events?type=order.placed' \
      -H 'Content-Type: application/json' -H 'Idempotency-Key: mine-1' -d '{{"total": 42}}'

    # a WebSocket, by hand
    websocat --protocol callboard.v1.json {1}/v1/tenants/acme/ws
    {{"op":"subscribe","id":1,"topic":"orders","from":"now"}}
    {{"op":"publish","id":2,"topic":"orders","event":{{"type":"order.placed","data":{{"total":7}}}}}}

    # the same from the command line
    {2} subscribe orders --tenant acme --from first --limit 3 --server {0}

)",
      url,
      ws,
      program);
  std::fflush(stdout);
}

void wait_for_interrupt() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGINT);
  sigaddset(&set, SIGTERM);
  int signal = 0;
  sigwait(&set, &signal);
}

int play(const std::string& program, bool keep) {
  auto folder = (std::filesystem::temp_directory_path() / "callboard-demo-XXXXXX").string();
  if (::mkdtemp(folder.data()) == nullptr) return 1;
  node_process node{program, folder + "/data"};
  cast all;
  fmt::print(
      "\n  {}  two tenants, four publishers, two subscribers, and one kill -9\n\n",
      styled("1", "Callboard"));
  const bool played = play_until_crash(all, node) && play_to_the_end(all, node);
  print_table(all);
  const auto result = all.sum();
  const bool sound = played && result.lost == 0 && result.duplicated == 0;
  fmt::print(
      "  {}\n\n",
      sound ? styled("1;32", "Every acked event was delivered exactly once.")
            : styled("1;31", "The demo failed; the log is " + folder + "/data.log"));
  if (sound && keep) {
    print_lines_to_try(node.where(), program);
    wait_for_interrupt();
  }
  node.stop();
  if (sound) std::filesystem::remove_all(folder);
  return sound ? 0 : 1;
}

}  // namespace

}  // namespace callboard::demo

int main(int argc, char** argv) {
  std::string program = "build/callboard";
  bool keep = false;
  for (int i = 1; i < argc; ++i) {
    const std::string_view word = argv[i];
    if (word == "--keep") {
      keep = true;
    } else if (word == "--program" && i + 1 < argc) {
      program = argv[++i];
    } else {
      fmt::print(stderr, "usage: callboard_demo [--program PATH] [--keep]\n");
      return 2;
    }
  }
  // Blocked here so that every thread leaves them to `wait_for_interrupt`; without --keep the
  // default applies.
  if (keep) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &set, nullptr);
  }
  return callboard::demo::play(program, keep);
}
