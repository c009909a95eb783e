// Records and rows as bytes: everything that goes in comes out, and other bytes are refused.
#include "runtime/queue/queue_codec.hpp"

#include "tests/support/catch.hpp"

using namespace callboard;
using namespace callboard::runtime;

namespace {

task_row full_row() {
  task_row row;
  row.state.task = task_id{5};
  row.state.place = sequence{9};
  row.state.priority = task_priority::bulk;
  row.fairness_key = "tenant-7";
  row.state.fairness = fairness_hash(row.fairness_key);
  row.state.ready = time_ms{std::chrono::milliseconds{17}};
  row.state.enqueued = time_ms{std::chrono::milliseconds{11}};
  row.state.attempts = 2;
  row.state.attempts_max = 5;
  row.state.origin = std::string{"o\0p", 3};
  row.phase = task_phase::leased;
  row.lease = {77, 0xffffffff, "w", 30'000, time_ms{std::chrono::milliseconds{16}}};
  row.history = {{1, row.state.enqueued, row.state.ready, "w", "failed", "boom"}};
  row.dedupe_key = "k";
  row.payload_size = 3;
  return row;
}

}  // namespace

TEST_CASE("a task's row survives its bytes", "[runtime][queue][codec]") {
  const auto row = full_row();
  const auto copy = decode_task_row(encode_task_row(row));
  REQUIRE(copy);
  CHECK(*copy == row);
}

TEST_CASE("a stored task takes place and id from its record", "[runtime][queue][codec]") {
  stored_task stored{full_row(), shared_bytes{std::string{"abc"}}};
  auto copy = decode_stored_task(encode_stored_task(stored), sequence{9});
  REQUIRE(copy);
  CHECK(copy->row == stored.row);
  CHECK(copy->payload == stored.payload);
  stored.row.state.task = {};
  copy = decode_stored_task(encode_stored_task(stored), sequence{31});
  REQUIRE(copy);
  CHECK(copy->row.state.task == task_id{31});
  CHECK(copy->row.state.place == sequence{31});
}

TEST_CASE(
    "progress, audits, counters and definitions survive their bytes", "[runtime][queue][codec]") {
  const auto row = full_row();
  const task_progress progress{
      {{task_id{1}, task_phase::waiting, row.state.ready, 3, {}, row.history, {}, {}, {}},
       {task_id{2}, task_phase::leased, {}, 0, row.lease, {}, {}, {}, {}},
       {task_id{3}, task_phase::gone, {}, 1, {}, {}, "result", task_end::completed, "o"}},
      99,
      {task_id{4}, task_id{5}},
      {{task_id{6}, "w/1", task_end::dead, 3, "no luck"}}};
  const auto copy = decode_task_progress(encode_task_progress(progress));
  REQUIRE(copy);
  CHECK(*copy == progress);

  const task_audit audit{"ann", "redrive", {task_id{1}, task_id{9}}, row.state.ready};
  CHECK(*decode_task_audit(encode_task_audit(audit)) == audit);

  queue_counters counters;
  counters.waiting = {1, 2, 3, 4};
  counters.leased = 5;
  counters.dead = 6;
  counters.last_lease = 7;
  counters.last_seq = sequence{8};
  counters.floor = sequence{9};
  counters.dedupe_first = 10;
  counters.dedupe_next = 11;
  counters.dedupe_window_s = 12;
  CHECK(*decode_queue_counters(encode_counters(counters)) == counters);

  const queue_settings settings{1, 2, 3, 4, 5, 6, 7, 8, 9};
  const queue_ref name{tenant_name::trusted("acme"), queue_name::trusted("llm.fast")};
  const auto made = decode_queue_definition(encode_queue_created({name, settings}));
  REQUIRE(made);
  CHECK(made->name == name);
  CHECK(made->settings == settings);
  CHECK(decode_queue_definition(encode_queue_configured({name, settings}))->settings == settings);
  for (const bool is_closed_first : {false, true}) {
    const queue_deletion deletion{name, is_closed_first};
    CHECK(*decode_queue_deleted(encode_queue_deleted(deletion)) == deletion);
  }
  CHECK(*decode_queue_trimmed(encode_queue_trimmed(sequence{7})) == sequence{7});
  const auto catalogue = decode_queue_row(encode_queue_row({entity_id{4}, settings}));
  CHECK(catalogue->entity == entity_id{4});
  CHECK(catalogue->settings == settings);
  CHECK(parse_queue_row_key(queue_row_key(name)) == name);
  CHECK_FALSE(parse_queue_row_key(std::string{"acme\0gtopic\0group", 16}));
}

TEST_CASE("bytes of something else are refused, not guessed at", "[runtime][queue][codec]") {
  for (const std::string bad : {"\xff\xff", "\x0a\xff", "{}"}) {
    CHECK_FALSE(decode_task_row(bad));
    CHECK_FALSE(decode_stored_task(bad, sequence{1}));
    CHECK_FALSE(decode_task_progress(bad));
    CHECK_FALSE(decode_task_audit(bad));
    CHECK_FALSE(decode_queue_counters(bad));
    CHECK_FALSE(decode_queue_definition(bad));
    CHECK_FALSE(decode_queue_row(bad));
  }
}

TEST_CASE("numbers that name no phase and no end are refused", "[runtime][queue][codec]") {
  // -4 as Protobuf writes it.
  const std::string none = "\xfc\xff\xff\xff\xff\xff\xff\xff\xff\x01";
  CHECK(decode_task_progress("\x0a\x02\x10\x03"));
  CHECK_FALSE(decode_task_progress("\x0a\x0b\x10" + none));
  CHECK_FALSE(decode_task_progress("\x0a\x02\x10\x04"));
  CHECK(decode_task_row("\x18\x03"));
  CHECK_FALSE(decode_task_row("\x18" + none));
  CHECK_FALSE(decode_task_row("\x18\x04"));
  CHECK(decode_ending_row("\x10\x04", task_id{1}));
  CHECK_FALSE(decode_ending_row("\x10" + none, task_id{1}));
  CHECK_FALSE(decode_ending_row("\x10\x05", task_id{1}));
}

TEST_CASE("queue names have the grammar of groups", "[runtime][queue][codec]") {
  CHECK(queue_name::parse("llm.fast-1:a_b"));
  for (const auto& bad :
       {std::string{}, std::string(256, 'a'), std::string{"a/b"}, std::string{"\xc3\xb8"}})
    CHECK_FALSE(queue_name::parse(bad));
}
