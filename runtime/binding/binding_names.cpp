#include "runtime/binding/binding_names.hpp"

#include "base/hash.hpp"

#include <fmt/format.h>

namespace callboard::runtime {

namespace {

constexpr std::size_t binding_size_max = 64;
constexpr std::size_t topic_size_max = 255;
constexpr std::string_view channel_prefix = "workflow.";
/// More than a name, an epoch and a seq take.
constexpr std::size_t event_id_size_max = 160;

}  // namespace

result<group_name> binding_group(std::string_view name) {
  // One token of a topic: its dead letters are a topic with it.
  const bool is_token =
      !name.contains('.') && name.size() <= binding_size_max && topic_name::parse(name);
  if (!is_token) {
    return fail(
        errc::invalid_name, "the name of a binding must be 1 to 64 bytes of [A-Za-z0-9_:-]");
  }
  return group_name::trusted(binding_group_prefix + std::string{name});
}

group_name redrive_group(const group_name& binding) {
  return group_name::trusted(binding_group_prefix + binding.str());
}

bool is_redrive_group(const group_name& group) {
  return is_binding_group(group) && group.str().substr(1).starts_with(binding_group_prefix);
}

bool is_binding_group(const group_name& group) {
  return group.str().starts_with(binding_group_prefix);
}

std::string binding_name_of(const group_name& group) {
  return group.str().substr(is_redrive_group(group) ? 2 : 1);
}

std::string dead_letter_stem(const topic_name& topic) {
  const auto& name = topic.str();
  return name.starts_with(channel_prefix) ? "run." + name.substr(channel_prefix.size()) : name;
}

namespace {

topic_name named_below(const topic_name& topic, const group_name& group, std::string_view last) {
  const auto stem = dead_letter_stem(topic);
  const auto end = fmt::format(".binding.{}.{}", binding_name_of(group), last);
  if (stem.size() + end.size() <= topic_size_max) return topic_name::trusted(stem + end);
  auto kept = stem.substr(0, topic_size_max - end.size() - 17);
  // A cut behind a dot would make an empty token.
  while (kept.ends_with('.'))
    kept.pop_back();
  return topic_name::trusted(fmt::format("{}-{:016x}{}", kept, hash_64(stem), end));
}

}  // namespace

topic_name binding_dead_topic(const topic_name& topic, const group_name& group) {
  return named_below(topic, group, "dead");
}

topic_name binding_audit_topic(const topic_name& topic, const group_name& group) {
  return named_below(topic, group, "audit");
}

std::string binding_event_id(const group_name& group, std::string_view epoch, sequence seq) {
  return fmt::format("{}{}:{}:{}", binding_event_prefix, binding_name_of(group), epoch, seq.raw());
}

bool is_binding_event_id(const group_name& group, std::string_view text) {
  return text.starts_with(fmt::format("{}{}:", binding_event_prefix, binding_name_of(group)))
         && !text.contains('.') && text.size() <= event_id_size_max
         && topic_name::parse(text).has_value();
}

}  // namespace callboard::runtime
