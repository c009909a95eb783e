// The program as its users meet it: exit codes, help, tables, JSON lines.
#include "base/config.hpp"
#include "cli/run.hpp"

#include "tests/cli/tiny_server.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/temp_dir.hpp"

#include <array>
#include <filesystem>
#include <fstream>
#include <sstream>

using namespace callboard;
using testing::json_response;
using testing::tiny_connection;
using testing::tiny_server;

namespace {

struct outcome {
  int code = -1;
  std::string out;
  std::string err;
};

constexpr auto families = std::to_array<cli::family>(
    {cli::add_publish,
     cli::add_subscribe,
     cli::add_topic,
     cli::add_group,
     cli::add_binding,
     cli::add_queue,
     cli::add_presence,
     cli::add_workflow,
     cli::add_doctor,
     cli::add_config,
     cli::add_completion});

outcome call(std::vector<std::string> words, const std::string& input = {}) {
  words.insert(words.begin(), "callboard");
  std::vector<const char*> arguments;
  for (const auto& word : words)
    arguments.push_back(word.c_str());
  std::istringstream in{input};
  std::ostringstream out;
  std::ostringstream err;
  const cli::streams io{.in = in, .out = out, .err = err};
  const int code = cli::run(arguments, io, families);
  return {code, out.str(), err.str()};
}

/// Answers every request with the same, and keeps what was asked.
struct fixed_answer {
  explicit fixed_answer(std::string response)
      : server{[this, response = std::move(response)](tiny_connection& c) {
          for (auto head = c.read_head(); !head.empty(); head = c.read_head()) {
            const auto at = head.find("Content-Length: ");
            const auto size = at == std::string::npos ? 0 : std::stoul(head.substr(at + 16));
            requests.push_back(head + c.read(size));
            c.write(response);
          }
        }} {}

  std::vector<std::string> requests;
  tiny_server server;
};

std::string file_with(const testing::temp_dir& folder, const std::string& text) {
  const auto path = (folder.path() / "settings.toml").string();
  std::ofstream{path} << text;
  return path;
}

}  // namespace

TEST_CASE("wrong usage exits with 2 and says why", "[cli]") {
  for (const auto& words : std::vector<std::vector<std::string>>{
           {},
           {"dance"},
           {"topic"},
           {"topic", "show"},
           {"topic", "list", "--limit", "no"},
           {"topic", "list", "--output", "xml"},
           {"topic", "create", "a", "--kind", "soft"},
           {"workflow", "start"},
           {"workflow", "start", "order", "not json"},
           {"workflow", "start", "order", "--text"},
           {"workflow", "signal", "o1"},
           {"workflow", "signal", "o1", "approve", "{"},
           {"workflow", "list", "--status", "continued"},
           {"workflow", "result", "o1", "--wait-ms", "60001"},
           {"publish"},
           {"publish", "a", "not json"},
           {"publish", "a", "1", "--expected-seq", "18446744073709551616"},
           {"subscribe", "a", "--limit", "-1"},
           {"subscribe", "a", "--limit", "010"},
           {"queue", "push", "q"},
           {"queue", "push", "q", "1", "--priority", "urgent"},
           {"queue", "push", "q", "1", "--delay-ms", "99999999999999999999"},
           {"queue", "task", "q", "18446744073709551616"},
           {"queue", "redrive", "q", "1", "18446744073709551616"},
           {"binding", "edit", "a", "b", "18446744073709551616", "{}"},
           {"workflow", "skip", "o1", "0"},
           {"workflow", "resolve", "o1", "0"},
           {"workflow", "resolve", "o1", "1", "--error", "e", "--class", "bad"},
           {"subscribe", "a", "--slow", "never"},
           {"topic", "list", "--server", "localhost"},
           {"completion", "tcsh"}}) {
    const auto done = call(words);
    INFO(done.err);
    CHECK(done.code == 2);
    CHECK_FALSE(done.err.empty());
    CHECK(done.out.empty());
  }
}

