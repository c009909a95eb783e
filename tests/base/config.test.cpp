#include "base/config.hpp"

#include "tests/support/catch.hpp"

using namespace callboard;

TEST_CASE("a config file changes what it names and nothing else", "[base][config]") {
  const auto parsed = parse_config(
      "[listen]\nport = 9000\nallowed_origins = [\"https://a.example\"]\n"
      "[storage]\nshard_count = 8\n[log]\nlevel = \"debug\"\n",
      "test.toml");
  REQUIRE(parsed);
  CHECK(parsed->listen.port == 9000);
  CHECK(parsed->listen.allowed_origins == std::vector<std::string>{"https://a.example"});
  CHECK(parsed->storage.shard_count == 8);
  CHECK(parsed->log.level == "debug");
  CHECK(parsed->limits.body_bytes_max == config{}.limits.body_bytes_max);
}

TEST_CASE("a wrong config is refused with file, line and key", "[base][config]") {
  const auto problem = [](std::string_view text) {
    const auto parsed = parse_config(text, "test.toml");
    REQUIRE_FALSE(parsed);
    CHECK(parsed.error().code == errc::invalid_setting);
    return parsed.error().detail;
  };
  CHECK_THAT(problem("[listen]\nprot = 1\n"), Catch::Contains("test.toml:2"));
  CHECK_THAT(problem("[listen]\nprot = 1\n"), Catch::Contains("did you mean listen.port"));
  CHECK_THAT(problem("[listen]\nport = 70000\n"), Catch::Contains("65535"));
  CHECK_THAT(problem("[listen]\nport = \"x\"\n"), Catch::Contains("whole number"));
  CHECK_THAT(problem("[storage]\nshard_count = 0\n"), Catch::Contains("storage.shard_count"));
  CHECK_THAT(problem("port = 1\n"), Catch::Contains("outside a section"));
  CHECK_THAT(problem("[listen\n"), Catch::Contains("test.toml"));
  CHECK_THAT(
      problem("[storage]\ndisk_soft_bytes = 1\ndisk_hard_bytes = 2\n"),
      Catch::Contains("disk_hard_bytes"));
}

TEST_CASE("--set takes every kind of value", "[base][config]") {
  config c;
  CHECK(set_setting(c, "listen.port=1234"));
  CHECK(c.listen.port == 1234);
  CHECK(set_setting(c, "auth.required=false"));
  CHECK_FALSE(c.auth.required);
  CHECK(set_setting(c, "listen.allowed_origins=https://a,https://b"));
  CHECK(c.listen.allowed_origins.size() == 2);
  CHECK_FALSE(set_setting(c, "listen.port"));
  CHECK(
      set_setting(c, "prt=1").error().detail
      == "setting prt: is not of the form section.key=value; the nearest known is listen.port");
  CHECK_FALSE(set_setting(c, "listen.port=abc"));
  CHECK_FALSE(set_setting(c, "listen.port=-1"));
  CHECK_FALSE(set_setting(c, "auth.required=yes"));
}

TEST_CASE("every setting is listed with default and meaning", "[base][config]") {
  const auto all = list_settings({});
  CHECK(all.size() > 60);
  for (const auto& setting : all) {
    CHECK(setting.value == setting.default_value);
    CHECK_FALSE(setting.meaning.empty());
  }
}

TEST_CASE("a config that is not UTF-8 is refused before it is parsed", "[base]") {
  const auto bad = parse_config("'\xfc'\xfc", "bad.toml");
  REQUIRE_FALSE(bad);
  CHECK(bad.error().code == errc::invalid_setting);
  CHECK_THAT(bad.error().detail, Catch::Contains("UTF-8"));
  CHECK(parse_config("[node]\nid = \"gr\xc3\xbc\xc3\x9f\"\n", "good.toml"));
}

