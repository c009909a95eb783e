// The demo: a support assistant for several companies on one node, killed in the middle of a draft
// and of an approval; then a thousand of them at once. Every claim is checked; see the exit code.
#include <fmt/format.h>

#include <array>
#include <charconv>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <memory>

#include "examples/demo/screen.hpp"
#include "examples/demo/spike.hpp"
#include "examples/demo/story.hpp"

namespace callboard::demo {

namespace {

/// Between two words of a draft, for people who watch.
constexpr std::chrono::milliseconds reading_pace{80};

constexpr std::array tenants{"acme", "globex", "initech", "umbrella"};

struct options {
  stage_options where;
  spike_options spike;
  bool keep = false;
};

void print_lines_to_try(const stage& on) {
  const auto url = on.account_of("acme").server.url();
  fmt::print(
      R"(  All of it runs until Ctrl-C. See it in a browser, and kill -9 {1}: the node is started again.

    {2}

  Or from another terminal:

    curl {0}/v1/tenants/acme/workflows -H 'Content-Type: application/json' \
      -d '{{"type":"support","id":"mine","input":{{"customer":"ada","question":"Where is my lamp?"}}}}'
    curl -N -H 'Accept: text/event-stream' '{0}/v1/tenants/acme/topics/workflow.mine/events?from=first'
    curl {0}/v1/tenants/acme/workflows/mine/signals/approval -d '{{"approved":true,"by":"me"}}'
    curl {0}/v1/tenants/acme/agents/desk/ada

)",
      url,
      on.node_pid(),
      on.page_url());
  std::fflush(stdout);
}

/// Until Ctrl-C; whoever kills the node meanwhile gets another.
void keep_running(stage& on) {
  constexpr timespec look_again{.tv_sec = 0, .tv_nsec = 200'000'000};
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGINT);
  sigaddset(&set, SIGTERM);
  while (sigtimedwait(&set, nullptr, &look_again) < 0) {
    if (!on.node_has_ended()) continue;
    const auto ready = on.start_node();
    if (!ready) return say("failed", ready.error().detail);
    say("restart", fmt::format("ready in {} ms; now it is {}", ready->count(), on.node_pid()));
  }
}

result<void> play(stage& on, const options& how, claims& checked) {
  if (auto opened = on.open(); !opened) return opened;
  say("start",
      fmt::format(
          "a node with the support assistant at {}, a provider, a worker in Python",
          on.account_of("acme").server.url()));
  say("page", on.page_url());
  tickets seen;
  std::vector<std::unique_ptr<follower>> watching;
  for (const auto& tenant : on.options().tenants) {
    watching.push_back(std::make_unique<follower>(
        on.account_of(tenant), [&seen, tenant](const auto& event) { seen.take(tenant, event); }));
  }
  auto played = play_story(on, seen, checked);
  if (played) {
    fmt::print("\n");
    played = play_spike(on, seen, how.spike, checked);
  }
  return played;
}

int run(options how) {
  auto folder = (std::filesystem::temp_directory_path() / "callboard-demo-XXXXXX").string();
  if (::mkdtemp(folder.data()) == nullptr) return 1;
  how.where.folder = folder;
  how.where.tenants.assign(tenants.begin(), tenants.end());
  stage on{how.where};
  claims checked;
  fmt::print(
      "\n  {}  a support assistant for {} companies, two kill -9, and {} sessions at once\n\n",
      styled("1", "Callboard"),
      tenants.size(),
      how.spike.sessions);
  const auto played = play(on, how, checked);
  if (!played) say("failed", played.error().detail);
  const bool sound = played && checked.all_hold();
  fmt::print(
      "\n  {}\n\n",
      sound ? styled("1;32", fmt::format("All {} claims hold.", checked.checked()))
            : styled("1;31", "The demo failed; data and logs are in " + folder));
  if (sound && how.keep) {
    if (auto paced = on.set_pace(reading_pace); !paced) say("failed", paced.error().detail);
    print_lines_to_try(on);
    keep_running(on);
  }
  on.close();
  if (sound) std::filesystem::remove_all(folder);
  return sound ? 0 : 1;
}

}  // namespace

}  // namespace callboard::demo

int main(int argc, char** argv) {
  callboard::demo::options how;
  for (int i = 1; i < argc; ++i) {
    const std::string_view word = argv[i];
    if (word == "--keep") {
      how.keep = true;
    } else if (word == "--program" && i + 1 < argc) {
      how.where.program = argv[++i];
    } else if (word == "--scripts" && i + 1 < argc) {
      how.where.scripts = argv[++i];
    } else if (word == "--sessions" && i + 1 < argc) {
      const std::string_view number = argv[++i];
      std::from_chars(number.data(), number.data() + number.size(), how.spike.sessions);
    } else {
      fmt::print(
          stderr,
          "usage: callboard_demo [--program PATH] [--scripts FOLDER] [--sessions N] [--keep]\n");
      return 2;
    }
  }
  // Blocked here so that every thread leaves them to `keep_running`; without --keep the
  // default applies.
  if (how.keep) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &set, nullptr);
  }
  return callboard::demo::run(how);
}
