#include "storage/record_codec.hpp"

#include "proto/journal.pb.h"

namespace callboard::storage {

result<sequence> decode_trimmed(std::string_view payload) {
  journal::Trimmed message;
  if (!message.ParseFromArray(payload.data(), static_cast<int>(payload.size()))) {
    return fail(errc::corruption, "a trimmed record does not parse");
  }
  return sequence{message.up_to_seq()};
}

}  // namespace callboard::storage