TEST_CASE("wrong usage names the word and where to look", "[cli]") {
  const auto says = [](const std::vector<std::string>& words) { return call(words).err; };
  CHECK(
      says({"nonsense"})
      == "callboard: 'nonsense' is no command of `callboard`; `callboard --help` lists them\n");
  CHECK(
      says({"queue", "nonsense", "q"})
      == "callboard: 'nonsense' is no command of `callboard queue`; `callboard queue --help` lists "
         "them\n");
  CHECK_THAT(says({"--nonsense"}), Catch::Contains("'--nonsense' is no option of `callboard`"));
  CHECK_THAT(says({"queue"}), Catch::Contains("`callboard queue` needs a command; "));
  CHECK_THAT(
      says({"queue", "list", "more", "--no", "3"}), Catch::Contains("not expected: more --no 3;"));
  CHECK_THAT(says({"topic", "show"}), Catch::Contains("`callboard topic show --help`"));
  for (const auto& words : std::vector<std::vector<std::string>>{
           {"topic", "list", "--limit", "0"},
           {"topic", "list", "--limit", "99999999999"},
           {"workflow", "list", "--limit", "-1"},
           {"queue", "set", "q", "--lease-ms", "99999999999"}}) {
    const auto said = says(words);
    CHECK_THAT(said, Catch::Contains(words[words.size() - 2]) && Catch::Contains(words.back()));
    CHECK(said.size() < 150);
  }
}

TEST_CASE("wrong usage says what would be right", "[cli]") {
  const auto says = [](const std::vector<std::string>& words) { return call(words).err; };
  CHECK_THAT(
      says({"queue", "push", "q", "1", "--priority", "urgent"}),
      Catch::Contains("control") && Catch::Contains("interactive") && Catch::Contains("normal")
          && Catch::Contains("bulk"));
  CHECK_THAT(
      says({"queue", "task", "q", "18446744073709551616"}),
      Catch::Contains("between 0 and 18446744073709551615"));
  CHECK_THAT(says({"workflow", "skip", "o1", "0"}), Catch::Contains("`workflow explain`"));
}

TEST_CASE("the highest number is one", "[cli]") {
  fixed_answer with{json_response("{}")};
  CHECK(
      call({"queue", "task", "q", "18446744073709551615", "--server", with.server.url()}).code
      == 0);
  REQUIRE(with.requests.size() == 1);
  CHECK_THAT(with.requests[0], Catch::Contains("/tasks/18446744073709551615 "));
}

TEST_CASE("with --output json what went wrong is an object, for every command", "[cli]") {
  fixed_answer with{json_response(
      R"({"code":"overloaded","detail":"too \"much\"","retry_after_ms":50})",
      "429 Too Many Requests")};
  const auto fails = [&](std::vector<std::string> words, const std::string& server) {
    words.insert(words.end(), {"--server", server, "--output", "json"});
    return call(words, "{}\n").err;
  };
  for (const auto& words : std::vector<std::vector<std::string>>{
           {"topic", "list"},
           {"group", "fetch", "a", "g"},
           {"binding", "redrive", "a", "b"},
           {"queue", "complete", "l"},
           {"workflow", "result", "o1"},
           {"publish", "a", "1"}}) {
    INFO(words[0]);
    CHECK(
        fails(words, with.server.url())
        == R"({"code":"overloaded","detail":"too \"much\"","status":429,"retry_after_ms":50})"
           "\n");
    CHECK(fails(words, "http://127.0.0.1:1").starts_with(R"({"code":"unreachable","detail":")"));
    CHECK(fails(words, "nowhere").starts_with(R"({"code":"bad_request","detail":")"));
  }
  CHECK(fails({"publish", "a"}, "http://127.0.0.1:1").starts_with(R"({"code":"unreachable",)"));
  CHECK(fails({"subscribe", "a"}, "http://127.0.0.1:1").starts_with(R"({"code":"unreachable",)"));
  CHECK(
      call({"--output", "json", "nonsense"}).err
      == R"({"code":"bad_request","detail":"'nonsense' is no command of `callboard`; )"
         R"(`callboard --help` lists them"})"
         "\n");
  CHECK(call({"topic", "--output=json"}).err.starts_with(R"({"code":"bad_request",)"));
}

