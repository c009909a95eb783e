// A client whose provider is in this process, and what its callbacks say.
#pragma once

#include "model/chat_client.hpp"

#include "tests/support/chat_provider.hpp"
#include "tests/support/temp_dir.hpp"

#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

namespace callboard::testing {

/// What the callbacks of one call said. Any thread.
class heard {
public:
  struct delta {
    std::uint32_t attempt = 0;
    std::uint64_t index = 0;
    std::string text;
  };

  void attempt(std::uint32_t number);
  void said(std::uint32_t attempt, std::uint64_t index, std::string_view text);
  void pause(const model::failure& why, boot_time next);
  void done(model::chat_outcome outcome);

  /// Waits for the end; fails the test if none comes.
  [[nodiscard]] model::chat_outcome outcome();

  [[nodiscard]] bool is_done() const;
  [[nodiscard]] std::vector<std::uint32_t> attempts() const;
  [[nodiscard]] std::vector<delta> deltas() const;
  /// What it waited for between attempts: why, and until when.
  [[nodiscard]] std::vector<std::pair<model::failure, boot_time>> pauses() const;

  /// Text of the last attempt, as a listener has it.
  [[nodiscard]] std::string text() const;

  /// The same, before the end; empty if no attempt began.
  [[nodiscard]] std::string text_so_far() const {
    return attempts().empty() ? std::string{} : text();
  }

  /// Empty as long as the callbacks came in their order.
  [[nodiscard]] std::string disorder() const;

private:
  mutable std::mutex mutex_;
  std::condition_variable ended_;
  std::vector<std::uint32_t> attempts_;
  std::vector<delta> deltas_;
  std::vector<std::pair<model::failure, boot_time>> pauses_;
  std::vector<model::chat_outcome> outcomes_;
  std::string disorder_;
};

/// Settings for a provider in this process: fast retries, no proxy.
[[nodiscard]] model::provider_settings
settings_for(const chat_provider& at, std::string name = "test");

/// A client and its surroundings.
class asking {
public:
  explicit asking(std::vector<model::provider_settings> providers, const clock* time = nullptr);

  result<model::call_id>
  start(const model::chat_request& request, const std::shared_ptr<heard>& told);

  /// Starts a call that must be admitted.
  [[nodiscard]] std::shared_ptr<heard> ask(const model::chat_request& request);

  /// Asks and waits.
  [[nodiscard]] model::chat_outcome answer(const model::chat_request& request);

  [[nodiscard]] model::provider_stats stats() const { return client_->stats().front(); }

  [[nodiscard]] model::chat_client& client() { return *client_; }

  [[nodiscard]] std::string metrics_text() const { return counters_.expose(); }

private:
  callboard::system_clock machine_;
  metrics counters_;
  std::uint64_t random_ = 7;
  std::unique_ptr<model::chat_client> client_;
};

/// A certificate for "localhost" that signs itself, and its key, as PEM files.
[[nodiscard]] chat_provider_options make_certificate(const temp_dir& folder);

/// 429 with a header that says for how long.
[[nodiscard]] chat_reply limited(std::string header, std::string value);

/// One message of a user.
[[nodiscard]] model::chat_request question(std::string_view text, bool stream = true);

}  // namespace callboard::testing
