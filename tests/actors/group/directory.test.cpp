// The directory of a shard's consumer groups as it is read at the start.
#include "actors/group_reads.hpp"
#include "runtime/topic/topic_codec.hpp"

#include "tests/actors/group/group_client.hpp"

#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace callboard::testing {

namespace {

using storage::view_id;

/// A shard of which one row of the catalogue is damaged; counts how often its tail is read.
class damaged_reader final : public storage::shard_reader {
public:
  damaged_reader(std::unique_ptr<storage::shard_reader> real, std::string damaged)
      : real_{std::move(real)}, damaged_{std::move(damaged)} {}

  [[nodiscard]] lsn applied() const override { return real_->applied(); }

  [[nodiscard]] lsn committed() const override { return real_->committed(); }

  result<void> visit_tail(const storage::record_visitor& visit) override {
    ++tails;
    return real_->visit_tail(visit);
  }

  result<void> visit_tail_of(entity_id entity, const storage::record_visitor& visit) override {
    return real_->visit_tail_of(entity, visit);
  }

  result<void>
  visit_entity(entity_id entity, sequence from, const storage::record_visitor& visit) override {
    return real_->visit_entity(entity, from, visit);
  }

  [[nodiscard]] result<std::optional<span>> entity_span(entity_id entity) override {
    return real_->entity_span(entity);
  }

  [[nodiscard]] result<std::optional<sequence>>
  first_at_or_after(entity_id entity, time_ms time) override {
    return real_->first_at_or_after(entity, time);
  }

  [[nodiscard]] result<std::optional<snapshot_row>> snapshot(entity_id entity) override {
    return real_->snapshot(entity);
  }

  [[nodiscard]] result<std::optional<std::string>>
  get(view_id view, std::string_view key) override {
    if (view == view_id::catalogue && key == damaged_) return std::string{"\xff\xff"};
    return real_->get(view, key);
  }

  result<void> scan(
      view_id view,
      std::string_view first,
      std::string_view last,
      const storage::row_visitor& visit) override {
    return real_->scan(view, first, last, visit);
  }

  int tails = 0;

private:
  std::unique_ptr<storage::shard_reader> real_;
  std::string damaged_;
};

}  // namespace

TEST_CASE_METHOD(
    group_client, "a damaged row of a topic keeps no group from being read", "[actors][group]") {
  std::vector<std::string> names;
  for (int i = 0; names.size() < 5; ++i) {
    auto name = "orders" + std::to_string(i);
    if (shard_of(name) == shard_of("orders0")) names.push_back(std::move(name));
  }
  for (const auto& name : names) {
    publish_many(name, 1);
    (void)make_group({.group = group(name, "billing")});
  }
  journal.apply();
  damaged_reader reader{
      journal.read(shard_of("orders0")).value(), runtime::catalogue_key(topic(names[2]))};
  const auto found = actors::read_group_directory(reader);
  REQUIRE(found);
  CHECK(found->groups.size() == 5);
  CHECK(found->left_behind.empty());
  // However many topics there are.
  CHECK(reader.tails == 2);
}

}  // namespace callboard::testing
