#include "runtime/group/dead_letter.hpp"

#include "base/hash.hpp"
#include "base/utf8.hpp"
#include "proto/event.pb.h"
#include "runtime/binding/binding_names.hpp"
#include "runtime/json_string.hpp"

#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstdint>
#include <optional>

namespace callboard::runtime {

namespace {

constexpr std::size_t topic_size_max = 255;

/// Attempts are counted anew by each redrive. 0: there was none yet.
std::string attempt_json(const attempt_record& attempt, std::int64_t redrive) {
  auto out = fmt::format(
      R"({{"attempt":{},{}"delivered_ms":{},"member":)",
      attempt.number,
      redrive == 0 ? "" : fmt::format(R"("redrive":{},)", redrive),
      attempt.delivered.time_since_epoch().count());
  append_json_string(out, as_utf8(attempt.member));
  out += R"(,"outcome":)";
  append_json_string(out, attempt.outcome);
  out += R"(,"error":)";
  append_json_string(out, as_utf8(attempt.error));
  return out + '}';
}

/// By how many redrives this attempt came; those of letters that were written before it was told
/// have none.
std::int64_t redrive_of(const boost::json::value& attempt) {
  const auto* object = attempt.if_object();
  const auto* redrive = object == nullptr ? nullptr : object->if_contains("redrive");
  const auto* number = redrive == nullptr ? nullptr : redrive->if_int64();
  return number == nullptr ? 0 : std::clamp<std::int64_t>(*number, 0, INT32_MAX);
}

/// By the handler of an agent, which has so ended its message.
bool is_refusal(const boost::json::value& attempt) {
  const auto* object = attempt.if_object();
  const auto* error = object == nullptr ? nullptr : object->if_contains("error");
  const auto* text = error == nullptr ? nullptr : error->if_string();
  return text != nullptr && text->starts_with(name_of(errc::agent_failed));
}

/// Of those before, which are a JSON array unless somebody forged them, as many of the last as
/// there is room for. Nothing before: it dies for the first time.
std::string
history_json(const std::optional<std::string>& before, const std::vector<attempt_record>& history) {
  std::vector<std::string> shown;
  boost::system::error_code failed;
  const auto parsed = boost::json::parse(before.value_or("[]"), failed);
  std::int64_t redrive = before ? 1 : 0;
  if (!failed && parsed.is_array()) {
    for (const auto& one : parsed.get_array()) {
      shown.push_back(boost::json::serialize(one));
      redrive = redrive_of(one) + 1;
    }
  }
  for (const auto& attempt : history)
    shown.push_back(attempt_json(attempt, redrive));
  const auto dropped = shown.size() - std::min(shown.size(), attempt_history_max);
  return fmt::format(
      "[{}]", fmt::join(shown.begin() + static_cast<std::ptrdiff_t>(dropped), shown.end(), ","));
}

void set_text(v1::Event& event, const std::string& name, std::string value) {
  auto& extension = *event.add_extensions();
  extension.set_name(name);
  extension.set_text(std::move(value));
}

const std::string* text_of(const v1::Event& event, std::string_view name) {
  const auto found = std::ranges::find(event.extensions(), name, &v1::Extension::name);
  return found == event.extensions().end() ? nullptr : &found->text();
}

/// True for a letter that dies again when its binding redrives it.
bool has_died_before(const v1::Event& event, const dead_letter_origin& origin) {
  const auto* key = text_of(event, "deadletterkey");
  const auto* text = text_of(event, "deadlettertopic");
  if (!is_binding_group(origin.group) || key == nullptr || text == nullptr) return false;
  // As anybody may have published it there.
  const auto topic = topic_name::parse(*text);
  return topic && is_binding_event_id(origin.group, *key)
         && binding_dead_topic(*topic, origin.group) == origin.topic.topic;
}

/// Takes out what an earlier death has said; `stays` says of what not.
template <class Stays>
void erase_letter_attributes(v1::Event& event, Stays stays) {
  auto& extensions = *event.mutable_extensions();
  const auto stale = std::remove_if(extensions.begin(), extensions.end(), [&](const auto& one) {
    return one.name().starts_with("deadletter") && !stays(one.name());
  });
  extensions.erase(stale, extensions.end());
}

encoded_event encode_letter(v1::Event& event, std::string id) {
  auto& extensions = *event.mutable_extensions();
  std::sort(extensions.begin(), extensions.end(), [](const auto& a, const auto& b) {
    return a.name() < b.name();
  });
  event.set_id(std::move(id));
  std::string stored(event_prefix_size, '\0');
  event.AppendToString(&stored);
  const auto body = std::string_view{stored}.substr(event_prefix_size);
  write_event_prefix(stored.data(), event_identity(event.source(), event.id()), hash_64(body));
  return encoded_event{shared_bytes{std::move(stored)}};
}

result<v1::Event> read_event(const delivered_event& from) {
  v1::Event event;
  const auto proto = event_proto(from.stored);
  if (event.ParseFromArray(proto.data(), static_cast<int>(proto.size()))) return event;
  return fail(errc::corruption, fmt::format("event {} is unreadable", from.seq.raw()));
}

void tell_attempts(
    v1::Event& event,
    const std::optional<std::string>& before,
    std::int64_t count,
    const std::vector<attempt_record>& history) {
  auto& attempts = *event.add_extensions();
  attempts.set_name("deadletterattempts");
  attempts.set_integer(static_cast<std::int32_t>(std::min<std::int64_t>(count, INT32_MAX)));
  set_text(event, "deadletterhistory", history_json(before, history));
}

struct told_attempts {
  std::string history = "[]";
  std::int64_t count = 0;
};

/// Taken out of the letter, with what says whose place it took.
told_attempts take_attempts(v1::Event& event) {
  told_attempts told;
  if (const auto* text = text_of(event, "deadletterhistory")) told.history = *text;
  const auto counted = std::ranges::find(
      event.extensions(), std::string_view{"deadletterattempts"}, &v1::Extension::name);
  if (counted != event.extensions().end()) told.count = std::max(0, counted->integer());
  erase_letter_attributes(event, [](std::string_view name) {
    return name != "deadletterattempts" && name != "deadletterhistory"
           && name != "deadletterreplaces";
  });
  return told;
}

void tell_origin(v1::Event& event, const dead_letter& letter, const dead_letter_origin& origin) {
  set_text(event, "deadletterid", event.id());
  set_text(event, "deadlettertopic", origin.topic.topic.str());
  set_text(event, "deadletterseq", std::to_string(letter.event.seq.raw()));
  if (!is_binding_group(origin.group)) {
    return set_text(event, "deadlettergroup", origin.group.str());
  }
  set_text(event, "deadletterbinding", binding_name_of(origin.group));
  set_text(event, "deadletterkey", binding_event_id(origin.group, origin.epoch, letter.event.seq));
}

}  // namespace

result<encoded_event>
make_dead_letter(const dead_letter& letter, const dead_letter_origin& origin) {
  auto event = read_event(letter.event);
  if (!event) return std::unexpected{event.error()};
  std::optional<std::string> before;
  std::int64_t attempts_before = 0;
  if (has_died_before(*event, origin)) {
    // Its target must know it again, so it stays the letter of the event that died first.
    auto told = take_attempts(*event);
    before = std::move(told.history);
    attempts_before = told.count;
  } else {
    // A letter that dies again in a group of the dead-letter topic tells of its last death only.
    erase_letter_attributes(*event, [](std::string_view) { return false; });
    tell_origin(*event, letter, origin);
  }
  tell_attempts(*event, before, attempts_before + letter.attempts, letter.history);
  return encode_letter(
      *event,
      fmt::format("{}.{}.{}.dead", origin.epoch, letter.event.seq.raw(), origin.group.str()));
}

std::uint32_t redrive_after_refusal(std::string_view history) {
  boost::system::error_code failed;
  const auto parsed = boost::json::parse(history, failed);
  const auto* attempts = failed ? nullptr : parsed.if_array();
  if (attempts == nullptr) return 0;
  const auto last = std::find_if(
      attempts->rbegin(), attempts->rend(), [](const auto& one) { return is_refusal(one); });
  return last == attempts->rend() ? 0 : static_cast<std::uint32_t>(redrive_of(*last)) + 1;
}

result<encoded_event>
edited_letter(const delivered_event& letter, const std::string& data, const std::string& id) {
  auto event = read_event(letter);
  if (!event) return std::unexpected{event.error()};
  erase_letter_attributes(
      *event, [](std::string_view name) { return name != "deadletterreplaces"; });
  set_text(*event, "deadletterreplaces", std::to_string(letter.seq.raw()));
  event->set_datacontenttype("application/json");
  event->set_json(data);
  return encode_letter(*event, id);
}

result<encoded_event> refused_letter(
    const delivered_event& letter, const std::string& why, time_ms when, const std::string& id) {
  auto event = read_event(letter);
  if (!event) return std::unexpected{event.error()};
  const auto told = take_attempts(*event);
  set_text(*event, "deadletterreplaces", std::to_string(letter.seq.raw()));
  attempt_record attempt{1, when, "binding", "refused", {}};
  attempt.error = front_of(why, attempt_error_size_max);
  tell_attempts(*event, told.history, told.count + 1, {std::move(attempt)});
  return encode_letter(*event, id);
}

topic_name
dead_letter_topic(const topic_name& topic, const group_name& group, const std::string& chosen) {
  if (!chosen.empty()) return topic_name::trusted(chosen);
  auto name = group.str();
  std::ranges::replace(name, '.', '-');
  auto full = fmt::format("{}.{}.dead", dead_letter_stem(topic), name);
  if (full.size() > topic_size_max) {
    // A cut that ends in a dot would make an empty token.
    auto kept = full.substr(0, topic_size_max - 22);
    while (kept.ends_with('.')) {
      kept.pop_back();
    }
    full = fmt::format("{}-{:016x}.dead", kept, hash_64(full));
  }
  return topic_name::trusted(std::move(full));
}

}  // namespace callboard::runtime
