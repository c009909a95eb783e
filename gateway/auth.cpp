#include "gateway/auth.hpp"

#include "gateway/base64.hpp"
#include "gateway/token_keys.hpp"

#include <boost/json/parse.hpp>
#include <fmt/format.h>

#include <cmath>

namespace callboard::gateway {

namespace json = boost::json;

struct token_verifier::keys {
  std::string secret;
  key_ptr ed25519;
};

namespace {

std::unexpected<error> refused(std::string detail) {
  return fail(errc::unauthorized, std::move(detail));
}

result<json::object> parse_part(std::string_view encoded, std::string_view what) {
  const auto text = decode_base64url(encoded);
  if (!text) return refused(fmt::format("the token's {} is not Base64", what));
  json::error_code failed;
  json::parse_options options;
  options.max_depth = 8;
  auto value = json::parse({text->data(), text->size()}, failed, {}, options);
  if (failed || !value.is_object()) {
    return refused(fmt::format("the token's {} is not a JSON object", what));
  }
  return std::move(value.as_object());
}

/// A claim as text; empty if it is absent or something else.
std::string_view text_of(const json::object& claims, std::string_view name) {
  const auto* value = claims.if_contains({name.data(), name.size()});
  if (value == nullptr || !value->is_string()) return {};
  return {value->as_string().data(), value->as_string().size()};
}

/// A NumericDate (RFC 7519 section 2): seconds, possibly with a fraction.
result<std::optional<time_ms>> time_of(const json::object& claims, std::string_view name) {
  const auto* value = claims.if_contains({name.data(), name.size()});
  if (value == nullptr) return std::nullopt;
  constexpr double seconds_max = 253'402'300'799.0;  // the end of year 9999
  if (!value->is_number()) return refused(fmt::format("the token's '{}' is not a number", name));
  const double seconds = value->to_number<double>();
  if (!std::isfinite(seconds) || seconds < 0 || seconds > seconds_max) {
    return refused(fmt::format("the token's '{}' is out of range", name));
  }
  return time_ms{std::chrono::milliseconds{static_cast<std::int64_t>(seconds * 1000.0)}};
}

bool has_audience(const json::object& claims, std::string_view wanted) {
  if (text_of(claims, "aud") == wanted) return true;
  const auto* value = claims.if_contains("aud");
  if (value == nullptr || !value->is_array()) return false;
  for (const auto& each : value->as_array()) {
    if (each.is_string() && each.as_string() == json::string_view{wanted.data(), wanted.size()}) {
      return true;
    }
  }
  return false;
}

result<std::vector<std::string>> texts_of(const json::object& claims, std::string_view name) {
  std::vector<std::string> texts;
  const auto* value = claims.if_contains({name.data(), name.size()});
  if (value == nullptr) return texts;
  const auto broken = [&] {
    return refused(fmt::format("the token's 'callboard.{}' is not an array of strings", name));
  };
  if (!value->is_array()) return broken();
  for (const auto& each : value->as_array()) {
    if (!each.is_string()) return broken();
    texts.emplace_back(each.as_string().data(), each.as_string().size());
  }
  return texts;
}

result<std::vector<topic_pattern>> patterns_of(const json::object& claims, std::string_view name) {
  auto texts = texts_of(claims, name);
  if (!texts) return std::unexpected{texts.error()};
  std::vector<topic_pattern> patterns;
  for (const auto& text : *texts) {
    auto pattern = topic_pattern::parse(text);
    if (!pattern) {
      return refused(fmt::format("the token's 'callboard.{}' has a bad pattern", name));
    }
    patterns.push_back(std::move(*pattern));
  }
  return patterns;
}

result<void> read_scopes(const json::object& scopes, principal& who) {
  auto tenant = tenant_name::parse(text_of(scopes, "tenant"));
  if (!tenant) return refused("the token's 'callboard.tenant' is missing or not a tenant name");
  auto publish = patterns_of(scopes, "publish");
  if (!publish) return std::unexpected{publish.error()};
  auto subscribe = patterns_of(scopes, "subscribe");
  if (!subscribe) return std::unexpected{subscribe.error()};
  auto work = texts_of(scopes, "work");
  if (!work) return std::unexpected{work.error()};
  if (const auto* admin = scopes.if_contains("admin")) {
    if (!admin->is_bool()) return refused("the token's 'callboard.admin' is not a boolean");
    who.admin = admin->as_bool();
  }
  if (const auto* repair = scopes.if_contains("repair")) {
    if (!repair->is_bool()) return refused("the token's 'callboard.repair' is not a boolean");
    who.repair = repair->as_bool();
  }
  who.tenant = std::move(*tenant);
  who.publish = std::move(*publish);
  who.subscribe = std::move(*subscribe);
  who.work = std::move(*work);
  return {};
}

result<void>
check_times(const json::object& claims, std::chrono::seconds leeway, time_ms now, principal& who) {
  auto expires = time_of(claims, "exp");
  if (!expires) return std::unexpected{expires.error()};
  if (!*expires) return refused("the token has no 'exp'");
  if (now >= **expires + leeway) return refused("the token has expired");
  auto not_before = time_of(claims, "nbf");
  if (!not_before) return std::unexpected{not_before.error()};
  if (*not_before && now + leeway < **not_before) return refused("the token is not valid yet");
  who.expires = **expires + leeway;
  return {};
}

/// The three parts of a compact token.
struct token_parts {
  std::string_view header;
  std::string_view claims;
  std::string_view signature;
  /// What is signed: header, dot, claims.
  std::string_view input;
};

result<token_parts> split(std::string_view token) {
  if (token.empty() || token.size() > token_size_max) {
    return refused("the token is empty or too long");
  }
  const auto first = token.find('.');
  const auto second = first == std::string_view::npos ? first : token.find('.', first + 1);
  if (second == std::string_view::npos || token.find('.', second + 1) != std::string_view::npos) {
    return refused("the token does not have three parts");
  }
  return token_parts{
      .header = token.substr(0, first),
      .claims = token.substr(first + 1, second - first - 1),
      .signature = token.substr(second + 1),
      .input = token.substr(0, second)};
}

}  // namespace

token_verifier::token_verifier(const config::auth_section& settings, std::unique_ptr<keys> with)
    : settings_{settings}, keys_{std::move(with)} {}

token_verifier::~token_verifier() = default;

result<std::unique_ptr<token_verifier>> token_verifier::from(const config::auth_section& settings) {
  auto with = std::make_unique<keys>();
  if (!settings.hs256_secret_file.empty()) {
    auto secret = read_secret(settings.hs256_secret_file);
    if (!secret) return std::unexpected{secret.error()};
    with->secret = std::move(*secret);
  }
  if (!settings.ed25519_public_key_file.empty()) {
    auto key = read_public_key(settings.ed25519_public_key_file);
    if (!key) return std::unexpected{key.error()};
    with->ed25519 = std::move(*key);
  }
  if (with->secret.empty() && !with->ed25519) {
    return fail(
        errc::invalid_setting,
        "tokens are required but there is no key: set auth.hs256_secret_file or "
        "auth.ed25519_public_key_file, or use `callboard dev`");
  }
  return std::unique_ptr<token_verifier>{new token_verifier{settings, std::move(with)}};
}

result<void> token_verifier::check_signature(
    std::string_view algorithm, std::string_view input, std::string_view given) const {
  const auto signature = decode_base64url(given);
  if (!signature) return refused("the token's signature is not Base64");
  bool good = false;
  if (algorithm == "HS256" && !keys_->secret.empty()) {
    good = equal_in_constant_time(hmac_sha256(keys_->secret, input), *signature);
  } else if (algorithm == "EdDSA" && keys_->ed25519) {
    good = verify_ed25519(keys_->ed25519.get(), input, *signature);
  } else {
    return refused("the token is signed with an algorithm that this node has no key for");
  }
  if (!good) return refused("the token's signature is wrong");
  return {};
}

result<principal> token_verifier::verify(std::string_view token, time_ms now) const {
  const auto parts = split(token);
  if (!parts) return std::unexpected{parts.error()};
  const auto header = parse_part(parts->header, "header");
  if (!header) return std::unexpected{header.error()};
  if (header->contains("crit")) {
    return refused("the token has critical header parameters that are not understood");
  }
  if (auto good = check_signature(text_of(*header, "alg"), parts->input, parts->signature); !good) {
    return std::unexpected{good.error()};
  }
  const auto claims = parse_part(parts->claims, "claims");
  if (!claims) return std::unexpected{claims.error()};
  principal who;
  const std::chrono::seconds leeway{settings_.leeway_s};
  if (auto current = check_times(*claims, leeway, now, who); !current) {
    return std::unexpected{current.error()};
  }
  if (!settings_.issuer.empty() && text_of(*claims, "iss") != settings_.issuer) {
    return refused("the token is from another issuer");
  }
  if (!settings_.audience.empty() && !has_audience(*claims, settings_.audience)) {
    return refused("the token is for another audience");
  }
  who.subject = text_of(*claims, "sub");
  if (who.subject.empty()) return refused("the token has no 'sub'");
  const auto* scopes = claims->if_contains("callboard");
  if (scopes == nullptr || !scopes->is_object())
    return refused("the token has no 'callboard' claim");
  if (auto read = read_scopes(scopes->as_object(), who); !read) {
    return std::unexpected{read.error()};
  }
  return who;
}

}  // namespace callboard::gateway