TEST_CASE("every command's help shows an example and exits with 0", "[cli]") {
  const std::vector<std::vector<std::string>> commands{
      {},
      {"publish"},
      {"subscribe"},
      {"topic"},
      {"topic", "list"},
      {"topic", "show"},
      {"topic", "create"},
      {"topic", "set"},
      {"topic", "delete"},
      {"group"},
      {"group", "list"},
      {"group", "show"},
      {"group", "create"},
      {"group", "set"},
      {"group", "delete"},
      {"group", "fetch"},
      {"group", "ack"},
      {"group", "nack"},
      {"binding"},
      {"binding", "list"},
      {"binding", "show"},
      {"binding", "put"},
      {"binding", "delete"},
      {"binding", "dead"},
      {"binding", "redrive"},
      {"binding", "abandon"},
      {"binding", "edit"},
      {"queue"},
      {"queue", "list"},
      {"queue", "show"},
      {"queue", "set"},
      {"queue", "delete"},
      {"queue", "push"},
      {"queue", "task"},
      {"queue", "lease"},
      {"queue", "complete"},
      {"queue", "fail"},
      {"queue", "extend"},
      {"queue", "cancel"},
      {"queue", "purge"},
      {"queue", "dead"},
      {"queue", "redrive"},
      {"queue", "abandon"},
      {"queue", "edit"},
      {"presence"},
      {"presence", "show"},
      {"workflow"},
      {"workflow", "start"},
      {"workflow", "show"},
      {"workflow", "list"},
      {"workflow", "result"},
      {"workflow", "signal"},
      {"workflow", "cancel"},
      {"workflow", "history"},
      {"config"},
      {"config", "check"},
      {"config", "show"},
      {"doctor"},
      {"completion"}};
  for (auto words : commands) {
    words.emplace_back("--help");
    const auto done = call(words);
    INFO(done.out);
    CHECK(done.code == 0);
    CHECK_THAT(done.out, Catch::Contains("Example:\n  "));
  }
  CHECK(call({"--version"}).out.starts_with("callboard "));
}

TEST_CASE("an absent server exits with 3, for every command that needs one", "[cli]") {
  const std::vector<std::vector<std::string>> commands{
      {"topic", "list"},
      {"topic", "show", "a"},
      {"topic", "set", "a"},
      {"group", "list", "a"},
      {"group", "fetch", "a", "g"},
      {"binding", "list", "a"},
      {"binding", "redrive", "a", "b"},
      {"queue", "list"},
      {"queue", "lease", "q"},
      {"queue", "complete", "l"},
      {"presence", "show", "a"},
      {"workflow", "start", "order"},
      {"workflow", "list"},
      {"workflow", "result", "o1", "--wait-ms", "5"},
      {"publish", "a", "1"},
      {"publish", "a"},
      {"subscribe", "a"},
      {"subscribe", "a", "--sse"},
      {"doctor"}};
  for (auto words : commands) {
    words.insert(words.end(), {"--server", "http://127.0.0.1:1"});
    const auto done = call(words, "{}\n");
    INFO(words[0] << ": " << done.err);
    CHECK(done.code == 3);
  }
}

TEST_CASE("a refusal exits with 1 and names the code", "[cli]") {
  fixed_answer with{
      json_response(R"({"code":"topic_not_found","detail":"no topic b"})", "404 Not Found")};
  const auto done = call({"topic", "show", "b", "--server", with.server.url()});
  CHECK(done.code == 1);
  CHECK_THAT(done.err, Catch::Contains("topic_not_found: no topic b"));
  CHECK(done.out.empty());
}

TEST_CASE("topics are listed as an aligned table, or as the JSON that came", "[cli]") {
  const std::string topic =
      R"({"topic":"orders","epoch":"1.1","kind":"durable","lane":"bulk","first_seq":1,)"
      R"("last_seq":12345,"events":12345,"bytes":9})";
  fixed_answer with{json_response(R"({"topics":[)" + topic + R"(],"next_after":""})")};
  const auto done = call({"topic", "list", "--server", with.server.url(), "--tenant", "acme"});
  CHECK(done.code == 0);
  CHECK(
      done.out
      == "TOPIC   KIND     LANE  FIRST   LAST  EVENTS  BYTES  EPOCH\n"
         "orders  durable  bulk      1  12345   12345      9    1.1\n");
  REQUIRE(with.requests.size() == 1);
  CHECK_THAT(with.requests[0], Catch::Contains("GET /v1/tenants/acme/topics?limit=1000 "));
  const auto json = call({"topic", "list", "--server", with.server.url(), "--output", "json"});
  CHECK(json.out == R"({"topics":[)" + topic + "]}\n");
}

