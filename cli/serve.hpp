// How `serve` and `dev` come to their settings.
#pragma once

#include "base/config.hpp"
#include "base/error.hpp"

#include <string>
#include <vector>

namespace callboard::cli {

enum class serve_mode { production, development };

struct serve_options {
  std::string config_file;
  std::string data_dir;
  std::string listen;
  std::vector<std::string> assignments;
  /// Shared libraries with workflow and agent classes.
  std::vector<std::string> modules;
  bool allow_plaintext = false;
};

/// The file, then `--data` and `--listen`, then each `--set`; later ones win. In development
/// authentication is off and only loopback is listened on; in production authentication stays on
/// and needs a key. Errors: invalid_setting, io_error, each with what to do.
[[nodiscard]] result<config> serve_settings(const serve_options& options, serve_mode mode);

}  // namespace callboard::cli
