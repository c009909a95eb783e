#include "base/log.hpp"

#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

namespace callboard::log {

namespace {

/// `%*` in the JSON pattern: the message with everything escaped that JSON wants escaped.
class json_text_flag final : public spdlog::custom_flag_formatter {
public:
  void format(
      const spdlog::details::log_msg& message,
      const std::tm& /*time*/,
      spdlog::memory_buf_t& out) override {
    for (const char c : message.payload) append_escaped(c, out);
  }

  [[nodiscard]] std::unique_ptr<custom_flag_formatter> clone() const override {
    return std::make_unique<json_text_flag>();
  }

private:
  static void append_escaped(char c, spdlog::memory_buf_t& out) {
    constexpr std::string_view hex = "0123456789abcdef";
    if (c == '"' || c == '\\') {
      out.push_back('\\');
      out.push_back(c);
    } else if (static_cast<unsigned char>(c) < 0x20) {
      const std::string_view lead = "\\u00";
      out.append(lead.data(), lead.data() + lead.size());
      out.push_back(hex[static_cast<unsigned char>(c) >> 4]);
      out.push_back(hex[static_cast<unsigned char>(c) & 15]);
    } else {
      out.push_back(c);
    }
  }
};

std::shared_ptr<spdlog::sinks::sink> shared_sink() {
  static const auto sink = std::make_shared<spdlog::sinks::stderr_sink_mt>();
  return sink;
}

} // namespace

void configure(const config::log_section& settings) {
  auto formatter = std::make_unique<spdlog::pattern_formatter>();
  if (settings.format == "json") {
    formatter->add_flag<json_text_flag>('*').set_pattern(
        R"({"time":"%Y-%m-%dT%H:%M:%S.%e%z","level":"%l","channel":"%n","message":"%*"})");
  } else {
    formatter->set_pattern("%Y-%m-%dT%H:%M:%S.%e %L %n: %v");
  }
  shared_sink()->set_formatter(std::move(formatter));
  spdlog::set_level(spdlog::level::from_str(settings.level));
}

std::shared_ptr<spdlog::logger> channel(std::string_view name) {
  const std::string key{name};
  if (auto known = spdlog::get(key)) return known;
  auto made = std::make_shared<spdlog::logger>(key, shared_sink());
  made->set_level(spdlog::get_level());
  try {
    spdlog::register_logger(made);
  } catch (const spdlog::spdlog_ex&) {
    return spdlog::get(key); // another thread was first
  }
  return made;
}

} // namespace callboard::log