TEST_CASE("lists of groups and bindings show what retention took from them", "[cli]") {
  const std::string counts =
      R"("last_seq":9,"lag":2,"in_flight":1,"parked":0,"dead_lettered":3,"missed":4,"members":5)";
  fixed_answer groups{
      json_response(R"({"groups":[{"group":"billing","floor":7,)" + counts + "}]}")};
  CHECK(
      call({"group", "list", "a", "--server", groups.server.url()}).out
      == "GROUP    FLOOR  LAST  LAG  IN FLIGHT  PARKED  DEAD  MISSED  MEMBERS\n"
         "billing      7     9    2          1       0     3       4        5\n");
  fixed_answer bindings{json_response(
      R"({"bindings":[{"binding":"start","filter":{"type":"t","subject":"s"},"position":7,"dead":2,)"
      + counts + "}]}")};
  CHECK(
      call({"binding", "list", "a", "--server", bindings.server.url()}).out
      == "BINDING  TYPE  SUBJECT  POSITION  LAG  IN FLIGHT  DEAD  EVER DEAD  MISSED\n"
         "start    t     s               7    2          1     2          3       4\n");
}

TEST_CASE("pages of a list are followed to the end", "[cli]") {
  int page = 0;
  tiny_server server{[&](tiny_connection& c) {
    for (auto head = c.read_head(); !head.empty(); head = c.read_head()) {
      CHECK(head.contains("after=a") == (page != 0));
      c.write(json_response(
          page++ == 0 ? R"({"topics":[{"topic":"a"}],"next_after":"a"})"
                      : R"({"topics":[{"topic":"b"}],"next_after":""})"));
    }
  }};
  const auto done = call({"topic", "list", "--server", server.url(), "--output", "json"});
  CHECK(done.out == "{\"topics\":[{\"topic\":\"a\"},{\"topic\":\"b\"}]}\n");
}

TEST_CASE("settings of a topic become the body of PUT", "[cli]") {
  fixed_answer with{json_response(R"({"topic":"a","retention":{"max_events":5}})")};
  const auto done = call(
      {"topic",
       "create",
       "a",
       "--max-events",
       "5",
       "--lane",
       "bulk",
       "--hold-for-groups",
       "true",
       "--server",
       with.server.url()});
  INFO(done.err);
  CHECK(done.code == 0);
  CHECK_THAT(done.out, Catch::Contains("retention.max_events  5\n"));
  REQUIRE(with.requests.size() == 1);
  CHECK_THAT(with.requests[0], Catch::StartsWith("PUT /v1/tenants/default/topics/a "));
  CHECK_THAT(
      with.requests[0],
      Catch::EndsWith(R"({"lane":"bulk","retention":{"max_events":5},"hold_for_groups":true})"));
}

TEST_CASE("one event is published with its attributes, a CloudEvent as it is", "[cli]") {
  fixed_answer with{json_response(R"({"topic":"a","seq":1})")};
  const auto url = with.server.url();
  CHECK(
      call({"publish",
            "a",
            "{\"n\":1}",
            "--type",
            "t 1",
            "--id",
            "i",
            "--expected-seq",
            "0",
            "--durability",
            "written",
            "--server",
            url})
          .out
      == "{\"topic\":\"a\",\"seq\":1}\n");
  CHECK(call({"publish", "a", R"({"specversion":"1.0","id":"x"})", "--server", url}).code == 0);
  CHECK(call({"publish", "a", "hello", "--text", "--server", url}).code == 0);
  REQUIRE(with.requests.size() == 3);
  CHECK_THAT(
      with.requests[0],
      Catch::StartsWith("POST /v1/tenants/default/topics/a/events?type=t%201&source="
                        "%2Fcallboard%2Fcli&durability=written "));
  CHECK_THAT(with.requests[0], Catch::Contains("Idempotency-Key: i\r\n"));
  CHECK_THAT(with.requests[0], Catch::Contains("Callboard-Expected-Seq: 0\r\n"));
  CHECK_THAT(with.requests[1], Catch::Contains("Content-Type: application/cloudevents+json\r\n"));
  CHECK_THAT(with.requests[2], Catch::EndsWith("\r\n\r\n\"hello\""));
}

