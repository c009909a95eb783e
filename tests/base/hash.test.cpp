#include "base/crc32c.hpp"
#include "base/hash.hpp"
#include "base/uuid.hpp"

#include "tests/support/catch.hpp"

#include <set>
#include <string>

using namespace callboard;

TEST_CASE("crc32c answers the vectors of RFC 3720 B.4", "[base][hash]") {
  CHECK(crc32c(std::string(32, '\0')) == 0x8A9136AA);
  CHECK(crc32c(std::string(32, '\xFF')) == 0x62A8AB43);
  CHECK(crc32c("123456789") == 0xE3069283);
  CHECK(crc32c("6789", crc32c("12345")) == 0xE3069283);
  CHECK(crc32c("") == 0);
}

TEST_CASE("hashes that reach the disk never change", "[base][hash]") {
  CHECK(hash_64("") == 0x2D06800538D394C2);
  CHECK(hash_128("") == hash128{0x99AA06D3014798D8, 0x6001C324468D497F});
  CHECK(event_identity("a", "b") == hash_128(std::string_view{"a\0b", 3}));
  const std::string long_id(1000, 'x');
  CHECK(event_identity("s", long_id) == hash_128("s" + std::string(1, '\0') + long_id));
}

TEST_CASE("shards are spread evenly and stably", "[base][hash]") {
  std::vector<int> count(64);
  for (int i = 0; i < 6400; ++i) {
    const topic_ref ref{
        tenant_name::parse("acme").value(), topic_name::parse("t" + std::to_string(i)).value()};
    ++count[shard_index(ref, 64)];
  }
  for (const auto c : count) {
    CHECK(c > 50);
    CHECK(c < 160);
  }
}

TEST_CASE("uuids are version 7, ordered by time and distinct", "[base][uuid]") {
  std::set<std::string> seen;
  const time_ms t{std::chrono::milliseconds{0x0123'4567'89AB}};
  for (int i = 0; i < 1000; ++i) seen.insert(make_uuid(t));
  CHECK(seen.size() == 1000);
  const auto& one = *seen.begin();
  CHECK(one.size() == 36);
  CHECK(one.starts_with("01234567-89ab-7"));
  CHECK(std::string{"89ab"}.contains(one[19]));
}
