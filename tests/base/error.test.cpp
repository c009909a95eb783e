#include "base/error.hpp"

#include "tests/support/catch.hpp"

#include <set>
#include <string>

using namespace callboard;

TEST_CASE("codes keep their numbers and names", "[base][error]") {
  // Clients, journals and peers rely on these; append, never edit.
  const std::string golden =
      "1 bad_request|2 invalid_name|3 invalid_json|4 invalid_event|5 invalid_setting|"
      "6 unsupported_media_type|7 too_large|8 unauthorized|9 forbidden|10 not_found|"
      "11 topic_not_found|12 group_not_found|13 method_not_allowed|14 sequence_conflict|"
      "15 id_conflict|16 exists|17 cursor_expired|18 overloaded|19 rate_limited|"
      "20 too_many_connections|21 too_many_subscriptions|22 storage_full|23 outcome_unknown|"
      "24 not_enough_replicas|25 stale_term|26 quarantined|27 draining|28 timeout|29 lease_lost|"
      "30 corruption|31 io_error|32 held_by_group|33 locked|34 incompatible|35 unreachable|"
      "36 internal|37 wrong_kind|38 cancelled|39 workflow_exists|40 workflow_not_found|"
      "41 agent_not_found|42 agent_failed|43 queue_not_found|44 task_not_found|"
      "45 binding_not_found|46 inbox_full|";
  std::string seen;
  for (int number = 1; number <= 46; ++number) {
    const auto code = static_cast<errc>(number);
    seen += std::to_string(number) + ' ' + std::string{name_of(code)} + '|';
    CHECK(errc_named(name_of(code)) == code);
  }
  CHECK(seen == golden);
  CHECK_FALSE(errc_named("no_such_code"));
}
