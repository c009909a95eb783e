#include "tests/model/client_fixture.hpp"

#include "tests/support/catch.hpp"
#include "tests/support/certificate.hpp"

namespace callboard::testing {

void heard::attempt(std::uint32_t number) {
  const std::lock_guard guard{mutex_};
  if (!outcomes_.empty()) disorder_ = "an attempt after the end";
  if (number != attempts_.size() + 1) disorder_ = "an attempt out of order";
  attempts_.push_back(number);
}

void heard::said(std::uint32_t attempt, std::uint64_t index, std::string_view text) {
  const std::lock_guard guard{mutex_};
  if (!outcomes_.empty()) disorder_ = "a delta after the end";
  if (attempts_.empty() || attempt != attempts_.back()) disorder_ = "a delta of another attempt";
  const bool first = deltas_.empty() || deltas_.back().attempt != attempt;
  if (index != (first ? 0 : deltas_.back().index + 1)) disorder_ = "a delta out of order";
  deltas_.push_back({attempt, index, std::string{text}});
}

void heard::pause(const model::failure& why, boot_time next) {
  const std::lock_guard guard{mutex_};
  pauses_.emplace_back(why, next);
}

std::vector<std::pair<model::failure, boot_time>> heard::pauses() const {
  const std::lock_guard guard{mutex_};
  return pauses_;
}

void heard::done(model::chat_outcome outcome) {
  const std::lock_guard guard{mutex_};
  if (!outcomes_.empty()) disorder_ = "two ends";
  outcomes_.push_back(std::move(outcome));
  ended_.notify_all();
}

model::chat_outcome heard::outcome() {
  std::unique_lock lock{mutex_};
  const bool ended =
      ended_.wait_for(lock, std::chrono::seconds{60}, [this] { return !outcomes_.empty(); });
  REQUIRE(ended);
  CHECK(disorder_.empty());
  return outcomes_.front();
}

bool heard::is_done() const {
  const std::lock_guard guard{mutex_};
  return !outcomes_.empty();
}

std::vector<std::uint32_t> heard::attempts() const {
  const std::lock_guard guard{mutex_};
  return attempts_;
}

std::vector<heard::delta> heard::deltas() const {
  const std::lock_guard guard{mutex_};
  return deltas_;
}

std::string heard::text() const {
  const std::lock_guard guard{mutex_};
  std::string out;
  for (const auto& one : deltas_) {
    if (one.attempt == attempts_.back()) out += one.text;
  }
  return out;
}

std::string heard::disorder() const {
  const std::lock_guard guard{mutex_};
  return disorder_;
}

model::provider_settings settings_for(const chat_provider& at, std::string name) {
  model::provider_settings out;
  out.name = std::move(name);
  out.base_url = at.base_url();
  out.default_model = "test-model";
  out.proxy = model::proxy_use::none;
  // Most tests have one tenant.
  out.tenant_queue_percent = 100;
  out.retry.backoff_base = std::chrono::milliseconds{2};
  out.retry.backoff_max = std::chrono::milliseconds{10};
  return out;
}

asking::asking(std::vector<model::provider_settings> providers, const clock* time) {
  model::client_settings settings;
  settings.providers = std::move(providers);
  auto opened = model::chat_client::open(
      settings,
      {.time = time == nullptr ? machine_ : *time, .counters = counters_, .random = [this] {
         random_ = random_ * 6364136223846793005ULL + 1442695040888963407ULL;
         return random_ >> 20U;
       }});
  REQUIRE(opened.has_value());
  client_ = std::move(*opened);
}

result<model::call_id>
asking::start(const model::chat_request& request, const std::shared_ptr<heard>& told) {
  return client_->start(
      request,
      {.on_attempt = [told](std::uint32_t number) { told->attempt(number); },
       .on_delta =
           [told](std::uint32_t attempt, std::uint64_t index, std::string_view text) {
             told->said(attempt, index, text);
           },
       .on_done = [told](model::chat_outcome outcome) { told->done(std::move(outcome)); },
       .on_pause =
           [told](std::uint32_t, const model::failure& why, boot_time next) {
             told->pause(why, next);
           }});
}

std::shared_ptr<heard> asking::ask(const model::chat_request& request) {
  auto told = std::make_shared<heard>();
  REQUIRE(start(request, told).has_value());
  return told;
}

model::chat_outcome asking::answer(const model::chat_request& request) {
  return ask(request)->outcome();
}

model::chat_request question(std::string_view text, bool stream) {
  model::chat_request out;
  out.messages = {{{"role", "user"}, {"content", boost::json::string_view{text}}}};
  out.stream = stream;
  return out;
}

chat_reply limited(std::string header, std::string value) {
  return error_reply(
      429, "rate_limit_exceeded", "slow down", {{std::move(header), std::move(value)}});
}

chat_provider_options make_certificate(const temp_dir& folder) {
  const chat_provider_options out{folder.str() + "/cert.pem", folder.str() + "/key.pem"};
  make_certificate(out.certificate_file, out.key_file);
  return out;
}

}  // namespace callboard::testing
