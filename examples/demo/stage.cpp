#include "examples/demo/stage.hpp"

#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>

#include <charconv>
#include <sstream>

#include "examples/demo/json_members.hpp"

namespace callboard::demo {

namespace {

namespace json = boost::json;
using std::chrono::steady_clock;

/// Threads of the worker for each tenant.
constexpr auto worker_threads = "2";
/// Calls to the model at once; a real provider allows some hundreds.
constexpr auto model_concurrency = "128";

result<json::object> object_in(const std::string& body) {
  boost::system::error_code failed;
  auto value = json::parse(body.empty() ? "{}" : body, failed);
  if (failed || !value.is_object()) return fail(errc::bad_request, "no JSON object: " + body);
  return std::move(value.as_object());
}

result<json::object> object_from(const result<std::string>& answer) {
  if (!answer) return std::unexpected{answer.error()};
  return object_in(*answer);
}

}  // namespace

std::string
ticket_start(std::string_view id, std::string_view customer, std::string_view question) {
  return json::serialize(json::object{
      {"type", "support"},
      {"id", id},
      {"input", json::object{{"customer", customer}, {"question", question}}}});
}

stage::stage(stage_options options)
    : options_{std::move(options)},
      node_{{}, options_.folder + "/node.out"},
      provider_{{}, options_.folder + "/provider.out"},
      worker_{{}, options_.folder + "/worker.out"},
      page_{{}, options_.folder + "/page.out"} {
  where_.port = 0;
}

std::vector<std::string> stage::node_words() const {
  std::vector<std::string> words{
      options_.program, "dev", "--data", options_.folder + "/data", "--listen", where_.authority()};
  for (const auto& setting :
       {std::string{"log.level=warn"},
        std::string{"models.order=test"},
        std::string{"models.test.default_model=test"},
        std::string{"models.test.use_proxy=false"},
        std::string{"models.test.concurrency_start="} + model_concurrency,
        std::string{"models.test.concurrency_max="} + model_concurrency,
        "models.test.base_url=" + provider_at_.url() + "/v1",
        "listen.allowed_origins=http://127.0.0.1:" + std::to_string(page_port_)}) {
    words.insert(words.end(), {"--set", setting});
  }
  return words;
}

result<void> stage::open() {
  provider_.set_words({"python3", options_.scripts + "/provider.py", "--port", "0"});
  auto provider = provider_.start("ready ");
  if (!provider) return std::unexpected{provider.error()};
  auto at = client::endpoint::parse(*provider);
  if (!at) return std::unexpected{at.error()};
  provider_at_ = *at;

  page_.set_words(
      {"python3",
       "-u",
       "-m",
       "http.server",
       "--bind",
       "127.0.0.1",
       "--directory",
       options_.scripts + "/page",
       "0"});
  auto page = page_.start("Serving HTTP on 127.0.0.1 port ");
  if (!page) return std::unexpected{page.error()};
  std::from_chars(page->data(), page->data() + page->size(), page_port_);

  if (auto node = start_node(); !node) return std::unexpected{node.error()};

  std::vector<std::string> worker{
      "python3",
      options_.scripts + "/worker.py",
      "--server",
      where_.url(),
      "--threads",
      worker_threads};
  for (const auto& tenant : options_.tenants)
    worker.insert(worker.end(), {"--tenant", tenant});
  worker_.set_words(std::move(worker));
  auto working = worker_.start("ready");
  if (!working) return std::unexpected{working.error()};
  return {};
}

void stage::close() {
  worker_.stop();
  page_.kill();
  node_.stop();
  provider_.kill();
}

result<std::chrono::milliseconds> stage::start_node() {
  const auto begin = steady_clock::now();
  node_.set_words(node_words());
  auto ready = node_.start("ready ");
  if (!ready) return std::unexpected{ready.error()};
  auto where = client::endpoint::parse(*ready);
  if (!where) return std::unexpected{where.error()};
  where_ = *where;
  return std::chrono::duration_cast<std::chrono::milliseconds>(steady_clock::now() - begin);
}

client::account stage::account_of(const std::string& tenant) const {
  return {.server = where_, .tenant = tenant, .token = {}};
}

result<json::object>
stage::call(const std::string& tenant, const std::string& path, const std::string& body) const {
  client::api api{account_of(tenant)};
  return object_from(api.call(body.empty() ? "GET" : "POST", api.tenant_path(path), body));
}

result<json::object> stage::ask_provider(const std::string& path, const std::string& body) const {
  client::api api{{.server = provider_at_, .tenant = {}, .token = {}}};
  return object_from(api.call(body.empty() ? "GET" : "POST", path, body));
}

result<void> stage::set_pace(std::chrono::milliseconds between_words) const {
  auto answer =
      ask_provider("/pace", json::serialize(json::object{{"token_ms", between_words.count()}}));
  if (!answer) return std::unexpected{answer.error()};
  return {};
}

result<std::vector<key_count>> stage::provider_counts() const {
  const auto counts = ask_provider("/counts");
  if (!counts) return std::unexpected{counts.error()};
  std::vector<key_count> keys;
  for (const auto& one : counts->at("keys").as_array()) {
    const auto& entry = one.as_object();
    keys.push_back(
        {.key = text_of(entry, "key"),
         .kind = text_of(entry, "kind"),
         .user = text_of(entry, "user"),
         .requests = number_of(entry, "requests"),
         .whole = number_of(entry, "whole"),
         .cut = number_of(entry, "cut")});
  }
  return keys;
}

std::map<std::string, std::uint64_t> stage::worker_counts() const {
  std::map<std::string, std::uint64_t> counts;
  std::istringstream lines{worker_.printed()};
  for (std::string line; std::getline(lines, line);) {
    if (!line.starts_with('{')) continue;
    if (const auto told = object_in(line)) {
      ++counts[text_of(*told, "tenant") + "/" + text_of(*told, "ticket")];
    }
  }
  return counts;
}

std::string stage::page_url() const {
  std::string names;
  for (const auto& tenant : options_.tenants)
    names += (names.empty() ? "" : ",") + tenant;
  return "http://127.0.0.1:" + std::to_string(page_port_) + "/?server=" + where_.url()
         + "&tenants=" + names;
}

}  // namespace callboard::demo
