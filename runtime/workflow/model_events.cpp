#include "runtime/workflow/model_events.hpp"

#include "base/hash.hpp"
#include "proto/event.pb.h"
#include "runtime/workflow/correlation.hpp"

#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <fmt/format.h>

namespace callboard::runtime {

namespace {

using boost::json::object;

object data_of(const model_piece& piece) {
  return {
      {"step", piece.command},
      {"name", piece.name},
      {"attempt", piece.attempt},
      {"round", piece.round}};
}

void add_number(v1::Event& event, std::string name, std::uint32_t value) {
  auto& extension = *event.add_extensions();
  extension.set_name(std::move(name));
  extension.set_integer(static_cast<std::int32_t>(value));
}

/// `what` makes the id unique within the round.
encoded_event encode(
    std::string_view type,
    const model_piece& piece,
    std::string_view what,
    const object& data,
    const run_identity& run) {
  v1::Event to;
  to.set_id(
      fmt::format("{}.{}.{}.{}.{}", run.run, piece.command, piece.attempt, piece.round, what));
  to.set_source("/workflows/" + run.workflow_id);
  to.set_type(std::string{type});
  to.set_subject(run.workflow_id);
  to.set_datacontenttype("application/json");
  add_number(to, "command", piece.command);
  auto& extension = *to.add_extensions();
  extension.set_name("correlationid");
  extension.set_text(correlation_of(run));
  add_number(to, "run", run.run);
  to.set_json(boost::json::serialize(data));
  std::string stored(event_prefix_size, '\0');
  to.AppendToString(&stored);
  const auto body = std::string_view{stored}.substr(event_prefix_size);
  write_event_prefix(stored.data(), event_identity(to.source(), to.id()), hash_64(body));
  return encoded_event{shared_bytes{std::move(stored)}};
}

}  // namespace

encoded_event encode_model_reset(const model_piece& piece, const run_identity& run) {
  return encode("model.reset", piece, "reset", data_of(piece), run);
}

encoded_event encode_model_delta(
    const model_piece& piece, std::uint64_t index, std::string_view text, const run_identity& run) {
  auto data = data_of(piece);
  data["index"] = index;
  data["text"] = text;
  return encode("model.delta", piece, fmt::to_string(index), data, run);
}

encoded_event encode_model_snapshot(
    const model_piece& piece, std::uint64_t index, std::string_view text, const run_identity& run) {
  auto data = data_of(piece);
  data["index"] = index;
  data["text"] = text;
  return encode("model.snapshot", piece, fmt::format("to{}", index), data, run);
}

}  // namespace callboard::runtime
