// One HTTP exchange with a provider through libcurl.
#pragma once

#include "base/clock.hpp"
#include "model/answer_stream.hpp"
#include "model/curl_handles.hpp"
#include "model/response_head.hpp"

#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace callboard::model {

struct transfer_request {
  std::string url;
  std::string body;
  std::string idempotency_key;
  bool stream = false;
};

/// Called while libcurl moves the transfer.
struct transfer_listener {
  /// Text as it comes.
  std::function<void(std::string_view)> on_text;
  /// `due` may be sooner than before. (It also moves on with every byte; that is not told.)
  std::function<void()> on_sooner;
};

/// Owned by the client's thread. Must be taken out of its multi handle before it is destroyed.
class transfer {
public:
  /// `settings` and `key` outlive the transfer.
  transfer(
      const provider_settings& settings,
      const std::string& key,
      transfer_request request,
      const clock& time,
      transfer_listener listener);

  transfer(const transfer&) = delete;
  transfer& operator=(const transfer&) = delete;

  [[nodiscard]] CURL* handle() const { return handle_.get(); }

  /// When it has to have moved on; after that `timed_out` says what is late.
  [[nodiscard]] boot_time due() const;

  /// True once `[DONE]` came: the answer is whole, whatever becomes of the connection.
  [[nodiscard]] bool whole() const { return stream_ && stream_->done(); }

  /// True once it is known what came of it: the answer is whole, or its head is a refusal.
  [[nodiscard]] bool decided() const { return whole() || is_refusal(); }

  [[nodiscard]] failure timed_out() const;

  /// What came of it, after libcurl ended it with `code` or `due` has passed though it is
  /// `decided`.
  [[nodiscard]] chat_outcome finish(CURLcode code);

private:
  static std::size_t on_header(char* data, std::size_t size, std::size_t count, void* self);
  static std::size_t on_body(char* data, std::size_t size, std::size_t count, void* self);

  void set_options();

  /// Ended by its status, whatever becomes of the rest of it.
  [[nodiscard]] bool is_refusal() const { return head_.status() >= 300; }

  [[nodiscard]] bool receive(std::string_view bytes);
  [[nodiscard]] bool receive_text(std::string_view bytes);
  [[nodiscard]] failure network_failure(CURLcode code) const;

  const provider_settings& settings_;
  const std::string& key_;
  transfer_request request_;
  const clock& clock_;
  transfer_listener listener_;

  response_head head_;
  std::string body_;
  std::optional<answer_stream> stream_;
  std::optional<failure> failure_;
  boot_time began_;
  boot_time last_byte_{};
  /// When the head of a refusal was there.
  std::optional<boot_time> refused_;
  bool has_body_ = false;

  header_lines headers_;
  easy_handle handle_;
};

}  // namespace callboard::model
