// Settings of `serve` and `dev`, checked before anything is started.
#include "cli/serve.hpp"
#include "node/node.hpp"

#include <fmt/format.h>

namespace callboard::cli {

namespace {

/// "ADDR:PORT", "[V6]:PORT", ":PORT" or "PORT".
result<void> apply_listen(config& settings, const std::string& listen) {
  const auto colon = listen.rfind(':');
  auto address = colon == std::string::npos ? std::string{} : listen.substr(0, colon);
  const auto port = colon == std::string::npos ? listen : listen.substr(colon + 1);
  if (address.starts_with('[') && address.ends_with(']')) {
    address = address.substr(1, address.size() - 2);
  }
  if (!address.empty()) settings.listen.address = address;
  if (auto set = set_setting(settings, "listen.port=" + port); !set || port.empty()) {
    return fail(
        errc::invalid_setting,
        fmt::format("--listen {}: expected ADDRESS:PORT, for example 127.0.0.1:8700", listen));
  }
  return {};
}

result<void> check_exposure(const config& settings, serve_mode mode) {
  const auto& listen = settings.listen;
  const bool is_local = node::is_loopback(listen.address);
  if (mode == serve_mode::development) {
    if (is_local) return {};
    return fail(
        errc::invalid_setting,
        fmt::format(
            "`callboard dev` has no authentication and listens on loopback only, not on {}; "
            "use `callboard serve`",
            listen.address));
  }
  if (!settings.auth.required) {
    return fail(
        errc::invalid_setting,
        "auth.required cannot be turned off under `callboard serve`; use `callboard dev`");
  }
  if (settings.auth.hs256_secret_file.empty() && settings.auth.ed25519_public_key_file.empty()) {
    return fail(
        errc::invalid_setting,
        "no key to verify tokens with: set auth.hs256_secret_file or "
        "auth.ed25519_public_key_file (`openssl rand -hex 32 > secret` makes a secret), or use "
        "`callboard dev`");
  }
  if (!is_local && listen.tls_certificate.empty() && !listen.allow_plaintext) {
    return fail(
        errc::invalid_setting,
        fmt::format(
            "{} can be reached from other machines: set listen.tls_certificate and "
            "listen.tls_key, or give --allow-plaintext",
            listen.address));
  }
  return {};
}

}  // namespace

result<config> serve_settings(const serve_options& options, serve_mode mode) {
  config settings;
  if (mode == serve_mode::development) settings.auth.required = false;
  if (!options.config_file.empty()) {
    auto loaded = load_config(options.config_file, settings);
    if (!loaded) return loaded;
    settings = std::move(*loaded);
  }
  if (!options.data_dir.empty()) settings.storage.data_dir = options.data_dir;
  if (!options.listen.empty()) {
    if (auto applied = apply_listen(settings, options.listen); !applied) {
      return std::unexpected{applied.error()};
    }
  }
  if (options.allow_plaintext) settings.listen.allow_plaintext = true;
  for (const auto& assignment : options.assignments) {
    if (auto set = set_setting(settings, assignment); !set) return std::unexpected{set.error()};
  }
  if (mode == serve_mode::development) settings.auth.required = false;
  if (auto sound = check_config(settings); !sound) return std::unexpected{sound.error()};
  if (auto allowed = check_exposure(settings, mode); !allowed) {
    return std::unexpected{allowed.error()};
  }
  return settings;
}

}  // namespace callboard::cli
