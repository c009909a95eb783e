// How topics are described, and their errors told, to clients. No CAF here.
#pragma once

#include "actors/relay_messages.hpp"
#include "actors/requests.hpp"
#include "base/error.hpp"
#include "runtime/topic/topic_core.hpp"

#include <cstdint>
#include <string_view>
#include <vector>

namespace callboard::actors {

[[nodiscard]] topic_description describe(const runtime::topic_image& image);

[[nodiscard]] topic_active news_of(const runtime::topic_image& image, bool is_quiet = false);

[[nodiscard]] relay_attached attached_to(const runtime::topic_image& image, bool has_streams);

/// Settings after a patch. Errors: exists when the kind would change.
[[nodiscard]] result<runtime::topic_settings>
patch_settings(runtime::topic_settings settings, const topic_settings_patch& with);

/// What clients hear when an append fails: that an earlier one failed is no fault of theirs.
[[nodiscard]] error told_to_client(const error& why);

[[nodiscard]] std::uint64_t events_in(const std::vector<runtime::publish_request>& requests);

/// A bound on the events in flight, and the setting that it is.
struct events_bound {
  std::uint64_t events_max = UINT64_MAX;
  std::string_view setting;
};

/// True if some of the requests is more than that by itself: it need not be sent again.
[[nodiscard]] bool
is_beyond(const std::vector<runtime::publish_request>& requests, const events_bound& bound);

/// The answer to each of the requests: `why`, or to one that is beyond the bound `too_large`.
[[nodiscard]] publish_replies refusals_of(
    const std::vector<runtime::publish_request>& requests,
    const error& why,
    const events_bound& bound = {});

}  // namespace callboard::actors
