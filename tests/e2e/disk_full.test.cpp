// A full disk, and one that is freed again without a restart.
//
// Method: the data lives on a tmpfs of its own. A filler file takes the space away and gives it
// back. Where mounting is not permitted the cases say so and pass.
#include "tests/e2e/ack_log.hpp"
#include "tests/e2e/broker.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/eventually.hpp"

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <iostream>
#include <sys/mount.h>
#include <sys/statvfs.h>
#include <unistd.h>

namespace {

using namespace callboard::testing;

/// A small file system of its own, gone at the end.
class small_disk {
public:
  explicit small_disk(const std::string& size) {
    const auto options = "size=" + size;
    mounted_ = ::mount("tmpfs", folder_.str().c_str(), "tmpfs", 0, options.c_str()) == 0;
    if (!mounted_) std::cout << "skipped: mounting a tmpfs: " << std::strerror(errno) << '\n';
  }

  ~small_disk() {
    if (mounted_) ::umount2(folder_.str().c_str(), MNT_DETACH);
  }

  small_disk(const small_disk&) = delete;
  small_disk& operator=(const small_disk&) = delete;

  [[nodiscard]] bool mounted() const { return mounted_; }

  [[nodiscard]] std::filesystem::path data() const { return folder_.path() / "data"; }

  [[nodiscard]] std::uint64_t free_bytes() const {
    struct statvfs status{};
    ::statvfs(folder_.str().c_str(), &status);
    return status.f_bavail * status.f_frsize;
  }

  /// Leaves `left` bytes free.
  void fill(std::uint64_t left) {
    const auto now = free_bytes();
    if (now <= left) return;
    const int fd = ::open(filler().c_str(), O_CREAT | O_WRONLY | O_APPEND, 0600);
    const std::string zeros(65536, '\0');
    for (auto size = now - left; size > 0;) {
      const auto written = ::write(fd, zeros.data(), std::min<std::uint64_t>(size, zeros.size()));
      if (written <= 0) break;
      size -= static_cast<std::uint64_t>(written);
    }
    ::close(fd);
  }

  void give_back() { std::filesystem::remove(filler()); }

private:
  [[nodiscard]] std::string filler() const { return (folder_.path() / "filler").string(); }

  temp_dir folder_;
  bool mounted_ = false;
};

std::vector<std::string> watermarks(int soft_mib, int hard_mib) {
  return {
      "--set",
      "storage.disk_soft_bytes=" + std::to_string(soft_mib << 20),
      "--set",
      "storage.disk_hard_bytes=" + std::to_string(hard_mib << 20),
      "--set",
      "storage.ballast_bytes=1048576",
      "--set",
      "storage.shard_count=4"};
}

}  // namespace

TEST_CASE("below the soft watermark publishes answer 507; reads, acks and deletes go on") {
  small_disk disk{"192m"};
  if (!disk.mounted()) return;
  server_process node{{.data_dir = disk.data(), .arguments = watermarks(64, 8)}};
  broker to{node.where()};
  for (int i = 1; i <= 20; ++i) {
    REQUIRE(to.publish("full", cloud_event(std::to_string(i))).status == 200);
  }
  REQUIRE(to.publish("other", cloud_event("1")).status == 200);
  REQUIRE(to.put("/topics/full/groups/workers", "{}").status < 300);
  REQUIRE(to.put("/presence/full/ann", "{}").status == 204);
  REQUIRE(to.put("/presence/full/bob", "{}").status == 204);

  disk.fill(32 << 20);
  int next = 21;
  REQUIRE(eventually(
      [&] { return to.publish("full", cloud_event(std::to_string(next++))).status == 507; }));
  const auto refused = to.publish("full", cloud_event("refused"));
  CHECK(refused.status == 507);
  CHECK(refused.code() == "storage_full");
  CHECK(to.history("full").size() >= 20);
  const auto fetched = to.post("/topics/full/groups/workers/fetch", R"({"max":5})");
  CHECK(fetched.status == 200);
  CHECK(to.post("/topics/full/groups/workers/ack", R"({"up_to_seq":5})").status == 200);
  CHECK(to.del("/topics/other").status < 300);
  CHECK(to.put("/presence/full/cid", "{}").code() == "storage_full");
  CHECK(to.put("/presence/full/ann", "{}").status == 204);
  CHECK(to.del("/presence/full/bob").status == 204);
  CHECK(http_client{node.where()}.get("/readyz").status == 200);

  disk.give_back();
  CHECK(eventually([&] { return to.publish("full", cloud_event("after")).status == 200; }));
  CHECK(to.get("/topics/other").status == 404);
}

TEST_CASE("a disk that is really full loses no ack, and writing goes on once there is space") {
  // Room for what the store reserves at once: 70 MiB for its log, as much for a compaction.
  small_disk disk{"400m"};
  if (!disk.mounted()) return;
  // Without watermarks the store itself meets the end of the disk.
  server_process node{{.data_dir = disk.data(), .arguments = watermarks(0, 0)}};
  broker to{node.where()};
  ack_log log;
  const std::string data = '"' + std::string(20'000, 'x') + '"';
  int next = 1;
  const auto publish = [&] {
    const auto id = std::to_string(next);
    const auto answer = to.publish("enospc", cloud_event(id, data));
    if (answer.status == 200) {
      log.acked("enospc", id, number_of(answer.json(), "seq"));
      ++next;
    }
    return answer;
  };
  for (int i = 0; i < 50; ++i)
    REQUIRE(publish().status == 200);
  disk.fill(0);
  http_response last;
  REQUIRE(eventually(
      [&] {
        last = publish();
        return last.status != 200;
      },
      std::chrono::seconds{60}));
  CHECK((last.status == 507 || last.status == 503));
  CHECK((last.code() == "storage_full" || last.code() == "outcome_unknown"));

  disk.give_back();
  // The store may be opened once more for an error that a flush met before there was space.
  const auto twenty_in_a_row = [&] {
    for (int i = 0; i < 20; ++i) {
      if (publish().status != 200) return false;
    }
    return true;
  };
  REQUIRE(eventually(twenty_in_a_row, std::chrono::seconds{60}));
  CHECK(node.running());
  CHECK(log.check(to) == std::vector<std::string>{});
  node.kill();
  node.start();
  broker now{node.where()};
  CHECK(log.check(now) == std::vector<std::string>{});
}
