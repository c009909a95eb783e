#include "cli/output.hpp"

#include "base/clock.hpp"
#include "cli/client/raw_json.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <ostream>

namespace callboard::cli {

namespace {

/// Characters, not bytes: names may be UTF-8.
std::size_t width_of(std::string_view text) {
  return static_cast<std::size_t>(
      std::ranges::count_if(text, [](char c) { return (c & 0xC0) != 0x80; }));
}

bool is_numeric(std::string_view text) {
  return text == "-"
         || (!text.empty() && text.find_first_not_of("0123456789.,+-%") == std::string_view::npos);
}

std::string shown(std::string_view value) {
  if (value.empty() || value == "null") return "-";
  if (value.front() == '"') return client::json_text(value);
  return std::string{value};
}

void flatten(
    const std::string& prefix,
    std::string_view object,
    std::vector<std::pair<std::string, std::string>>& out) {
  const auto members = client::json_members(object);
  if (!members) return;
  for (const auto& [name, value] : *members) {
    auto path = prefix.empty() ? std::string{name} : prefix + "." + std::string{name};
    if (value.starts_with('{') && value != "{}") {
      flatten(path, value, out);
    } else {
      out.emplace_back(std::move(path), shown(value));
    }
  }
}

}  // namespace

void table::add(std::vector<std::string> cells) {
  cells.resize(titles_.size());
  rows_.push_back(std::move(cells));
}

std::string table::render() const {
  std::vector<std::size_t> widths;
  std::vector<bool> to_right;
  for (std::size_t i = 0; i < titles_.size(); ++i) {
    auto width = width_of(titles_[i]);
    bool numbers = !rows_.empty();
    for (const auto& row : rows_) {
      width = std::max(width, width_of(row[i]));
      numbers = numbers && is_numeric(row[i]);
    }
    widths.push_back(width);
    to_right.push_back(numbers);
  }
  std::string out;
  const auto add_line = [&](const std::vector<std::string>& cells) {
    std::string line;
    for (std::size_t i = 0; i < cells.size(); ++i) {
      if (i != 0) line += "  ";
      const std::string padding(widths[i] - width_of(cells[i]), ' ');
      line += to_right[i] ? padding + cells[i] : cells[i] + padding;
    }
    line.erase(line.find_last_not_of(' ') + 1);
    out += line + '\n';
  };
  add_line(titles_);
  for (const auto& row : rows_)
    add_line(row);
  return out;
}

std::string shown_at(std::string_view object, std::string_view path) {
  const auto members = client::json_members(object);
  if (!members) return "-";
  const auto whole = client::find_member(*members, path);
  if (!whole.empty()) return shown(whole);
  const auto dot = path.find('.');
  if (dot == std::string_view::npos) return "-";
  return shown_at(client::find_member(*members, path.substr(0, dot)), path.substr(dot + 1));
}

void print_list(
    const context& run,
    std::string_view body,
    std::string_view member,
    const std::vector<column>& columns) {
  if (run.wants_json()) {
    run.io.out << body << '\n';
    return;
  }
  std::vector<std::string> titles;
  for (const auto& c : columns)
    titles.push_back(c.title);
  table rows{std::move(titles)};
  const auto members = client::json_members(body);
  const auto list = members ? client::find_member(*members, member) : body;
  if (const auto elements = client::json_elements(list)) {
    for (const auto element : *elements) {
      std::vector<std::string> cells;
      for (const auto& c : columns)
        cells.push_back(shown_at(element, c.path));
      rows.add(std::move(cells));
    }
  }
  run.io.out << rows.render();
}

void print_object(const context& run, std::string_view body) {
  if (run.wants_json()) {
    run.io.out << body << '\n';
    return;
  }
  std::vector<std::pair<std::string, std::string>> lines;
  flatten({}, body, lines);
  std::size_t width = 0;
  for (const auto& [name, value] : lines)
    width = std::max(width, width_of(name));
  for (const auto& [name, value] : lines) {
    run.io.out << name << std::string(width - width_of(name) + 2, ' ') << value << '\n';
  }
}

std::string shown_bytes(std::uint64_t bytes) {
  constexpr std::string_view units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  auto amount = static_cast<double>(bytes);
  std::size_t unit = 0;
  while (amount >= 1024 && unit + 1 < std::size(units)) {
    amount /= 1024;
    ++unit;
  }
  return unit == 0 ? fmt::format("{} B", bytes) : fmt::format("{:.1f} {}", amount, units[unit]);
}

progress_line::progress_line(const context& run, std::string what)
    : run_{run}, what_{std::move(what)} {}

progress_line::~progress_line() {
  if (shown_) run_.io.err << std::endl;
}

void progress_line::update(std::uint64_t done, std::uint64_t total) {
  if (!run_.io.err_is_terminal) return;
  const auto now = system_clock{}.boot().count();
  if (now < next_ns_ && done != total) return;
  next_ns_ = now + 100'000'000;
  shown_ = true;
  if (total == 0) {
    run_.io.err << fmt::format("\r{}: {}", what_, done) << std::flush;
  } else {
    const auto percent = 100.0 * static_cast<double>(done) / static_cast<double>(total);
    run_.io.err << fmt::format("\r{}: {}/{} ({:.0f}%)", what_, done, total, percent) << std::flush;
  }
}

}  // namespace callboard::cli
