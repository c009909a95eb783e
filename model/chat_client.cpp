#include "model/chat_client.hpp"

#include "base/log.hpp"
#include "base/time.hpp"
#include "model/call.hpp"
#include "model/dispatcher.hpp"
#include "model/provider.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <utility>

namespace callboard::model {

namespace {

/// libcurl's own state, once for the process.
bool curl_is_ready() {
  static const bool ready = curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK;
  return ready;
}

}  // namespace

/// What is shared between the threads that call and the one that works.
class chat_client::core {
public:
  core(dispatcher::provider_list providers, client_parts parts, std::uint64_t request_bytes_max)
      : providers_{std::move(providers)},
        clock_{parts.time},
        request_bytes_max_{request_bytes_max},
        work_{providers_, std::move(parts)},
        thread_{[this] { run(); }} {}

  ~core() { stop(); }

  core(const core&) = delete;
  core& operator=(const core&) = delete;

  /// Whom to ask first, and for what.
  struct addressee {
    provider* at = nullptr;
    std::string model;
  };

  [[nodiscard]] result<addressee>
  find(const std::string& provider_name, const std::string& model) const;

  [[nodiscard]] result<call_id> start(const chat_request& request, chat_callbacks callbacks);

  void cancel(call_id id) {
    {
      const std::lock_guard guard{mutex_};
      if (stopping_) return;
      cancels_.push_back(id);
    }
    work_.wake();
  }

  void stop() {
    end_when_cancelled();
    join();
  }

  [[nodiscard]] bool stop_within(std::chrono::milliseconds patience) {
    end_when_cancelled();
    {
      std::unique_lock lock{mutex_};
      if (!ended_.wait_for(lock, patience, [this] { return has_ended_; })) return false;
    }
    join();
    return true;
  }

  [[nodiscard]] std::vector<provider_stats> stats() const {
    std::vector<provider_stats> out;
    for (const auto& one : providers_)
      out.push_back(one->load->stats(one->name(), clock_.boot()));
    return out;
  }

private:
  [[nodiscard]] provider* named(std::string_view name) const {
    if (name.empty()) return providers_.front().get();
    const auto found = std::ranges::find(
        providers_, name, [](const auto& one) -> const auto& { return one->name(); });
    return found == providers_.end() ? nullptr : found->get();
  }

  void end_when_cancelled() {
    {
      const std::lock_guard guard{mutex_};
      stopping_ = true;
    }
    work_.wake();
  }

  void join() {
    const std::lock_guard guard{joining_};
    if (thread_.joinable()) thread_.join();
  }

  [[nodiscard]] result<call_id> enqueue(std::unique_ptr<call> one);
  void run();

  dispatcher::provider_list providers_;
  const clock& clock_;
  const std::uint64_t request_bytes_max_;

  std::mutex mutex_;
  std::vector<std::unique_ptr<call>> admitted_;
  std::vector<call_id> cancels_;
  call_id last_id_;
  bool stopping_ = false;
  bool has_ended_ = false;
  std::condition_variable ended_;

  dispatcher work_;
  std::mutex joining_;
  std::jthread thread_;
};

result<chat_client::core::addressee>
chat_client::core::find(const std::string& provider_name, const std::string& model) const {
  auto* const first = named(provider_name);
  if (first == nullptr) {
    return fail(errc::not_found, fmt::format("no model provider '{}'", provider_name));
  }
  addressee found{first, model.empty() ? first->settings.default_model : model};
  if (!found.model.empty()) return found;
  return fail(
      errc::not_found,
      fmt::format(
          "model provider '{}' has no default model: name one in the request, or set "
          "models.{}.default_model",
          first->name(),
          first->name()));
}

result<call_id> chat_client::core::start(const chat_request& request, chat_callbacks callbacks) {
  auto found = find(request.provider, request.model);
  if (!found) return std::unexpected{found.error()};
  auto* const first = found->at;
  auto body = make_shared_body(request);
  if (!body) return std::unexpected{body.error()};
  if (body->members.size() + found->model.size() > request_bytes_max_) {
    return fail(errc::too_large, fmt::format("the request is above {} B", request_bytes_max_));
  }
  auto one = std::make_unique<call>(
      call_id{}, std::move(callbacks), std::move(*body), first->settings.retry);
  one->tenant = request.tenant;
  one->model = std::move(found->model);
  one->idempotency_key = request.idempotency_key;
  one->chain.push_back(first);
  for (const auto& name : first->settings.fallbacks)
    one->chain.push_back(named(name));
  const auto given = request.timeout.count() > 0 ? request.timeout : first->settings.timeouts.total;
  one->began = clock_.boot();
  one->deadline = later(one->began, given);
  one->wait_max = request.wait_max;
  return enqueue(std::move(one));
}

result<call_id> chat_client::core::enqueue(std::unique_ptr<call> one) {
  call_id id;
  {
    const std::lock_guard guard{mutex_};
    if (stopping_) return fail(errc::draining, "model calls have stopped");
    auto& at = one->where();
    if (!at.waiting.enter(one->tenant, one->size())) {
      at.counters.refused.Increment();
      return fail(
          errc::overloaded,
          fmt::format(
              "the queue of model provider '{}', or the tenant's share of it, is full", at.name()),
          static_cast<std::uint32_t>(full_queue_pause.count()));
    }
    last_id_ = last_id_.next();
    one->id = id = last_id_;
    admitted_.push_back(std::move(one));
  }
  work_.wake();
  return id;
}

void chat_client::core::run() {
  while (true) {
    std::vector<std::unique_ptr<call>> admitted;
    std::vector<call_id> cancels;
    bool stopping = false;
    {
      const std::lock_guard guard{mutex_};
      admitted.swap(admitted_);
      cancels.swap(cancels_);
      stopping = stopping_;
    }
    for (auto& one : admitted)
      work_.admit(std::move(one));
    for (const auto id : cancels)
      work_.cancel(id);
    if (stopping) break;
    work_.turn();
    work_.wait();
  }
  work_.cancel_all();
  const std::lock_guard guard{mutex_};
  has_ended_ = true;
  ended_.notify_all();
}

chat_client::chat_client(std::unique_ptr<core> owned) : core_{std::move(owned)} {}

chat_client::~chat_client() = default;

result<std::unique_ptr<chat_client>>
chat_client::open(const client_settings& settings, client_parts parts) {
  if (auto sound = check(settings); !sound) return std::unexpected{sound.error()};
  if (!curl_is_ready()) return fail(errc::internal, "libcurl does not start");
  dispatcher::provider_list providers;
  for (const auto& one : settings.providers) {
    auto key = key_from_environment(one);
    if (!key) return std::unexpected{key.error()};
    providers.push_back(std::make_unique<provider>(one, std::move(*key), parts));
  }
  log::channel("model")->debug("asking {} providers", providers.size());
  return std::unique_ptr<chat_client>{new chat_client{
      std::make_unique<core>(std::move(providers), std::move(parts), settings.request_bytes_max)}};
}

result<call_id> chat_client::start(const chat_request& request, chat_callbacks callbacks) {
  return core_->start(request, std::move(callbacks));
}

result<void> chat_client::find(const std::string& provider, const std::string& model) const {
  const auto found = core_->find(provider, model);
  if (!found) return std::unexpected{found.error()};
  return {};
}

void chat_client::cancel(call_id id) {
  core_->cancel(id);
}

void chat_client::stop() {
  core_->stop();
}

bool chat_client::stop_within(std::chrono::milliseconds patience) {
  return core_->stop_within(patience);
}

std::vector<provider_stats> chat_client::stats() const {
  return core_->stats();
}

}  // namespace callboard::model
