// Tasks that somebody waits for: one per origin however often it is asked for, its end kept until
// it is heard, and gone when nobody waits any more.
#include "tests/runtime/queue/queue_bench.hpp"

namespace callboard::runtime {

namespace {

class origins : public queue_bench {
public:
  origins() { create(); }

  enqueued_task ask(const std::string& origin) {
    auto command = task("x");
    command.origin = origin;
    return enqueue(std::move(command));
  }

  bool withdraw(const std::string& origin) {
    const auto key = next_key();
    core->withdraw({key, origin});
    run();
    return take<task_withdrawn>(key).was_open;
  }

  void tell(task_id task) {
    core->told({task});
    run();
  }

  [[nodiscard]] std::vector<task_ending> kept(const row_table& table) const {
    std::vector<task_ending> endings;
    for (auto& [queue, ending] : read_endings(table, {}, 1000, 1 << 20)->endings)
      endings.push_back(ending);
    return endings;
  }

  [[nodiscard]] bool is_known(const std::string& origin) const {
    return read_origin(rows, entity, origin)->has_value();
  }
};

}  // namespace

TEST_CASE_METHOD(origins, "an origin has one task until its end is told", "[runtime][queue]") {
  settings.dedupe_window_s = 1;
  activate();
  const auto made = ask("a");
  CHECK_FALSE(made.is_duplicate);
  CHECK(ask("b").task != made.task);
  for (int i = 0; i < 3; ++i) {
    // However long the one who asks was away.
    advance(240h);
    activate();
    const auto again = ask("a");
    CHECK(again.is_duplicate);
    CHECK(again.task == made.task);
  }
  const auto given = lease("w");
  REQUIRE(given.size() == 1);
  take<task_completed>(complete(given[0], "1"));
  CHECK(ask("a").is_duplicate);
  tell(made.task);
  CHECK(heard == std::vector{made.task});
  CHECK_FALSE(is_known("a"));
  CHECK(is_known("b"));
}

TEST_CASE_METHOD(
    origins, "a dedupe key beside an origin counts within its window", "[runtime][queue]") {
  settings.dedupe_window_s = 60;
  activate();
  const auto ask_with = [this](const std::string& origin) {
    auto command = task("x");
    command.origin = origin;
    command.dedupe_key = "k";
    return enqueue(std::move(command));
  };
  const auto made = ask_with("a");
  CHECK_FALSE(made.is_duplicate);
  CHECK(ask_with("b").task == made.task);
  CHECK_FALSE(is_known("b"));
  take<task_completed>(complete(lease("w").at(0), "1"));
  tell(made.task);
  activate();
  CHECK(ask_with("a").is_duplicate);
  advance(61s);
  CHECK_FALSE(ask_with("a").is_duplicate);
  CHECK(is_known("a"));
}

TEST_CASE_METHOD(
    origins, "asked for twice before anything is on disk, it is one task", "[runtime][queue]") {
  std::vector<queue_request> asked;
  for (int i = 0; i < 3; ++i) {
    auto command = task("x");
    command.origin = "a";
    command.key = asked.emplace_back(next_key());
    core->enqueue(std::move(command), now);
    if (i == 0) {
      REQUIRE(begin_read());
      look();
    }
  }
  run();
  const auto first = take<enqueued_task>(asked[0]);
  CHECK_FALSE(first.is_duplicate);
  for (int i = 1; i < 3; ++i) {
    const auto again = take<enqueued_task>(asked[static_cast<std::size_t>(i)]);
    CHECK(again.is_duplicate);
    CHECK(again.task == first.task);
  }
}

TEST_CASE_METHOD(origins, "an end is kept until it is told", "[runtime][queue]") {
  const auto made = ask("a");
  const auto given = lease("w");
  take<task_completed>(complete(given.at(0), R"({"n":1})"));
  const std::vector<task_ending> expected{{made.task, "a", task_end::completed, 0, R"({"n":1})"}};
  CHECK(endings == expected);
  activate();
  CHECK(kept(rows) == expected);
  CHECK(kept(rebuilt()) == expected);
  tell(made.task);
  CHECK(kept(rows).empty());
  CHECK(kept(rebuilt()).empty());
}

TEST_CASE_METHOD(origins, "ends that nobody hears hold nothing back", "[runtime][queue]") {
  limits.trim_records_min = 10;
  activate();
  std::vector<task_ending> expected;
  const auto unheard = [&](int count) {
    for (int i = 0; i < count; ++i) {
      const auto origin = "o" + std::to_string(expected.size());
      const auto made = ask(origin);
      take<task_completed>(complete(lease("w").at(0), origin));
      expected.push_back({made.task, origin, task_end::completed, 0, origin});
    }
  };
  const auto churn = [this](int count) {
    for (int i = 0; i < count; ++i) {
      enqueue("y");
      take<task_completed>(complete(lease("w").at(0)));
    }
  };
  std::size_t most = 0;
  unheard(GENERATE(1, 200));
  const auto count = expected.size();
  for (int round = 0; round < 40; ++round) {
    churn(50);
    most = std::max(most, kept_records());
  }
  CHECK(most < 200 + 8 * count);
  CHECK(floor.raw() > 3000);
  CHECK(kept(rows) == expected);
  CHECK(kept(rebuilt()) == expected);
  for (const auto& one : expected)
    tell(one.task);
  churn(50);
  CHECK(kept(rows).empty());
  CHECK(kept(rebuilt()).empty());
}

TEST_CASE_METHOD(
    origins,
    "ends that nobody hears, more than one look sees, hold nothing back",
    "[runtime][queue]") {
  constexpr std::uint64_t count = 10'001;
  std::vector<storage::record_draft> drafts;
  for (std::uint64_t seq = 1; seq <= count; ++seq) {
    task_change change;
    change.task = task_id{seq};
    change.phase = task_phase::gone;
    change.end = task_end::completed;
    change.origin = "o" + std::to_string(seq);
    const task_progress progress{{std::move(change)}, 0, {}, {}};
    drafts.push_back(
        {storage::record_kind::task_progress,
         entity,
         sequence{seq},
         shared_bytes{encode_task_progress(progress)}});
  }
  write(std::move(drafts));
  limits.trim_records_min = 10;
  activate();
  for (int i = 0; i < 100; ++i)
    enqueue(task("waiting", task_priority::bulk));
  const auto churn = [this](int times) {
    for (int i = 0; i < times; ++i) {
      enqueue(task("y", task_priority::interactive));
      take<task_completed>(complete(lease("w").at(0)));
    }
  };
  const auto all = read_endings(rows, {}, 2 * count, 1 << 20)->endings;
  REQUIRE(all.size() == count);
  const auto before = records.size();
  churn(10'000);
  CHECK(floor.raw() > 20'000);
  // Little more than what others wrote: of each task three records, and the trims.
  CHECK(records.size() - before < 32'000);
  const auto again = rebuilt();
  CHECK(read_endings(rows, {}, 2 * count, 1 << 20)->endings == all);
  CHECK(read_endings(again, {}, 2 * count, 1 << 20)->endings == all);
  // Nobody writes: nothing is written.
  const auto written = records.size();
  run();
  CHECK(records.size() == written);
}

TEST_CASE_METHOD(
    origins, "the record of an end is not given back before it is told", "[runtime][queue]") {
  limits.trim_records_min = 10;
  activate();
  const auto made = ask("a");
  take<task_completed>(complete(lease("w").at(0), "kept"));
  const auto churn = [this] {
    for (int i = 0; i < 40; ++i) {
      enqueue("y");
      take<task_completed>(complete(lease("w").at(0)));
    }
  };
  churn();
  REQUIRE(kept(rebuilt()).size() == 1);
  CHECK(kept(rebuilt()).at(0).text == "kept");
  tell(made.task);
  churn();
  CHECK(floor.raw() > 20);
  CHECK(kept(rebuilt()).empty());
}

TEST_CASE_METHOD(origins, "a task that is withdrawn is worked on by nobody", "[runtime][queue]") {
  (void)ask("waiting");
  (void)ask("other");
  CHECK(withdraw("waiting"));
  CHECK_FALSE(withdraw("waiting"));
  CHECK_FALSE(withdraw("never"));
  CHECK_FALSE(is_known("waiting"));
  const auto given = lease("w", 10);
  REQUIRE(given.size() == 1);
  CHECK(withdraw("other"));
  CHECK(take_error(complete(given[0])) == errc::lease_lost);
  CHECK(endings.empty());
  CHECK(kept(rows).empty());
  const auto counts = core->counts();
  CHECK(counts.leased == 0);
  CHECK(counts.waiting[2] == 0);
  activate();
  CHECK(lease("w").empty());
}

TEST_CASE_METHOD(
    origins, "a withdrawal catches a task that is still on its way", "[runtime][queue]") {
  auto command = task("x");
  command.origin = "a";
  command.key = next_key();
  const auto asked = command.key;
  core->enqueue(std::move(command), now);
  CHECK_FALSE(withdraw("a"));
  CHECK(take_error(asked) == errc::cancelled);
  CHECK(lease("w").empty());
  CHECK_FALSE(is_known("a"));
}

TEST_CASE_METHOD(
    origins, "what a deleted queue leaves behind is known until it is told", "[runtime][queue]") {
  const auto open = ask("open");
  const auto ended = ask("ended");
  const auto given = lease("w", 2);
  take<task_completed>(complete(given.at(given[0].token.task == ended.task ? 0 : 1), "2"));
  // Also as versions deleted queues that ended the entity at once.
  const queue_deletion deletion{name(), GENERATE(false, true)};
  const auto delete_as = [&](storage::record_kind kind) {
    write({{kind, entity, {}, shared_bytes{encode_queue_deleted(deletion)}}});
  };
  delete_as(
      deletion.is_closed_first ? storage::record_kind::queue_closed
                               : storage::record_kind::queue_deleted);
  const auto gone = *read_gone_queues(rows);
  REQUIRE(gone.size() == 1);
  CHECK(gone[0] == std::pair{entity, deletion});
  CHECK(read_gone_origins(rows, entity, {}, 10)->origins.size() == 2);
  const auto first = read_gone_origins(rows, entity, {}, 1).value();
  CHECK_FALSE(first.is_whole);
  const auto second = read_gone_origins(rows, entity, first.origins.front().first, 1).value();
  CHECK(second.is_whole);
  REQUIRE(second.origins.size() == 1);
  CHECK(second.origins.front() != first.origins.front());
  CHECK(kept(rows).size() == 1);
  const auto tell_all = [this](ends_told ends) {
    write(
        {{storage::record_kind::task_ends_told, entity, {}, shared_bytes{encode_ends_told(ends)}}});
  };
  tell_all({{ended.task, open.task}, {"ended", "open"}, false});
  CHECK(read_gone_origins(rows, entity, {}, 10)->origins.empty());
  CHECK(kept(rows).empty());
  CHECK(read_gone_queues(rows)->size() == 1);
  if (deletion.is_closed_first) {
    delete_as(storage::record_kind::queue_deleted);
  } else {
    tell_all({{}, {}, true});
  }
  CHECK(read_gone_queues(rows)->empty());
}

}  // namespace callboard::runtime
