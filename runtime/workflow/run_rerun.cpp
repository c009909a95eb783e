#include "runtime/workflow/run_rerun.hpp"

#include "runtime/workflow/run_codec.hpp"

#include <fmt/format.h>

#include <charconv>

namespace callboard::runtime {

bool is_copied(const run_event& event) {
  switch (event.kind) {
  case run_event_kind::ended:
  case run_event_kind::parent_told:
  case run_event_kind::rerun:
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

void rerun_cut::take(const run_event& event, sequence at) {
  const place here{whole_.events, at, signals_.unread_bytes()};
  if (whole_.events == 0) {
    whole_.start = event;
    whole_.first = at;
  }
  const bool is_command = event.kind == run_event_kind::issued && !from_.empty();
  if (is_command && (index_ != 0 ? event.command == index_ : event.name == from_)) {
    // What a restart issues first comes before the signals that were taken over with it.
    cut_ = {taken_over_.value_or(here), event.command, event.name, is_cancelled_};
  }
  signals_.take(event);
  is_cancelled_ |= event.kind == run_event_kind::cancel_requested;
  if (!is_copied(event)) return;
  ++whole_.events;
  follow(event, here);
}

void rerun_cut::follow(const run_event& event, const place& here) {
  taken_over_.reset();
  if (event.kind == run_event_kind::signalled) {
    row_.push_back(here);
    return;
  }
  if (event.kind == run_event_kind::parted) {
    const auto count = read_parted(event).signals;
    if (count != 0 && count <= row_.size()) taken_over_ = row_[row_.size() - count];
  }
  row_.clear();
}

result<rerun_plan> rerun_cut::plan() const {
  if (from_.empty()) return whole_;
  if (!cut_) {
    return fail(
        errc::not_found,
        fmt::format(
            "the run has never come to a command '{}': name one that `workflow show` lists, by its "
            "index or its name",
            from_));
  }
  auto plan = whole_;
  plan.events = cut_->at.events;
  plan.command = cut_->command;
  plan.command_name = cut_->name;
  plan.signals_from = cut_->at.at;
  plan.unread_bytes = cut_->at.unread_bytes;
  plan.keeps_cancel = cut_->keeps_cancel;
  return plan;
}

}  // namespace callboard::runtime
