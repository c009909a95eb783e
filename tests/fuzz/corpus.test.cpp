// Inputs of a fuzz target's corpus, each once: what was found stays mended in every build, and a
// target that no longer compiles is seen by every change.
#include "tests/support/catch.hpp"

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

TEST_CASE("each input of " CALLBOARD_CORPUS " is taken or refused") {
  std::string input;
  const auto feed = [&] {
    CHECK(
        LLVMFuzzerTestOneInput(reinterpret_cast<const std::uint8_t*>(input.data()), input.size())
        == 0);
  };
  feed();
  std::size_t count = 0;
  for (const auto& each : std::filesystem::directory_iterator{CALLBOARD_CORPUS_FOLDER}) {
    INFO(each.path().string());
    std::ifstream file{each.path(), std::ios::binary};
    input.assign(std::istreambuf_iterator<char>{file}, {});
    feed();
    ++count;
  }
  CHECK(count > 0);
}
