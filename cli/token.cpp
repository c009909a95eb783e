// callboard token issue
#include "base/clock.hpp"
#include "base/config.hpp"
#include "cli/client/raw_json.hpp"
#include "cli/families.hpp"
#include "cli/number_range.hpp"
#include "gateway/auth.hpp"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <memory>
#include <ostream>

namespace callboard::cli {

namespace {

struct token_options {
  std::string config_file;
  std::string secret_file;
  std::string private_key_file;
  std::string subject = "callboard-cli";
  std::vector<std::string> publish;
  std::vector<std::string> subscribe;
  std::vector<std::string> work;
  bool admin = false;
  bool is_without_repair = false;
  std::uint32_t lifetime_s = 3600;
};

exit_code issue(const context& run, const token_options& o) {
  config settings;
  if (!o.config_file.empty()) {
    auto loaded = load_config(o.config_file);
    if (!loaded) return run.misuse(loaded.error().detail);
    settings = std::move(*loaded);
  }
  if (!o.secret_file.empty()) {
    settings.auth.hs256_secret_file = o.secret_file;
    settings.auth.ed25519_private_key_file.clear();
  }
  if (!o.private_key_file.empty()) settings.auth.ed25519_private_key_file = o.private_key_file;
  auto tenant = tenant_name::parse(run.tenant);
  if (!tenant) return run.misuse(tenant.error().detail);
  const gateway::token_claims claims{
      .subject = o.subject,
      .tenant = std::move(*tenant),
      .publish = o.publish,
      .subscribe = o.subscribe,
      .work = o.work,
      .admin = o.admin,
      .repair = !o.is_without_repair,
      .lifetime = std::chrono::seconds{o.lifetime_s}};
  auto token = gateway::issue_token(settings.auth, claims, system_clock{}.wall());
  if (!token) return run.misuse(token.error().detail);
  if (run.wants_json()) {
    run.io.out << fmt::format(R"({{"token":{}}})", client::json_quoted(*token)) << '\n';
  } else {
    run.io.out << *token << '\n';
  }
  return exit_code::done;
}

}  // namespace

void add_token(CLI::App& app, context& run) {
  auto& family =
      add_family(app, "token", "access tokens", "callboard token issue --secret-file secret");
  auto o = std::make_shared<token_options>();
  auto& command = add_command(
      family,
      run,
      "issue",
      "sign a token for --tenant with a configured key; prints it",
      "callboard token issue --tenant acme --subject web --subscribe 'orders.>' --secret-file "
      "secret",
      [&run, o] { return issue(run, *o); });
  command.add_option("--config", o->config_file, "settings file that names the key")
      ->type_name("FILE");
  command.add_option("--secret-file", o->secret_file, "shared secret for HS256")->type_name("FILE");
  command.add_option("--private-key-file", o->private_key_file, "Ed25519 key (PEM) for EdDSA")
      ->type_name("FILE");
  command.add_option("--subject", o->subject, "who the token is for")->capture_default_str();
  const auto add_patterns = [&](const std::string& name, std::vector<std::string>& into) {
    command.add_option("--" + name, into, "topic or pattern it may " + name + "; may be repeated")
        ->type_name("PATTERN")
        ->allow_extra_args(false);
  };
  add_patterns("publish", o->publish);
  add_patterns("subscribe", o->subscribe);
  command.add_option("--work", o->work, "queue it may work on; may be repeated")
      ->type_name("QUEUE")
      ->allow_extra_args(false);
  command.add_flag("--admin", o->admin, "may administer the node");
  command.add_flag(
      "--no-repair",
      o->is_without_repair,
      "may signal workflows that it may publish to, but neither terminate nor repair them");
  command.add_option("--lifetime", o->lifetime_s, "seconds until it expires")
      ->check(at_least_one)
      ->capture_default_str();
}

}  // namespace callboard::cli
