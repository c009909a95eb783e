// Payloads of journal records and view rows, and whole blocks, from any bytes: whatever is on disk,
// reading it ends in a value or in `corruption`. The first byte says what the rest is read as.
// journal_seeds.cpp makes inputs to begin with.
#include "tests/fuzz/journal_readers.hpp"

#include <google/protobuf/stubs/logging.h>

#include <cstddef>
#include <cstdint>
#include <string_view>

extern "C" int LLVMFuzzerInitialize(int*, char***) {
  // It prints a line for every text that is no UTF-8.
  google::protobuf::SetLogHandler(nullptr);
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string_view rest{reinterpret_cast<const char*>(data) + 1, size - 1};
  const auto readers = callboard::tests::journal_readers();
  (void)readers[data[0] % readers.size()].read(rest);
  return 0;
}
