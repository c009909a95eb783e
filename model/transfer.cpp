#include "model/transfer.hpp"

#include <fmt/format.h>

#include <cstdlib>
#include <new>
#include <utility>

namespace callboard::model {

namespace {

/// How long a connection may take to end after `[DONE]`; then it is closed instead of kept.
constexpr std::chrono::milliseconds end_grace{500};

/// How long the body of a refusal may take, after its head has said the most.
constexpr std::chrono::seconds refusal_grace{5};

template <class Value>
void set(CURL* handle, CURLoption option, Value value) {
  // Options and their types are fixed here: a refusal means that libcurl lacks a feature that the
  // packages have, or memory.
  if (curl_easy_setopt(handle, option, value) != CURLE_OK) std::abort();
}

bool is_event_stream(const response_head& head) {
  return lower(head.header("content-type")).starts_with("text/event-stream");
}

/// The machine's or the provider's set-up is wrong, which no retry mends.
bool is_tls_refusal(CURLcode code) {
  switch (code) {
  case CURLE_PEER_FAILED_VERIFICATION:
  case CURLE_SSL_CERTPROBLEM:
  case CURLE_SSL_CIPHER:
  case CURLE_SSL_CACERT_BADFILE:
  case CURLE_SSL_ISSUER_ERROR:
  case CURLE_URL_MALFORMAT:
    return true;
  default:
    return false;
  }
}

/// What the proxy answered to CONNECT, if it was a refusal; 0 = it was none, or there is no proxy.
long proxy_refusal(CURL* handle) {
  long status = 0;
  curl_easy_getinfo(handle, CURLINFO_HTTP_CONNECTCODE, &status);
  return status >= 200 && status < 300 ? 0 : status;
}

/// Missing credentials, or a place that is not allowed. What may pass is told by 408, 429 and 5xx.
bool is_final_for_proxy(long status) {
  return status >= 400 && status < 500 && status != 408 && status != 429;
}

}  // namespace

transfer::transfer(
    const provider_settings& settings,
    const std::string& key,
    transfer_request request,
    const clock& time,
    transfer_listener listener)
    : settings_{settings},
      key_{key},
      request_{std::move(request)},
      clock_{time},
      listener_{std::move(listener)},
      head_{settings.limits.header_bytes_max},
      began_{time.boot()},
      handle_{curl_easy_init()} {
  if (handle_ == nullptr) throw std::bad_alloc{};
  set_options();
}

void transfer::set_options() {
  auto* const h = handle_.get();
  set(h, CURLOPT_URL, request_.url.c_str());
  set(h, CURLOPT_PROTOCOLS_STR, "http,https");
  // A redirect would carry the key elsewhere.
  set(h, CURLOPT_FOLLOWLOCATION, 0L);
  set(h, CURLOPT_NOSIGNAL, 1L);
  // A cancelled call does not wait for a name that is being looked up.
  set(h, CURLOPT_QUICK_EXIT, 1L);
  set(h, CURLOPT_HTTP_VERSION, static_cast<long>(CURL_HTTP_VERSION_2TLS));
  // A second request waits until it is known whether it can share a connection (HTTP/2). Over plain
  // HTTP that would be known only from the first answer.
  set(h, CURLOPT_PIPEWAIT, request_.url.starts_with("https:") ? 1L : 0L);
  set(h, CURLOPT_TCP_KEEPALIVE, 1L);
  set(h, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
  set(h, CURLOPT_CONNECTTIMEOUT_MS, static_cast<long>(settings_.timeouts.connect.count()));
  if (settings_.proxy == proxy_use::none) set(h, CURLOPT_PROXY, "");
  if (!settings_.ca_file.empty()) set(h, CURLOPT_CAINFO, settings_.ca_file.c_str());

  headers_.add("Content-Type: application/json");
  headers_.add(request_.stream ? "Accept: text/event-stream" : "Accept: application/json");
  headers_.add("User-Agent: callboard");
  // libcurl would wait a second for 100 Continue before a large body.
  headers_.add("Expect:");
  if (!key_.empty()) headers_.add("Authorization: Bearer " + key_);
  if (!request_.idempotency_key.empty()) {
    headers_.add("Idempotency-Key: " + request_.idempotency_key);
  }
  set(h, CURLOPT_HTTPHEADER, headers_.get());
  set(h, CURLOPT_POST, 1L);
  set(h, CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(request_.body.size()));
  set(h, CURLOPT_POSTFIELDS, request_.body.c_str());
  set(h, CURLOPT_HEADERFUNCTION, &transfer::on_header);
  set(h, CURLOPT_HEADERDATA, this);
  set(h, CURLOPT_WRITEFUNCTION, &transfer::on_body);
  set(h, CURLOPT_WRITEDATA, this);
}

std::size_t transfer::on_header(char* data, std::size_t size, std::size_t count, void* self) {
  auto& me = *static_cast<transfer*>(self);
  const std::string_view line{data, size * count};
  if (me.head_.add_line(line)) {
    const bool is_end = line == "\r\n" || line == "\n";
    if (is_end && me.is_refusal() && !me.refused_) {
      me.refused_ = me.clock_.boot();
      me.listener_.on_sooner();
    }
    return line.size();
  }
  if (me.is_refusal()) return 0;
  me.failure_ = permanent_failure(
      errc::too_large,
      failure_scope::provider,
      fmt::format("the headers are above {} B", me.settings_.limits.header_bytes_max));
  return 0;
}

std::size_t transfer::on_body(char* data, std::size_t size, std::size_t count, void* self) {
  return static_cast<transfer*>(self)->receive({data, size * count}) ? size * count : 0;
}

bool transfer::receive(std::string_view bytes) {
  last_byte_ = clock_.boot();
  if (!std::exchange(has_body_, true)) {
    const bool good = head_.status() >= 200 && head_.status() < 300;
    if (good && is_event_stream(head_)) stream_.emplace(settings_.limits, key_);
    listener_.on_sooner();
  }
  if (stream_) return receive_text(bytes);
  const auto room = settings_.limits.body_bytes_max - body_.size();
  if (bytes.size() > room) {
    if (is_refusal()) {
      body_.append(bytes.substr(0, room));
      return false;
    }
    failure_ = permanent_failure(
        errc::too_large,
        failure_scope::request,
        fmt::format("the answer is above {} B", settings_.limits.body_bytes_max));
    return false;
  }
  body_.append(bytes);
  return true;
}

bool transfer::receive_text(std::string_view bytes) {
  if (stream_->done()) return true;
  const auto text = stream_->feed(bytes);
  if (!text) {
    failure_ = text.error();
    return false;
  }
  if (!text->empty()) listener_.on_text(*text);
  if (stream_->done()) listener_.on_sooner();
  return true;
}

boot_time transfer::due() const {
  if (refused_) return *refused_ + refusal_grace;
  if (!has_body_) return began_ + settings_.timeouts.first_byte;
  return last_byte_ + (whole() ? end_grace : settings_.timeouts.idle);
}

failure transfer::timed_out() const {
  const auto& limits = settings_.timeouts;
  return retryable_failure(
      errc::timeout,
      has_body_ ? fmt::format("nothing more came for {} ms", limits.idle.count())
                : fmt::format("no answer within {} ms", limits.first_byte.count()));
}

failure transfer::network_failure(CURLcode code) const {
  const std::string what = curl_easy_strerror(code);
  if (code == CURLE_OPERATION_TIMEDOUT) {
    return retryable_failure(
        errc::timeout,
        fmt::format("no connection within {} ms", settings_.timeouts.connect.count()));
  }
  if (is_tls_refusal(code)) {
    return permanent_failure(errc::unreachable, failure_scope::provider, what);
  }
  if (const auto status = proxy_refusal(handle_.get()); status != 0) {
    auto refused = fmt::format("the proxy makes no connection: status {}", status);
    return is_final_for_proxy(status)
               ? permanent_failure(errc::unreachable, failure_scope::provider, std::move(refused))
               : retryable_failure(errc::unreachable, std::move(refused));
  }
  return retryable_failure(errc::unreachable, has_body_ ? "the answer was cut: " + what : what);
}

chat_outcome transfer::finish(CURLcode code) {
  if (failure_) return std::unexpected{std::move(*failure_)};
  if (whole()) return stream_->finish();
  const int status = head_.status();
  const bool good = status >= 200 && status < 300;
  if (is_refusal() || (!good && code == CURLE_OK)) {
    return std::unexpected{classify_response(head_, body_, clock_.wall(), key_)};
  }
  if (code != CURLE_OK) {
    auto out = network_failure(code);
    out.status = status;
    return std::unexpected{std::move(out)};
  }
  if (stream_) return stream_->finish();
  auto answer = parse_answer(body_, settings_.limits, key_);
  // A server that does not stream answers a request for a stream at once.
  if (answer && request_.stream && !answer->text.empty()) listener_.on_text(answer->text);
  return answer;
}

}  // namespace callboard::model
