#include "gateway/url.hpp"

#include "gateway/json_text.hpp"
#include "gateway/percent.hpp"

#include <fmt/format.h>

namespace callboard::gateway {

namespace {

/// "http://host/path" without scheme and host.
std::string_view origin_form(std::string_view target) {
  for (const std::string_view scheme : {"http://", "https://"}) {
    if (!target.starts_with(scheme)) continue;
    target.remove_prefix(scheme.size());
    const auto path = target.find_first_of("/?");
    return path == std::string_view::npos ? std::string_view{"/"} : target.substr(path);
  }
  return target;
}

result<std::string> decoded(std::string_view text, bool plus_is_space) {
  auto plain = percent_decode(text, plus_is_space);
  if (!plain) return fail(errc::bad_request, "the URL has an incomplete percent escape");
  if (plain->find('\0') != std::string::npos || !is_utf8(*plain)) {
    return fail(errc::bad_request, "the URL must be UTF-8 without NUL");
  }
  return std::move(*plain);
}

result<void> parse_path(std::string_view path, std::vector<std::string>& segments) {
  while (!path.empty()) {
    const auto slash = path.find('/');
    const auto raw = path.substr(0, slash);
    path.remove_prefix(slash == std::string_view::npos ? path.size() : slash + 1);
    if (raw.empty()) {
      if (path.empty()) break;  // one slash at the end is forgiven
      return fail(errc::bad_request, "the path has an empty segment");
    }
    auto segment = decoded(raw, false);
    if (!segment) return std::unexpected{segment.error()};
    if (*segment == "." || *segment == "..") {
      return fail(errc::bad_request, "the path has a relative segment");
    }
    if (segments.size() == path_segments_max) {
      return fail(errc::bad_request, "the path has too many segments");
    }
    segments.push_back(std::move(*segment));
  }
  return {};
}

result<void> parse_query(std::string_view query, std::map<std::string, std::string>& parameters) {
  while (!query.empty()) {
    const auto end = query.find('&');
    const auto pair = query.substr(0, end);
    query.remove_prefix(end == std::string_view::npos ? query.size() : end + 1);
    if (pair.empty()) continue;
    const auto equals = pair.find('=');
    auto name = decoded(pair.substr(0, equals), true);
    if (!name) return std::unexpected{name.error()};
    auto value = decoded(
        equals == std::string_view::npos ? std::string_view{} : pair.substr(equals + 1), true);
    if (!value) return std::unexpected{value.error()};
    if (parameters.size() == query_parameters_max) {
      return fail(
          errc::bad_request, fmt::format("the query may have {} parameters", query_parameters_max));
    }
    parameters.emplace(std::move(*name), std::move(*value));
  }
  return {};
}

}  // namespace

result<request_target> parse_target(std::string_view target) {
  target = origin_form(target);
  target = target.substr(0, target.find('#'));
  const auto question = target.find('?');
  auto path = target.substr(0, question);
  if (!path.empty() && !path.starts_with('/')) {
    return fail(errc::bad_request, "the request target must be a path");
  }
  if (!path.empty()) path.remove_prefix(1);
  request_target parsed;
  if (auto sound = parse_path(path, parsed.path); !sound) return std::unexpected{sound.error()};
  if (question != std::string_view::npos) {
    if (auto sound = parse_query(target.substr(question + 1), parsed.query); !sound) {
      return std::unexpected{sound.error()};
    }
  }
  return parsed;
}

}  // namespace callboard::gateway
