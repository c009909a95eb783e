// What presence reads from the journal.
#include "actors/presence_actor.hpp"
#include "runtime/presence/presence_codec.hpp"
#include "runtime/presence/presence_projection.hpp"

#include <map>

namespace callboard::actors {

namespace {

using storage::view_id;

/// Presence rows in memory, so that the tail is applied by the same code as on disk.
class presence_row_table final : public storage::view_writer {
public:
  void put(view_id, std::string_view key, std::string_view value) override {
    rows[std::string{key}] = value;
  }

  void erase(view_id, std::string_view key) override { rows.erase(std::string{key}); }

  void erase_range(view_id, std::string_view first, std::string_view last) override {
    rows.erase(rows.lower_bound(std::string{first}), rows.lower_bound(std::string{last}));
  }

  std::optional<std::string> get(view_id, std::string_view key) override {
    const auto it = rows.find(std::string{key});
    return it == rows.end() ? std::nullopt : std::optional{it->second};
  }

  void report_damage(const storage::record&, const error& why) override { damage = why; }

  std::map<std::string, std::string> rows;
  std::optional<error> damage;
};

}  // namespace

result<known_rooms> read_rooms(storage::shard_reader& reader, std::optional<entity_id> entity) {
  std::string first;
  std::string last;
  if (entity) {
    first = runtime::presence_topic_key(*entity);
    last = runtime::presence_topic_key(entity_id{entity->raw() + 1});
  }
  presence_row_table table;
  auto scanned = reader.scan(
      view_id::presence, first, last, [&](std::string_view key, std::string_view value) {
        table.put(view_id::presence, key, value);
        return true;
      });
  if (!scanned) return std::unexpected{scanned.error()};
  auto merged = reader.visit_tail([&](const storage::record& record) {
    if (!entity || record.entity == *entity) runtime::apply_presence_record(record, table);
    return !table.damage;
  });
  if (!merged) return std::unexpected{merged.error()};
  if (table.damage) return std::unexpected{*table.damage};
  known_rooms known;
  known.committed = reader.committed();
  for (const auto& [text, value] : table.rows) {
    const auto key = runtime::parse_presence_key(text);
    if (!key) return fail(errc::corruption, "a presence key is unreadable");
    if (key->member.empty()) {
      auto topic = runtime::decode_presence_topic(value);
      if (!topic) return std::unexpected{topic.error()};
      known.rooms.push_back({std::move(*topic), key->entity, {}});
      continue;
    }
    auto member = runtime::decode_presence_member(value);
    if (!member) return std::unexpected{member.error()};
    // A topic's own row comes before those of its members.
    if (known.rooms.empty() || known.rooms.back().entity != key->entity) {
      return fail(errc::corruption, "a presence row has no topic");
    }
    known.rooms.back().members.push_back(std::move(*member));
  }
  return known;
}

}  // namespace callboard::actors
