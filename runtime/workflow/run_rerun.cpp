#include "runtime/workflow/run_rerun.hpp"

#include <fmt/format.h>

#include <charconv>

namespace callboard::runtime {

bool is_copied(const run_event& event) {
  switch (event.kind) {
  case run_event_kind::ended:
  case run_event_kind::parent_told:
  case run_event_kind::rerun:
  case run_event_kind::build_changed:
  case run_event_kind::unblocked:
    return false;
  default:
    return true;
  }
}

rerun_cut::rerun_cut(std::string_view from) : from_{from} {
  const auto* end = from_.data() + from_.size();
  const auto [stop, failed] = std::from_chars(from_.data(), end, index_);
  if (failed != std::errc{} || stop != end) index_ = 0;
}

void rerun_cut::take(const run_event& event, std::size_t copied) {
  if (from_.empty() || event.kind != run_event_kind::issued) return;
  const bool is_it = index_ != 0 ? event.command == index_ : event.name == from_;
  if (!is_it) return;
  command_ = event.command;
  name_ = event.name;
  at_ = copied;
}

result<std::size_t> rerun_cut::count(std::size_t copied) const {
  if (from_.empty()) return copied;
  if (command_ == 0) {
    return fail(
        errc::not_found,
        fmt::format(
            "the run has never come to a command '{}': name one that `workflow show` lists, by its "
            "index or its name",
            from_));
  }
  return at_;
}

}  // namespace callboard::runtime