TEST_CASE("what a run hands on at once fits into the queue of the journal", "[base][config]") {
  const auto refused = parse_config("[storage]\njournal_queue_bytes_max = 8388608\n", "test.toml");
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == errc::invalid_setting);
  CHECK_THAT(refused.error().detail, Catch::Contains("workflows.unread_bytes_max"));
  CHECK_THAT(refused.error().detail, Catch::Contains("storage.journal_queue_bytes_max (8388608)"));
  CHECK(parse_config(
      "[storage]\njournal_queue_bytes_max = 8388608\n[workflows]\nunread_bytes_max = 2097152\n",
      "test.toml"));
}

TEST_CASE("providers of models have a section each and an order", "[base][config]") {
  const auto parsed = parse_config(
      "[models]\norder = [\"spare\", \"main\"]\n[models.main]\nbase_url = "
      "\"https://a.example/v1\"\n"
      "api_key_env = \"MAIN_KEY\"\nconcurrency_max = 32\n"
      "[models.spare]\nbase_url = \"http://127.0.0.1:1/v1\"\n",
      "test.toml");
  REQUIRE(parsed);
  CHECK(parsed->models.order == std::vector<std::string>{"spare", "main"});
  REQUIRE(parsed->models.providers.size() == 2);
  CHECK(parsed->models.providers[0].name == "main");
  CHECK(parsed->models.providers[0].api_key_env == "MAIN_KEY");
  CHECK(parsed->models.providers[0].concurrency_max == 32);
  CHECK(parsed->models.providers[1].base_url == "http://127.0.0.1:1/v1");
  std::size_t changed = 0;
  for (const auto& setting : list_settings(*parsed)) {
    if (setting.value != setting.default_value) ++changed;
  }
  CHECK(changed == 5);

  config by_hand;
  CHECK(set_setting(by_hand, "models.main.base_url=http://127.0.0.1:1/v1"));
  CHECK(set_setting(by_hand, "models.order=main"));
  CHECK(check_config(by_hand));
  CHECK_FALSE(set_setting(by_hand, "models.Main.base_url=http://127.0.0.1:1/v1"));
}

TEST_CASE("wrong settings of models are refused with what to do", "[base][config]") {
  const auto problem = [](std::string_view text) {
    const auto parsed = parse_config(text, "test.toml");
    REQUIRE_FALSE(parsed);
    return parsed.error().detail;
  };
  constexpr auto url = "base_url = \"http://127.0.0.1:1/v1\"\n";
  const auto section = std::string{"[models.main]\n"} + url;
  const auto ordered = "[models]\norder = [\"main\"]\n" + section;
  CHECK(parse_config(ordered, "test.toml"));
  CHECK_THAT(problem(section), Catch::Contains("models.order"));
  CHECK_THAT(
      problem("[models]\norder = [\"other\"]\n" + section), Catch::Contains("[models.other]"));
  CHECK_THAT(
      problem("[models]\norder = [\"main\", \"main\"]\n" + section), Catch::Contains("twice"));
  CHECK_THAT(problem("[models]\norder = [\"main\"]\n[models.main]\n"), Catch::Contains("base_url"));
  CHECK_THAT(
      problem(ordered + "default_modl = \"x\"\n"), Catch::Contains("models.main.default_model"));
  CHECK_THAT(problem(ordered + "concurrency_max = 2\n"), Catch::Contains("concurrency_start"));
  CHECK_THAT(problem(ordered + "backoff_max_ms = 2\n"), Catch::Contains("backoff_min_ms"));
  CHECK_THAT(
      problem(ordered + "text_bytes_max = 16777216\n"),
      Catch::Contains("models.main.body_bytes_max"));
  CHECK_THAT(
      problem(ordered + "stream_bytes_max = 1000\n"),
      Catch::Contains("models.main.stream_bytes_max"));
  CHECK(parse_config(
      ordered + "text_bytes_max = 16777216\nbody_bytes_max = 67108864\n", "test.toml"));
  CHECK_THAT(problem("[models.\"a b\"]\n" + std::string{url}), Catch::Contains("a name is"));
}
