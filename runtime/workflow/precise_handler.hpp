// Makes the value of a JSON text, with each number as the nearest double. Boost's own parser rounds
// many numbers of 16 digits and more to the double beside it: then code would get another number
// from the record than it got, or gave, before the restart.
#pragma once

#include <boost/json/basic_parser.hpp>
#include <boost/json/error.hpp>
#include <boost/json/value.hpp>
#include <boost/json/value_stack.hpp>

#include <charconv>
#include <cstddef>
#include <cstdint>
#include <system_error>

namespace callboard::detail {

/// For `boost::json::basic_parser`, given the whole text at once: then numbers come whole, too.
class precise_handler {
public:
  static constexpr std::size_t max_object_size = boost::json::object::max_size();
  static constexpr std::size_t max_array_size = boost::json::array::max_size();
  static constexpr std::size_t max_key_size = boost::json::string::max_size();
  static constexpr std::size_t max_string_size = boost::json::string::max_size();

  using code = boost::json::error_code;
  using text = boost::json::string_view;

  precise_handler() { made_.reset(); }

  /// Precondition: the parser has read one whole value.
  [[nodiscard]] boost::json::value release() { return made_.release(); }

  static bool on_document_begin(code&) { return true; }

  static bool on_document_end(code&) { return true; }

  static bool on_object_begin(code&) { return true; }

  bool on_object_end(std::size_t count, code&) {
    made_.push_object(count);
    return true;
  }

  static bool on_array_begin(code&) { return true; }

  bool on_array_end(std::size_t count, code&) {
    made_.push_array(count);
    return true;
  }

  bool on_key_part(text part, std::size_t, code&) {
    made_.push_chars(part);
    return true;
  }

  bool on_key(text last, std::size_t, code&) {
    made_.push_key(last);
    return true;
  }

  bool on_string_part(text part, std::size_t, code&) {
    made_.push_chars(part);
    return true;
  }

  bool on_string(text last, std::size_t, code&) {
    made_.push_string(last);
    return true;
  }

  static bool on_number_part(text, code&) { return true; }

  bool on_int64(std::int64_t number, text, code&) {
    made_.push_int64(number);
    return true;
  }

  bool on_uint64(std::uint64_t number, text, code&) {
    made_.push_uint64(number);
    return true;
  }

  bool on_double(double rounded, text spelled, code&) {
    double nearest = 0;
    const auto* end = spelled.data() + spelled.size();
    const auto read = std::from_chars(spelled.data(), end, nearest);
    // What no double holds stays what it is for Boost: zero, or infinite.
    made_.push_double(read.ec == std::errc{} && read.ptr == end ? nearest : rounded);
    return true;
  }

  bool on_bool(bool value, code&) {
    made_.push_bool(value);
    return true;
  }

  bool on_null(code&) {
    made_.push_null();
    return true;
  }

  static bool on_comment_part(text, code&) { return true; }

  static bool on_comment(text, code&) { return true; }

private:
  boost::json::value_stack made_;
};

}  // namespace callboard::detail
