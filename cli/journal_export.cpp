#include "cli/journal_export.hpp"

#include "cli/client/raw_json.hpp"
#include "gateway/event_codec.hpp"
#include "proto/journal.pb.h"
#include "runtime/topic/event_batch.hpp"

#include <fmt/format.h>

namespace callboard::cli {

event_exporter::event_exporter(filter wanted) : wanted_{std::move(wanted)} {
  if (wanted_.topic.empty()) return;
  if (auto parsed = topic_pattern::parse(wanted_.topic)) pattern_ = std::move(*parsed);
}

void event_exporter::learn(shard_id shard, const storage::record& record) {
  journal::TopicCreated created;
  const auto bytes = record.payload.view();
  if (!created.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) return;
  const bool is_wanted =
      (wanted_.tenant.empty() || wanted_.tenant == created.tenant())
      && (wanted_.topic.empty() || (pattern_ && pattern_->matches(created.topic())));
  topics_[{shard.raw(), record.lsn.raw()}] = {created.tenant(), created.topic(), is_wanted};
}

std::optional<std::string> event_exporter::line_of(shard_id shard, const storage::record& record) {
  if (record.kind == storage::record_kind::topic_created) {
    learn(shard, record);
    return std::nullopt;
  }
  if (record.kind == storage::record_kind::topic_deleted) {
    topics_.erase({shard.raw(), record.entity.raw()});
    return std::nullopt;
  }
  if (record.kind != storage::record_kind::event) return std::nullopt;
  const auto found = topics_.find({shard.raw(), record.entity.raw()});
  if (found == topics_.end() || !found->second.is_wanted) return std::nullopt;
  if (record.payload.size() < runtime::event_prefix_size) return std::nullopt;
  auto line = fmt::format(
      R"({{"tenant":{},"topic":{},"seq":{},"time_ms":{},"event":)",
      client::json_quoted(found->second.tenant),
      client::json_quoted(found->second.name),
      record.entity_seq.raw(),
      record.time.time_since_epoch().count());
  gateway::append_event_json(line, record.payload, record.time);
  line += '}';
  return line;
}

}  // namespace callboard::cli
