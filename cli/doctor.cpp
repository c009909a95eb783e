// callboard doctor
#include "base/clock.hpp"
#include "cli/client/raw_json.hpp"
#include "cli/families.hpp"
#include "cli/output.hpp"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <charconv>
#include <cstdlib>
#include <ctime>
#include <optional>
#include <ostream>
#include <sys/resource.h>
#include <vector>

#ifndef CALLBOARD_VERSION
#  define CALLBOARD_VERSION "0.0.0"
#endif

namespace callboard::cli {

namespace {

enum class verdict { ok, warning, failed };

struct finding {
  std::string check;
  verdict how = verdict::ok;
  std::string detail;
};

std::string_view shown(verdict how) {
  switch (how) {
  case verdict::ok:
    return "ok";
  case verdict::warning:
    return "warning";
  case verdict::failed:
    return "failed";
  }
  return "failed";
}

result<client::http_response> get(client::api& api, std::string target) {
  client::http_request request;
  request.target = std::move(target);
  request.timeout = std::chrono::seconds{5};
  return api.call(std::move(request));
}

finding check_alive(const result<client::http_response>& alive, std::int64_t took_us) {
  if (alive) return {"reachable", verdict::ok, fmt::format("/livez in {} us", took_us)};
  return {"reachable", verdict::failed, alive.error().detail};
}

finding check_ready(client::api& api) {
  auto ready = get(api, "/readyz");
  if (ready) return {"ready", verdict::ok, "takes traffic"};
  return {"ready", verdict::failed, ready.error().detail};
}

/// Seconds since 1970 of an HTTP date ("Wed, 25 Nov 2026 04:22:30 GMT").
std::optional<std::int64_t> http_date(std::string_view text) {
  std::tm parts{};
  const std::string copy{text};
  if (::strptime(copy.c_str(), "%a, %d %b %Y %H:%M:%S", &parts) == nullptr) return std::nullopt;
  return ::timegm(&parts);
}

finding check_clock(const client::http_response& alive) {
  const auto server = http_date(alive.header("date"));
  if (!server) return {"clock", verdict::warning, "the server sends no Date header"};
  const auto here =
      std::chrono::floor<std::chrono::seconds>(system_clock{}.wall()).time_since_epoch().count();
  const auto skew = *server - here;
  // Tokens are accepted with a leeway of 30 s; the header has whole seconds.
  const bool is_far = skew > 5 || skew < -5;
  return {
      "clock",
      is_far ? verdict::warning : verdict::ok,
      fmt::format("the server's clock differs by {} s", skew)};
}

std::uint64_t number_at(std::string_view object, std::string_view path) {
  const auto text = shown_at(object, path);
  std::uint64_t value = 0;
  std::from_chars(text.data(), text.data() + text.size(), value);
  return value;
}

void check_nodes(client::api& api, std::vector<finding>& findings) {
  auto cluster = get(api, "/v1/cluster");
  if (!cluster) {
    findings.push_back({"nodes", verdict::warning, cluster.error().detail});
    return;
  }
  const auto members = client::json_members(cluster->body);
  const auto nodes =
      members ? client::json_elements(client::find_member(*members, "nodes")) : std::nullopt;
  if (!nodes) {
    findings.push_back({"nodes", verdict::warning, "/v1/cluster has no list of nodes"});
    return;
  }
  for (const auto node : *nodes) {
    const auto id = shown_at(node, "id");
    const bool soft = shown_at(node, "below_soft") == "true";
    const bool hard = shown_at(node, "below_hard") == "true";
    findings.push_back(
        {"disk of " + id,
         hard ? verdict::failed : (soft ? verdict::warning : verdict::ok),
         fmt::format(
             "{} free, journal {}",
             shown_bytes(number_at(node, "disk_free_bytes")),
             shown_bytes(number_at(node, "log_bytes")))});
    const auto quarantined = number_at(node, "quarantined");
    findings.push_back(
        {"shards of " + id,
         quarantined == 0 ? verdict::ok : verdict::failed,
         fmt::format("{} of {} quarantined", quarantined, number_at(node, "shards"))});
    const auto version = shown_at(node, "version");
    if (version == "-") continue;
    findings.push_back(
        {"version of " + id,
         version == CALLBOARD_VERSION ? verdict::ok : verdict::warning,
         fmt::format("{}; this program {}", version, CALLBOARD_VERSION)});
  }
}

finding check_file_limit() {
  rlimit limit{};
  ::getrlimit(RLIMIT_NOFILE, &limit);
  // limits.connections_max by default, and what the store keeps open.
  constexpr rlim_t wanted = 20'000 + 2'000;
  return {
      "open files here",
      limit.rlim_max < wanted ? verdict::warning : verdict::ok,
      fmt::format(
          "soft {}, hard {}; a node with 20,000 connections needs {}",
          limit.rlim_cur,
          limit.rlim_max,
          wanted)};
}

void print(const context& run, const std::vector<finding>& findings) {
  if (run.wants_json()) {
    std::string all;
    for (const auto& f : findings) {
      if (!all.empty()) all += ',';
      all += fmt::format(
          R"({{"check":{},"result":"{}","detail":{}}})",
          client::json_quoted(f.check),
          shown(f.how),
          client::json_quoted(f.detail));
    }
    run.io.out << R"({"checks":[)" << all << "]}\n";
    return;
  }
  table rows{{"CHECK", "RESULT", "DETAIL"}};
  for (const auto& f : findings)
    rows.add({f.check, std::string{shown(f.how)}, f.detail});
  run.io.out << rows.render();
}

exit_code examine(const context& run) {
  auto who = run.account();
  if (!who) return run.misuse(who.error().detail);
  client::api api{std::move(*who)};
  std::vector<finding> findings;
  findings.push_back({"this program", verdict::ok, "callboard " CALLBOARD_VERSION});
  findings.push_back(check_file_limit());
  const auto began = system_clock{}.boot();
  auto alive = get(api, "/livez");
  const auto took =
      std::chrono::duration_cast<std::chrono::microseconds>(system_clock{}.boot() - began);
  findings.push_back(check_alive(alive, took.count()));
  if (alive) {
    findings.push_back(check_ready(api));
    findings.push_back(check_clock(*alive));
    auto topics = get(api, api.tenant_path("/topics?limit=1"));
    findings.push_back(
        {"tenant " + run.tenant,
         topics ? verdict::ok : verdict::failed,
         topics ? "topics can be listed" : topics.error().detail});
    check_nodes(api, findings);
  }
  print(run, findings);
  if (!alive && alive.error().code == errc::unreachable) return exit_code::unreachable;
  for (const auto& f : findings) {
    if (f.how == verdict::failed) return exit_code::refused;
  }
  return exit_code::done;
}

}  // namespace

void add_doctor(CLI::App& app, context& run) {
  add_command(
      app,
      run,
      "doctor",
      "check the server, this machine and what lies between",
      "callboard doctor --server https://callboard.example:8700",
      [&run] { return examine(run); });
}

}  // namespace callboard::cli