TEST_CASE("deliveries are printed and acked", "[cli]") {
  fixed_answer with{json_response(
      R"({"epoch":"1","deliveries":[{"delivery":"t1","seq":1},{"delivery":"t2","seq":2}]})")};
  const auto done = call({"group", "fetch", "a", "g", "--ack", "--server", with.server.url()});
  CHECK(done.code == 0);
  CHECK(done.out == "{\"delivery\":\"t1\",\"seq\":1}\n{\"delivery\":\"t2\",\"seq\":2}\n");
  REQUIRE(with.requests.size() == 2);
  CHECK_THAT(with.requests[1], Catch::Contains("/topics/a/groups/g/ack "));
  CHECK_THAT(with.requests[1], Catch::EndsWith(R"({"deliveries":["t1","t2"]})"));
}

TEST_CASE("flags of a binding become its rule", "[cli]") {
  fixed_answer with{json_response(R"({"binding":"b","filter":{"type":"order.*"}})")};
  const auto put = [&](std::vector<std::string> flags) {
    flags.insert(flags.begin(), {"binding", "put", "orders", "b", "--server", with.server.url()});
    const auto done = call(std::move(flags));
    INFO(done.err);
    return done.code;
  };
  CHECK(
      put(
          {"--type",
           "order.*",
           "--workflow",
           "order",
           "--id",
           "o-{data.id}",
           "--whole-event",
           "--from",
           "first"})
      == 0);
  CHECK(put({"--subject", "s", "--signal", "approved", "--id", "o-{id}"}) == 0);
  CHECK(put({"--agent", "desk", "--key", "{subject}", "--message", "add"}) == 0);
  CHECK(put({"--queue", "llm", "--priority", "bulk"}) == 0);
  REQUIRE(with.requests.size() == 4);
  CHECK_THAT(
      with.requests[0], Catch::StartsWith("PUT /v1/tenants/default/topics/orders/bindings/b "));
  CHECK_THAT(
      with.requests[0],
      Catch::EndsWith(
          R"({"filter":{"type":"order.*"},"target":{"workflow":{"type":"order","id":"o-{data.id}",)"
          R"("input":"event"}},"from":"first"})"));
  CHECK_THAT(
      with.requests[1],
      Catch::EndsWith(
          R"({"filter":{"subject":"s"},"target":{"signal":{"workflow":"o-{id}","name":"approved"}}})"));
  CHECK_THAT(
      with.requests[2],
      Catch::EndsWith(
          R"({"filter":{},"target":{"agent":{"type":"desk","key":"{subject}","message":"add"}}})"));
  CHECK_THAT(
      with.requests[3],
      Catch::EndsWith(R"({"filter":{},"target":{"queue":{"queue":"llm","priority":"bulk"}}})"));
  // Two targets, none, or half of one.
  CHECK(put({"--workflow", "order", "--queue", "llm"}) == 2);
  CHECK(put({"--type", "order.*"}) == 2);
  CHECK(put({"--signal", "approved"}) == 2);
  CHECK(put({"--agent", "desk", "--key", "k"}) == 2);
}

TEST_CASE("a sound settings file is shown by what it changes", "[cli]") {
  const testing::temp_dir folder;
  const auto file = file_with(folder, "[listen]\nport = 9000\n");
  const auto done = call({"config", "check", file});
  INFO(done.err);
  CHECK(done.code == 0);
  CHECK_THAT(done.out, Catch::Contains("is sound"));
  CHECK_THAT(done.out, Catch::Contains("listen.port"));
  CHECK_THAT(done.out, !Catch::Contains("storage.shard_count"));
}

