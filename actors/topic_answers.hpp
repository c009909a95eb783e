// How topics are described, and their errors told, to clients. No CAF here.
#pragma once

#include "actors/relay_messages.hpp"
#include "actors/requests.hpp"
#include "base/error.hpp"
#include "runtime/topic/topic_core.hpp"

namespace callboard::actors {

[[nodiscard]] topic_description describe(const runtime::topic_image& image);

[[nodiscard]] topic_active news_of(const runtime::topic_image& image);

[[nodiscard]] relay_attached attached_to(const runtime::topic_image& image, bool has_streams);

/// Settings after a patch. Errors: exists when the kind would change.
[[nodiscard]] result<runtime::topic_settings>
patch_settings(runtime::topic_settings settings, const topic_settings_patch& with);

/// What clients hear when an append fails: that an earlier one failed is no fault of theirs.
[[nodiscard]] error told_to_client(const error& why);

/// `why` as the answer to each of the requests.
[[nodiscard]] publish_replies
refusals_of(const std::vector<runtime::publish_request>& requests, const error& why);

}  // namespace callboard::actors
