// The programs of the demo and what it asks them: a node with the support assistant in it, a
// provider of models that counts, a worker in Python, and a server for the page.
#pragma once

#include "cli/client/api.hpp"

#include <boost/json/object.hpp>
#include <boost/json/value.hpp>

#include <chrono>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "examples/demo/child_process.hpp"

namespace callboard::demo {

struct stage_options {
  /// The program of examples/support_assistant.
  std::string program = "build/support_assistant";
  /// The folder with provider.py, worker.py and page/.
  std::string scripts = "examples/support_assistant";
  /// For data and logs.
  std::string folder;
  std::vector<std::string> tenants;
};

/// What the provider counted under one idempotency key.
struct key_count {
  std::string key;
  std::string kind;
  /// `tenant/ticket`.
  std::string user;
  std::uint64_t requests = 0;
  std::uint64_t whole = 0;
  std::uint64_t cut = 0;
};

/// Owner: main. Calls from any thread with an `api` of its own (`account_of`).
class stage {
public:
  explicit stage(stage_options options);

  /// All programs. Errors: unreachable with the log of the one that did not start.
  [[nodiscard]] result<void> open();

  /// Ends them in order.
  void close();

  /// The node again on the same port and data; gives the time until it was ready.
  [[nodiscard]] result<std::chrono::milliseconds> start_node();

  void kill_node() { node_.kill(); }

  /// True if somebody else has ended it.
  [[nodiscard]] bool node_has_ended() { return node_.has_ended(); }

  [[nodiscard]] int node_pid() const { return node_.pid(); }

  [[nodiscard]] client::account account_of(const std::string& tenant) const;

  /// One call on a connection of its own; a JSON body makes it a POST.
  [[nodiscard]] result<boost::json::object>
  call(const std::string& tenant, const std::string& path, const std::string& body = {}) const;

  /// Time between two words of a draft.
  [[nodiscard]] result<void> set_pace(std::chrono::milliseconds between_words) const;

  [[nodiscard]] result<std::vector<key_count>> provider_counts() const;

  /// How often the worker carried out the look-up of `tenant/ticket`.
  [[nodiscard]] std::map<std::string, std::uint64_t> worker_counts() const;

  [[nodiscard]] std::string page_url() const;

  [[nodiscard]] const stage_options& options() const { return options_; }

private:
  [[nodiscard]] std::vector<std::string> node_words() const;
  [[nodiscard]] result<boost::json::object>
  ask_provider(const std::string& path, const std::string& body = {}) const;

  stage_options options_;
  client::endpoint where_;
  client::endpoint provider_at_;
  std::uint16_t page_port_ = 0;
  child_process node_;
  child_process provider_;
  child_process worker_;
  child_process page_;
};

/// The start of a ticket, as JSON for `POST …/workflows`.
[[nodiscard]] std::string
ticket_start(std::string_view id, std::string_view customer, std::string_view question);

}  // namespace callboard::demo
