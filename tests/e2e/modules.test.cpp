// Classes from shared libraries: `callboard dev --load`, and the same of a program of one's own.
#include "tests/e2e/broker.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/temp_dir.hpp"

#include <callboard/module.hpp>
#include <cstdint>
#include <cstdlib>
#include <elf.h>
#include <filesystem>
#include <fstream>
#include <string>

using namespace callboard::testing;

TEST_CASE("a node runs the classes of a module", "[e2e][agent]") {
  server_process server{{.arguments = {"--load", CALLBOARD_COUNTER_MODULE}}};
  broker client{server.where()};
  CHECK(number_of(client.post("/agents/counter/likes/add", "5").json(), "result") == 5);
  // What a handler throws in the library is caught in the node.
  CHECK(client.post("/agents/counter/likes/add", "-9").code() == "agent_failed");
  // What it records names the library's build, not the node's.
  const auto build_in = [&](const std::string& channel) {
    return text_of(client.history(channel).front().event.at("data"), "build");
  };
  REQUIRE(client.post("/workflows", R"({"type":"bench.sleeper","id":"own"})").status == 201);
  CHECK(build_in("workflow.own").size() == 16);
  CHECK(build_in("workflow.agent.counter.likes").size() == 16);
  CHECK(build_in("workflow.agent.counter.likes") != build_in("workflow.own"));
  server.kill();
  server.start();
  broker again{server.where()};
  CHECK(number_of(again.post("/agents/counter/likes/add", "1").json(), "result") == 6);
  CHECK(number_of(again.post("/agents/counter/copy/add_from", R"("likes")").json(), "result") == 6);
}

TEST_CASE("a program of one's own loads modules, too", "[e2e][agent]") {
  ::setenv("CALLBOARD_PROGRAM", CALLBOARD_ORDER_SAGA, 1);
  server_process server{{.arguments = {"--load", CALLBOARD_COUNTER_MODULE}}};
  ::unsetenv("CALLBOARD_PROGRAM");
  broker client{server.where()};
  CHECK(number_of(client.post("/agents/counter/likes/add", "5").json(), "result") == 5);
  // Beside its own.
  CHECK(client.post("/workflows", R"({"type":"reminder","id":"r1","input":1})").status == 201);
}

TEST_CASE("a module that was cut is refused at every length", "[e2e]") {
  const temp_dir folder;
  const auto cut = (folder.path() / "cut.so").string();
  std::filesystem::copy_file(CALLBOARD_COUNTER_MODULE, cut);
  auto size = std::filesystem::file_size(cut);
  for (const auto length :
       {size - 1, size - size / 8, size / 2, size / 8, size / 64, 4096UL, 64UL, 1UL, 0UL}) {
    CAPTURE(length);
    std::filesystem::resize_file(cut, length);
    const auto ran = run_callboard({"dev", "--listen", "127.0.0.1:0", "--load", cut});
    CHECK(ran.status == 1);
    CHECK_THAT(
        ran.err,
        Catch::Contains("cannot load " + cut)
            && Catch::Contains("it ends after " + std::to_string(length) + " bytes"));
  }
}

TEST_CASE("a module of whole size whose contents are lost is refused", "[e2e]") {
  const temp_dir folder;
  const auto lost = (folder.path() / "lost.so").string();
  const auto refused = [&](std::uint64_t from, std::uint64_t to) {
    CAPTURE(from, to);
    std::filesystem::copy_file(
        CALLBOARD_COUNTER_MODULE, lost, std::filesystem::copy_options::overwrite_existing);
    {
      std::fstream file{lost, std::ios::binary | std::ios::in | std::ios::out};
      file.seekp(static_cast<std::streamoff>(from));
      file << std::string(to - from, '\0');
    }
    const auto ran = run_callboard({"dev", "--listen", "127.0.0.1:0", "--load", lost});
    CHECK(ran.status == 1);
    CHECK_THAT(
        ran.err,
        Catch::Contains("corruption: cannot load " + lost)
            && Catch::Contains("copy or build it again"));
  };
  const auto size = std::filesystem::file_size(CALLBOARD_COUNTER_MODULE);
  // Up to the end, as a power cut leaves it.
  for (const auto from : {std::uint64_t{64}, std::uint64_t{4096}, size / 8, size / 2, size - 4096})
    refused(from, size);
  // All but the headers of segments and sections; then the tables alone, which stand first.
  Elf64_Ehdr header{};
  std::ifstream{CALLBOARD_COUNTER_MODULE, std::ios::binary}.read(
      reinterpret_cast<char*>(&header), sizeof header);
  const auto first = header.e_phoff + header.e_phnum * sizeof(Elf64_Phdr);
  refused(first, header.e_shoff);
  refused(first, 3 * std::uint64_t{4096});
  refused(sizeof header, first);
}

TEST_CASE("what is no fitting module is refused with the reason", "[e2e]") {
  const auto refused = [](const std::string& file) {
    const auto ran = run_callboard({"dev", "--listen", "127.0.0.1:0", "--load", file});
    CHECK(ran.status == 1);
    return ran.err;
  };
  CHECK_THAT(refused("/nowhere/libx.so"), Catch::Contains("cannot load /nowhere/libx.so"));
  CHECK_THAT(refused("/etc/hostname"), Catch::Contains("cannot load /etc/hostname"));
  CHECK_THAT(refused(CALLBOARD_KILL_AT_JOURNAL), Catch::Contains("is no callboard module"));
  CHECK_THAT(
      refused(CALLBOARD_STRANGE_MODULE),
      Catch::Contains(
          "was built with 'callboard 0, gcc 3', this node with 'callboard "
          + std::to_string(callboard::module_interface) + ", clang"));
  CHECK_THAT(refused(CALLBOARD_DEBUG_MODULE), Catch::Contains(", debug containers, boost"));
  const auto twice = run_callboard(
      {"dev",
       "--listen",
       "127.0.0.1:0",
       "--load",
       CALLBOARD_COUNTER_MODULE,
       "--load",
       CALLBOARD_COUNTER_MODULE});
  CHECK(twice.status == 1);
  CHECK_THAT(twice.err, Catch::Contains("registered twice"));
}
