// callboard journal verify|dump|export|repair, on the files of a stopped node
#include "cli/client/raw_json.hpp"
#include "cli/families.hpp"
#include "cli/journal_export.hpp"
#include "cli/output.hpp"
#include "runtime/topic/broker_projection.hpp"
#include "storage/offline.hpp"
#include "storage/record_names.hpp"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <memory>
#include <optional>
#include <ostream>

namespace callboard::cli {

namespace {

struct journal_options {
  std::string data_dir;
  std::optional<std::uint32_t> shard;
  std::uint64_t from = 1;
  std::uint64_t limit = 0;
  std::string topic;
};

void print_damage(const context& run, const std::vector<storage::damage_report>& damage) {
  if (damage.empty()) return;
  table rows{{"FILE", "SHARD", "LSN", "DAMAGE"}};
  for (const auto& d : damage) {
    rows.add({d.file, std::to_string(d.shard), std::to_string(d.lsn), d.what});
  }
  run.io.out << rows.render();
}

std::string damage_json(const std::vector<storage::damage_report>& damage) {
  std::string all;
  for (const auto& d : damage) {
    if (!all.empty()) all += ',';
    all += fmt::format(
        R"({{"file":{},"shard":{},"lsn":{},"what":{}}})",
        client::json_quoted(d.file),
        d.shard,
        d.lsn,
        client::json_quoted(d.what));
  }
  return "[" + all + "]";
}

exit_code verify(const context& run, const journal_options& o) {
  result<storage::verify_report> report;
  {
    progress_line shown{run, "verifying"};
    report = storage::verify_directory(
        o.data_dir,
        std::make_shared<runtime::broker_projection>(),
        [&](std::uint64_t done, std::uint64_t total) { shown.update(done, total); });
  }
  if (!report) return run.refuse(report.error());
  if (run.wants_json()) {
    run.io.out << fmt::format(
        R"({{"shards":{},"records":{},"bytes":{},"damage":{}}})",
        report->shards,
        report->records,
        report->bytes,
        damage_json(report->damage))
               << '\n';
  } else {
    run.io.out << fmt::format(
        "{} shards, {} records, {}: {}\n",
        report->shards,
        report->records,
        shown_bytes(report->bytes),
        report->damage.empty() ? "sound" : "damaged");
    print_damage(run, report->damage);
    if (!report->damage.empty()) {
      run.io.out << "\n`callboard journal repair --data " << o.data_dir
                 << "` keeps all that can be read.\n";
    }
  }
  return report->damage.empty() ? exit_code::done : exit_code::refused;
}

void print_record(const context& run, shard_id shard, const storage::record& r) {
  const auto time = r.time.time_since_epoch().count();
  if (run.wants_json()) {
    run.io.out << fmt::format(
        R"({{"shard":{},"lsn":{},"term":{},"time_ms":{},"kind":"{}","entity":{},"entity_seq":{},)"
        R"("previous":{},"bytes":{}}})",
        shard.raw(),
        r.lsn.raw(),
        r.term.raw(),
        time,
        name_of(r.kind),
        r.entity.raw(),
        r.entity_seq.raw(),
        r.previous.raw(),
        r.payload.size())
               << '\n';
    return;
  }
  run.io.out << fmt::format(
      "shard {:<4} lsn {:<10} time {} {:<16} entity {:<8} seq {:<10} {} bytes\n",
      shard.raw(),
      r.lsn.raw(),
      time,
      name_of(r.kind),
      r.entity.raw(),
      r.entity_seq.raw(),
      r.payload.size());
}

exit_code dump(const context& run, const journal_options& o) {
  std::uint64_t count = 0;
  const auto shard = o.shard ? std::optional{shard_id{*o.shard}} : std::nullopt;
  auto dumped = storage::dump_directory(
      o.data_dir, shard, lsn{o.from}, [&](shard_id in, const storage::record& record) {
        print_record(run, in, record);
        return o.limit == 0 || ++count < o.limit;
      });
  if (!dumped) return run.refuse(dumped.error());
  return exit_code::done;
}

exit_code export_events(const context& run, const CLI::Option& tenant, const journal_options& o) {
  event_exporter exporter{
      {.tenant = tenant.count() != 0 ? run.tenant : std::string{}, .topic = o.topic}};
  progress_line shown{run, "events exported"};
  std::uint64_t count = 0;
  auto exported = storage::dump_directory(
      o.data_dir, std::nullopt, lsn{1}, [&](shard_id in, const storage::record& record) {
        if (auto line = exporter.line_of(in, record)) {
          run.io.out << *line << '\n';
          shown.update(++count, 0);
        }
        return run.io.out.good() && (o.limit == 0 || count < o.limit);
      });
  if (!exported) return run.refuse(exported.error());
  return exit_code::done;
}

exit_code repair(const context& run, const journal_options& o) {
  result<storage::repair_report> report;
  {
    progress_line shown{run, "repairing"};
    report = storage::repair_directory(
        o.data_dir,
        std::make_shared<runtime::broker_projection>(),
        [&](std::uint64_t done, std::uint64_t total) { shown.update(done, total); });
  }
  if (!report) return run.refuse(report.error());
  if (run.wants_json()) {
    run.io.out << fmt::format(
        R"({{"records_kept":{},"records_lost":{},"damage":{}}})",
        report->records_kept,
        report->records_lost,
        damage_json(report->damage))
               << '\n';
    return exit_code::done;
  }
  run.io.out << fmt::format(
      "{} records kept, {} lost; the damaged folder is kept beside the new one\n",
      report->records_kept,
      report->records_lost);
  print_damage(run, report->damage);
  return exit_code::done;
}

CLI::App& add_one(
    CLI::App& family,
    context& run,
    const std::string& name,
    const std::string& description,
    const std::shared_ptr<journal_options>& o,
    std::function<exit_code()> action) {
  auto& command = add_command(
      family,
      run,
      name,
      description,
      "callboard journal " + name + " --data /var/lib/callboard",
      std::move(action));
  command.add_option("--data", o->data_dir, "folder of a stopped node")
      ->required()
      ->type_name("DIR");
  return command;
}

}  // namespace

void add_journal(CLI::App& app, context& run) {
  auto& family = add_family(
      app,
      "journal",
      "the files of a stopped node",
      "callboard journal verify --data /var/lib/callboard");
  auto v = std::make_shared<journal_options>();
  add_one(family, run, "verify", "check every record; exit 1 if any is damaged", v, [&run, v] {
    return verify(run, *v);
  });
  auto d = std::make_shared<journal_options>();
  auto& dump_command =
      add_one(family, run, "dump", "print the records' headers, one a line", d, [&run, d] {
        return dump(run, *d);
      });
  dump_command.add_option("--shard", d->shard, "only this shard");
  dump_command.add_option("--from", d->from, "from this lsn on")->capture_default_str();
  dump_command.add_option("--limit", d->limit, "at most so many; 0 = all");
  auto e = std::make_shared<journal_options>();
  const auto* tenant = app.get_option("--tenant");
  auto& export_command = add_one(
      family,
      run,
      "export",
      "print the events as JSON lines, of all tenants unless --tenant is given",
      e,
      [&run, tenant, e] { return export_events(run, *tenant, *e); });
  export_command.add_option("--topic", e->topic, "only of this topic or pattern");
  export_command.add_option("--limit", e->limit, "at most so many; 0 = all");
  auto r = std::make_shared<journal_options>();
  add_one(family, run, "repair", "rebuild the folder from all that can be read", r, [&run, r] {
    return repair(run, *r);
  });
}

}  // namespace callboard::cli
