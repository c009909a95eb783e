// Every setting of a node, with its default. docs/configuration.md is printed from the same list.
#pragma once

#include "base/error.hpp"

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace callboard {

/// One node's settings. Plain values; the list with keys, bounds and meanings is in config.cpp.
/// Sizes are bytes, times are in the unit that the name ends in.
struct config {
  struct node_section {
    std::string id = "node-1";
    std::uint32_t worker_threads = 0;
    std::uint32_t io_threads = 0;
    std::uint32_t reader_threads = 2;
    std::uint64_t payload_bytes_max = 256ULL << 20;
    std::uint32_t drain_timeout_ms = 20'000;
  } node;

  struct listen_section {
    std::string address = "127.0.0.1";
    std::uint16_t port = 8700;
    std::string tls_certificate;
    std::string tls_key;
    bool allow_plaintext = false;
    std::vector<std::string> allowed_origins;
  } listen;

  struct storage_section {
    std::string data_dir = "callboard-data";
    std::uint32_t shard_count = 64;
    std::uint64_t journal_queue_bytes_max = 64ULL << 20;
    std::uint64_t group_commit_bytes_max = 8ULL << 20;
    std::uint64_t tail_cache_bytes_max = 64ULL << 20;
    std::uint64_t block_cache_bytes_max = 64ULL << 20;
    std::uint64_t disk_soft_bytes = 1ULL << 30;
    std::uint64_t disk_hard_bytes = 256ULL << 20;
    std::uint64_t ballast_bytes = 64ULL << 20;
    std::uint64_t spare_log_bytes = 72ULL << 20;
    std::uint32_t reader_queue_max = 10'000;
    std::uint32_t scrub_bytes_per_s = 8U << 20;
  } storage;

  struct topics_section {
    std::uint32_t events_in_flight_max = 4096;
    std::uint32_t shard_in_flight_max = 8192;
    std::uint32_t bulk_in_flight_max = 2048;
    std::uint32_t passivate_after_ms = 60'000;
    std::uint32_t dedupe_window_s = 120;
    std::uint32_t dedupe_cache_ids_max = 262'144;
    std::uint64_t retention_age_s = 0;
    std::uint64_t retention_bytes = 0;
    std::uint64_t retention_events = 0;
    std::uint32_t retention_check_ms = 5'000;
    std::uint32_t relay_credits = 64;
    std::uint32_t presence_lease_ms = 30'000;
    std::uint32_t presence_grace_ms = 15'000;
    std::uint32_t presence_members_max = 10'000;
    std::uint32_t awaited_max = 100'000;
  } topics;

  struct groups_section {
    std::uint32_t hold_ms = 30'000;
    std::uint32_t deliveries_max = 20;
    std::uint32_t in_flight_max = 1000;
    std::uint32_t ack_span_max = 100'000;
    std::uint32_t backoff_min_ms = 100;
    std::uint32_t backoff_max_ms = 60'000;
    std::uint32_t fetch_wait_ms_max = 25'000;
    std::uint32_t groups_per_topic_max = 1000;
    std::uint32_t bindings_per_topic_max = 64;
    std::uint32_t dead_letter_gaps_max = 10'000;
  } groups;

  struct queues_section {
    std::uint32_t queues_per_shard_max = 100'000;
    std::uint32_t enqueues_in_flight_max = 4096;
    std::uint32_t leases_max = 100'000;
    std::uint32_t waiters_max = 1000;
    std::uint32_t window_keys_max = 1000;
    std::uint32_t window_tasks_max = 10'000;
    std::uint32_t window_key_tasks_max = 1000;
    std::uint64_t window_payload_bytes_max = 4ULL << 20;
    std::uint32_t recent_keys_max = 65'536;
  } queues;

  struct workflows_section {
    std::uint64_t retention_s = 2'592'000;
    std::uint32_t sweep_ms = 60'000;
    std::uint64_t events_kept = 10'000;
    std::uint64_t agent_events_kept = 1000;
    std::uint32_t agent_messages = 100;
    std::uint64_t agent_history_bytes = 8ULL << 20;
    std::uint64_t events_held_max = 100'000;
    std::uint64_t input_bytes_max = 4ULL << 20;
    std::uint64_t result_bytes_max = 4ULL << 20;
    std::uint64_t arguments_bytes_max = 4ULL << 20;
    std::uint64_t signal_bytes_max = 1ULL << 20;
    std::uint64_t message_bytes_max = 4ULL << 20;
    std::uint64_t reply_bytes_max = 4ULL << 20;
    std::uint64_t unread_bytes_max = 16ULL << 20;
    std::uint64_t state_bytes_max = 256ULL << 10;
    std::uint32_t inputs_waiting_max = 256;
    std::uint32_t messages_waiting_max = 256;
    std::uint32_t result_waiters_max = 1000;
    std::uint32_t deferrals_max = 1000;
    std::uint32_t step_threads = 16;
    std::uint32_t steps_waiting_max = 100'000;
    std::uint32_t resident_max = 100'000;
    std::uint64_t resident_bytes_max = 512ULL << 20;
  } workflows;

  struct limits_section {
    std::uint64_t body_bytes_max = 4ULL << 20;
    std::uint32_t header_bytes_max = 16U << 10;
    std::uint64_t frame_bytes_max = 1ULL << 20;
    std::uint64_t inflated_bytes_max = 4ULL << 20;
    std::uint32_t event_bytes_max = 1U << 20;
    std::uint32_t batch_events_max = 1000;
    std::uint32_t requests_in_flight_max = 1024;
    std::uint32_t connections_max = 20'000;
    std::uint32_t subscriptions_max = 128;
    std::uint32_t pattern_topics_max = 1000;
    std::uint32_t output_frames_max = 1024;
    std::uint64_t output_bytes_max = 1ULL << 20;
    std::uint32_t handshake_timeout_ms = 10'000;
    std::uint32_t idle_timeout_ms = 60'000;
    std::uint32_t request_timeout_ms = 30'000;
    std::uint32_t ping_interval_ms = 25'000;
    std::uint32_t sse_comment_interval_ms = 15'000;
    std::uint32_t publishes_per_s = 0;
    std::uint32_t page_events_max = 1000;
    std::uint32_t dead_changes_max = 10'000;
    bool websocket_deflate = true;
  } limits;

  /// Whom `ctx.model` asks: the section [models.NAME]. Holds no key, only the name of the
  /// environment variable that does.
  struct model_provider {
    std::string name;
    std::string base_url;
    std::string default_model;
    std::string api_key_env;
    bool allow_plaintext = false;
    std::uint32_t connect_timeout_ms = 5'000;
    std::uint32_t first_byte_timeout_ms = 120'000;
    std::uint32_t idle_timeout_ms = 60'000;
    std::uint32_t total_timeout_ms = 600'000;
    std::uint32_t concurrency_min = 1;
    std::uint32_t concurrency_max = 64;
    std::uint32_t concurrency_start = 16;
    std::uint32_t attempts_max = 4;
    std::uint32_t backoff_min_ms = 500;
    std::uint32_t backoff_max_ms = 30'000;
    std::uint32_t fallback_wait_max_ms = 15'000;
    std::uint32_t hold_max_ms = 300'000;
    std::uint32_t queue_max = 10'000;
    std::uint64_t queue_bytes_max = 64ULL << 20;
    std::uint32_t tenant_queue_percent = 50;
    std::uint64_t text_bytes_max = 1ULL << 20;
    std::uint64_t body_bytes_max = 8ULL << 20;
    std::uint64_t event_bytes_max = 1ULL << 20;
    std::uint64_t stream_bytes_max = 256ULL << 20;
    std::uint32_t tool_calls_max = 128;
    std::uint32_t header_bytes_max = 64U << 10;
    bool stream_usage = true;
    std::string max_tokens_member = "max_tokens";
    bool use_proxy = true;
    std::string ca_file;
  };

  struct models_section {
    std::vector<std::string> order;
    std::uint64_t request_bytes_max = 4ULL << 20;
    /// Sorted by name.
    std::vector<model_provider> providers;
  } models;

  struct auth_section {
    bool required = true;
    std::string hs256_secret_file;
    std::string ed25519_public_key_file;
    std::string ed25519_private_key_file;
    std::string issuer;
    std::string audience;
    std::uint32_t leeway_s = 30;
  } auth;

  struct log_section {
    std::string level = "info";
    std::string format = "text";
  } log;
};

/// How a setting is shown by `config check` and in docs/configuration.md.
struct setting_info {
  std::string key;
  std::string value;
  std::string default_value;
  std::string meaning;
};

/// Reads a TOML file over `base`. Errors: io_error, invalid_setting with file, line and key;
/// an unknown key is an error that names the nearest known one.
[[nodiscard]] result<config> load_config(const std::string& path, config base = {});

/// The same from text; `origin` names it in messages.
[[nodiscard]] result<config>
parse_config(std::string_view text, std::string_view origin, config base = {});

/// Applies one `section.key=value` as given with `--set`; `models.NAME.key` makes the provider
/// NAME. Errors: invalid_setting.
[[nodiscard]] result<void> set_setting(config& target, std::string_view assignment);

/// Checks relations between settings, for example that `disk_hard_bytes <= disk_soft_bytes`.
[[nodiscard]] result<void> check_config(const config& settings);

/// What is allowed and most likely not meant, each as a sentence that names the setting.
[[nodiscard]] std::vector<std::string> doubts_about(const config& settings);

/// All settings in the order of the documentation.
[[nodiscard]] std::vector<setting_info> list_settings(const config& settings);

}  // namespace callboard
