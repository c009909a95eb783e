#include "actors/step_stops.hpp"

#include <utility>

namespace callboard::actors {

std::stop_token step_stops::begin(std::uint32_t command) {
  return under_way_.insert_or_assign(command, std::stop_source{}).first->second.get_token();
}

void step_stops::ask(std::uint32_t command) {
  if (auto found = under_way_.extract(command)) tell(std::move(found.mapped()));
}

void step_stops::ask_all() {
  for (auto& [command, one] : std::exchange(under_way_, {}))
    tell(std::move(one));
}

void step_stops::tell(std::stop_source one) {
  // Refused only when the node has stopped, steps included.
  (void)user_code_->post(
      reader_pool::lane::control, [one = std::move(one)]() mutable { one.request_stop(); });
}

}  // namespace callboard::actors
