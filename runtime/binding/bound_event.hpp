// A stored event as a binding reads it: attributes at once, its data as JSON when asked for.
#pragma once

#include "base/error.hpp"
#include "base/ids.hpp"
#include "base/shared_bytes.hpp"

#include <boost/json/value.hpp>

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

namespace callboard::runtime {

/// A dead letter that is redriven shows itself as the event that died. Used by one thread at a
/// time.
class bound_event {
public:
  /// Errors: corruption.
  [[nodiscard]] static result<bound_event> read(const shared_bytes& stored, time_ms recorded);

  [[nodiscard]] const std::string& id() const { return id_; }

  [[nodiscard]] const std::string& source() const { return source_; }

  [[nodiscard]] const std::string& type() const { return type_; }

  [[nodiscard]] const std::string& subject() const { return subject_; }

  /// The event's correlationid, or its id.
  [[nodiscard]] const std::string& correlation_id() const;

  /// Under which the target heard of it before it was a dead letter; empty for other events.
  [[nodiscard]] const std::string& key_at_death() const { return key_at_death_; }

  /// Attempts and reasons, as the dead letter tells them; empty for other events.
  [[nodiscard]] const std::string& history_at_death() const { return history_at_death_; }

  /// True for a dead letter that was written to take the place of another.
  [[nodiscard]] bool is_replacement() const { return is_replacement_; }

  /// The data as JSON; null if there is none, or it is binary or no JSON that a target may get. A
  /// text is a JSON string.
  [[nodiscard]] const boost::json::value* data();

  /// Errors: invalid_event for JSON that no target may get, as it is too deep or has a number that
  /// no double holds: topics take what nobody has to compute with.
  [[nodiscard]] result<void> check_data();

  /// The same as text: `null` without data. Errors: as `check_data`, and for binary data.
  [[nodiscard]] result<std::string> data_text();

  /// The whole CloudEvent as a JSON object. Errors: as `check_data`.
  [[nodiscard]] result<std::string> event_text();

private:
  enum class data_form : std::uint8_t { none, json, text, binary };
  using extension = std::pair<std::string, std::variant<std::string, std::int32_t, bool>>;

  std::string id_;
  std::string source_;
  std::string type_;
  std::string subject_;
  std::string time_;
  std::string media_type_;
  std::string schema_;
  std::vector<extension> extensions_;
  std::string correlation_id_;
  std::string key_at_death_;
  std::string history_at_death_;
  bool is_replacement_ = false;
  data_form form_ = data_form::none;
  std::string data_;
  bool is_parsed_ = false;
  std::optional<boost::json::value> value_;
  /// Of the data, as `accept_json` words it.
  std::string flaw_;
};

}  // namespace callboard::runtime