TEST_CASE("a settings file that is sound and most likely not meant is warned of", "[cli]") {
  const testing::temp_dir folder;
  const std::string first = "[models]\norder = [\"main\", \"spare\"]\n[models.main]\n"
                            "base_url = \"http://127.0.0.1:1\"\n[models.spare]\n"
                            "base_url = \"http://127.0.0.1:2\"\n";
  const auto doubtful = call({"config", "check", file_with(folder, first)});
  CHECK(doubtful.code == 0);
  CHECK_THAT(doubtful.err, Catch::StartsWith("warning: models.spare.default_model is empty"));
  const auto clear =
      call({"config", "check", file_with(folder, first + "default_model = \"small\"\n")});
  CHECK(clear.code == 0);
  CHECK(clear.err.empty());
}

TEST_CASE("a broken settings file exits with 1 and names the place", "[cli]") {
  const testing::temp_dir folder;
  const auto unknown = call({"config", "check", file_with(folder, "[listen]\nprot = 9000\n")});
  CHECK(unknown.code == 1);
  CHECK_THAT(unknown.err, Catch::Contains("listen.prot") && Catch::Contains("listen.port"));
  const auto relation = call(
      {"config",
       "check",
       file_with(folder, "[storage]\ndisk_hard_bytes = 10\ndisk_soft_bytes = 5\n")});
  CHECK(relation.code == 1);
  CHECK_THAT(relation.err, Catch::Contains("disk_hard_bytes"));
  CHECK(call({"config", "check", "/no/such/file"}).code == 1);
}

TEST_CASE("every setting is listed, also as Markdown and JSON", "[cli]") {
  const auto settings = list_settings(config{});
  const auto rows = call({"config", "show"}).out;
  const auto markdown = call({"config", "show", "--markdown"}).out;
  const auto json = call({"config", "show", "--output", "json"}).out;
  for (const auto& s : settings) {
    INFO(s.key);
    CHECK(rows.contains(s.key));
    CHECK(markdown.contains("| `" + s.key.substr(s.key.find('.') + 1) + "` |"));
    CHECK(json.contains("\"key\":\"" + s.key + "\""));
  }
  CHECK_THAT(markdown, Catch::Contains("## [storage]"));
}

TEST_CASE("docs/configuration.md lists the settings as they are", "[cli]") {
  std::ifstream file{CALLBOARD_SOURCE_DIR "/docs/configuration.md"};
  std::ostringstream text;
  text << file.rdbuf();
  INFO("after a change: callboard config show --markdown >docs/configuration.md");
  CHECK(text.str() == call({"config", "show", "--markdown"}).out);
}

TEST_CASE("the settings files that come with the program are sound", "[cli]") {
  int count = 0;
  for (const auto& entry : std::filesystem::directory_iterator{CALLBOARD_SOURCE_DIR "/config"}) {
    if (entry.path().extension() != ".toml") continue;
    const auto done = call({"config", "check", entry.path().string()});
    INFO(entry.path() << ": " << done.err);
    CHECK(done.code == 0);
    ++count;
  }
  CHECK(count > 0);
}

TEST_CASE("completion scripts know every command and option", "[cli]") {
  for (const auto* shell : {"bash", "zsh", "fish"}) {
    const auto done = call({"completion", shell});
    INFO(shell);
    CHECK(done.code == 0);
    for (const auto* word : {"subscribe", "nack", "max-events", "server", "completion"}) {
      INFO(word);
      CHECK(done.out.contains(word));
    }
  }
}

TEST_CASE("doctor tells what is wrong and what is not", "[cli]") {
  tiny_server server{[](tiny_connection& c) {
    for (auto head = c.read_head(); !head.empty(); head = c.read_head()) {
      if (head.starts_with("GET /readyz")) {
        c.write(json_response(R"({"code":"draining","detail":"shutting down"})", "503 No"));
      } else if (head.starts_with("GET /v1/cluster")) {
        c.write(json_response(
            R"({"nodes":[{"id":"n1","shards":4,"quarantined":1,"disk_free_bytes":2048}]})"));
      } else {
        c.write(json_response("{}"));
      }
    }
  }};
  const auto done = call({"doctor", "--server", server.url()});
  CHECK(done.code == 1);
  CHECK_THAT(done.out, Catch::Contains("reachable"));
  CHECK_THAT(done.out, Catch::Contains("shutting down"));
  CHECK_THAT(done.out, Catch::Contains("1 of 4 quarantined"));
  CHECK_THAT(done.out, Catch::Contains("2.0 KiB free"));
}
