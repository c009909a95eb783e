// CloudEvents vectors: what is accepted, what is refused and why, and that every wire form of one
// event has the same bytes as the generated Protobuf code would write.
#include "gateway/event_codec.hpp"

#include "gateway/json_text.hpp"
#include "proto/event.pb.h"

#include "tests/support/catch.hpp"

using namespace callboard;
using namespace callboard::gateway;

namespace {

std::string event_with(const std::string& members) {
  return R"({"specversion":"1.0","id":"1","source":"/s","type":"t")"
         + (members.empty() ? "" : "," + members) + "}";
}

v1::Event parsed(const decoded_event& decoded) {
  v1::Event event;
  const auto bytes = runtime::event_proto(decoded.event.stored);
  REQUIRE(event.ParseFromArray(bytes.data(), static_cast<int>(bytes.size())));
  return event;
}

v1::Event accepted(const std::string& json, bool lenient = false) {
  auto decoded = decode_structured(json, {}, lenient);
  if (!decoded) FAIL(json << ": " << decoded.error().detail);
  return parsed(*decoded);
}

error refused(const std::string& json) {
  INFO(json);
  auto decoded = decode_structured(json, {});
  REQUIRE_FALSE(decoded.has_value());
  return decoded.error();
}

std::string rendered(const decoded_event& decoded) {
  std::string out;
  append_event_json(
      out, decoded.event.stored, time_ms{std::chrono::milliseconds{1'700'000'000'123}});
  return out;
}

std::string round_trip(const std::string& json) {
  auto decoded = decode_structured(json, {});
  if (!decoded) FAIL(json << ": " << decoded.error().detail);
  return rendered(*decoded);
}

}  // namespace

TEST_CASE("a structured event keeps all its attributes", "[gateway][codec]") {
  const auto event = accepted(
      R"({"specversion":"1.0","id":"a-1","source":"https://x.example/y?z#f","type":"com.x.y",)"
      R"("subject":"s é","time":"2024-02-29T23:59:60.5+01:30","datacontenttype":"application/json",)"
      R"("dataschema":"urn:schema:1","correlationid":"c","count":-7,"flag":true,"data":{"a":1}})");
  CHECK(event.id() == "a-1");
  CHECK(event.source() == "https://x.example/y?z#f");
  CHECK(event.type() == "com.x.y");
  CHECK(event.subject() == "s é");
  CHECK(event.time() == "2024-02-29T23:59:60.5+01:30");
  CHECK(event.datacontenttype() == "application/json");
  CHECK(event.dataschema() == "urn:schema:1");
  REQUIRE(event.extensions_size() == 3);
  CHECK(event.extensions(0).name() == "correlationid");
  CHECK(event.extensions(1).integer() == -7);
  CHECK(event.extensions(2).boolean());
  CHECK(event.json() == R"({"a":1})");
}

TEST_CASE("data keeps the client's own spelling", "[gateway][codec]") {
  const std::string vectors[] = {
      "1e400",
      "123456789012345678901234567890.000000000000000001",
      "-0.0",
      R"({"b":1,"a":2,"b":3})",
      R"("\u0000")",
      R"("\ud83d\ude00 😀 \u00e9")",
      R"(" spaces  stay ")",
      R"("a \" quote, a \\ and } ] , :")",
      "null",
      "true",
      "[]",
      R"([1,[2,{"x":"]"}]])",
  };
  for (const auto& data : vectors) {
    CHECK(accepted(event_with("\"data\":" + data)).json() == data);
  }
}

TEST_CASE("insignificant whitespace goes, in strings it stays", "[gateway][codec]") {
  const auto event = accepted(
      " {\n\t\"specversion\" : \"1.0\", \"id\":\"1\" ,\r\n\"source\":\"/s\",\"type\":\"t\",\n"
      "\"data\" : { \"a b\" :\t[ 1 , 2 ] ,\n\"c\": \" d \" } }\n");
  CHECK(event.json() == R"({"a b":[1,2],"c":" d "})");
}

TEST_CASE("text, binary and JSON data are told apart", "[gateway][codec]") {
  CHECK(accepted(event_with(R"("datacontenttype":"text/plain","data":"a\nb")")).text() == "a\nb");
  CHECK(
      accepted(event_with(R"("datacontenttype":"text/plain","data":{"a":1})")).json()
      == R"({"a":1})");
  CHECK(
      accepted(event_with(R"("datacontenttype":"application/vnd.x+json","data":"q")")).json()
      == R"("q")");
  CHECK(accepted(event_with(R"("data_base64":"AP8=")")).binary() == std::string("\0\xFF", 2));
  CHECK(accepted(event_with(R"("data_base64":null,"data":1)")).json() == "1");
  CHECK(accepted(event_with("")).data_case() == v1::Event::DATA_NOT_SET);
}

TEST_CASE("null attributes are the same as absent ones", "[gateway][codec]") {
  const auto event = accepted(event_with(R"("subject":null,"someext":null)"));
  CHECK(event.subject().empty());
  CHECK(event.extensions_size() == 0);
}

TEST_CASE("escaped keys name the same attributes", "[gateway][codec]") {
  CHECK(accepted(event_with(R"("sub\u006aect":"x")")).subject() == "x");
  CHECK(refused(event_with(R"("\u0069d":"2")")).code == errc::invalid_event);
}

TEST_CASE("broken events are refused with the attribute named", "[gateway][codec]") {
  const std::pair<std::string, std::string> vectors[] = {
      {R"({"specversion":"1.0","source":"/s","type":"t"})", "'id'"},
      {R"({"specversion":"1.0","id":"1","type":"t"})", "'source'"},
      {R"({"specversion":"1.0","id":"1","source":"/s"})", "'type'"},
      {R"({"id":"1","source":"/s","type":"t"})", "'specversion'"},
      {R"({"specversion":"0.3","id":"1","source":"/s","type":"t"})", "'specversion'"},
      {R"({"specversion":"1.0","id":"","source":"/s","type":"t"})", "'id'"},
      {R"({"specversion":"1.0","id":5,"source":"/s","type":"t"})", "'id'"},
      {R"({"specversion":"1.0","id":null,"source":"/s","type":"t"})", "'id'"},
      {R"({"specversion":"1.0","id":"1","source":"a b","type":"t"})", "'source'"},
      {R"({"specversion":"1.0","id":"1","source":"/%zz","type":"t"})", "'source'"},
      {R"({"specversion":"1.0","id":"1","source":"/ü","type":"t"})", "'source'"},
      {event_with(R"("id":"2")"), "'id' is there twice"},
      {event_with(R"("data":1,"data":2)"), "'data' is there twice"},
      {event_with(R"("abc":"1","abc":"2")"), "'abc' is there twice"},
      {event_with(R"("subject":"")"), "'subject'"},
      {event_with(R"("subject":"a\u0000b")"), "'subject'"},
      {event_with(R"("subject":"\ufffe")"), "'subject'"},
      {event_with(R"("subject":"\u0085")"), "'subject'"},
      {event_with(R"("time":"yesterday")"), "'time'"},
      {event_with(R"("time":"2023-02-29T00:00:00Z")"), "'time'"},
      {event_with(R"("time":"2023-01-01T24:00:00Z")"), "'time'"},
      {event_with(R"("time":"2023-01-01T00:00:00")"), "'time'"},
      {event_with(R"("time":"2023-01-01T00:00:00.Z")"), "'time'"},
      {event_with(R"("time":"2023-01-01T00:00:00+24:00")"), "'time'"},
      {event_with(R"("time":"2023-01-01T00:00:00Zx")"), "'time'"},
      {event_with(R"("dataschema":"relative/path")"), "'dataschema'"},
      {event_with(R"("datacontenttype":"json")"), "'datacontenttype'"},
      {event_with(R"("Upper":"1")"), "'Upper'"},
      {event_with(R"("with-dash":"1")"), "'with-dash'"},
      {event_with(R"("":"1")"), "''"},
      {event_with(R"("ext":{"a":1})"), "'ext'"},
      {event_with(R"("ext":[1])"), "'ext'"},
      {event_with(R"("ext":1.5)"), "'ext'"},
      {event_with(R"("ext":1e400)"), "'ext'"},
      {event_with(R"("ext":2147483648)"), "'ext'"},
      {event_with(R"("data":1,"data_base64":"AA==")"), "'data_base64'"},
      {event_with(R"("data_base64":"A")"), "'data_base64'"},
      {event_with(R"("data_base64":"AB==")"), "'data_base64'"},
      {event_with(R"("data_base64":5)"), "'data_base64'"},
      {"[]", "JSON object"},
      {"\"text\"", "JSON object"},
  };
  for (const auto& [json, named] : vectors) {
    const auto problem = refused(json);
    CHECK(problem.code == errc::invalid_event);
    CHECK_THAT(problem.detail, Catch::Contains(named));
  }
}

TEST_CASE("what is not JSON is refused with its place", "[gateway][codec]") {
  std::string deep = event_with("\"data\":" + std::string(100, '[') + std::string(100, ']'));
  const std::string vectors[] = {
      "",
      " ",
      "{",
      event_with(R"("data":01)"),
      event_with(R"("data":[1,])"),
      event_with(R"("data":NaN)"),
      event_with(R"("data":"\ud800")"),
      event_with(R"("data":"\udc00\ud800")"),
      event_with("\"data\":\"\xC0\xAF\""),
      event_with("\"data\":\"\xED\xA0\x80\""),
      event_with("\"data\":\"line\nbreak\""),
      event_with("") + " x",
      event_with("") + event_with(""),
      "/* comment */" + event_with(""),
      deep,
      event_with(std::string("\"data\":\"a\0b\"", 12)),
  };
  for (const auto& json : vectors) {
    const auto problem = refused(json);
    CHECK(problem.code == errc::invalid_json);
    CHECK_THAT(problem.detail, Catch::Contains("byte"));
  }
}

TEST_CASE("lenient events take their defaults", "[gateway][codec]") {
  event_defaults defaults{.type = "d.type", .source = "/d", .id = "given"};
  auto decoded = decode_structured(R"({"data":1})", defaults, true);
  REQUIRE(decoded.has_value());
  CHECK(decoded->id == "given");
  CHECK(parsed(*decoded).type() == "d.type");
  defaults.id.clear();
  const auto first = decode_structured("{}", defaults, true);
  const auto second = decode_structured("{}", defaults, true);
  CHECK(first->id.size() == 36);
  CHECK(first->id != second->id);
  CHECK_FALSE(decode_structured(R"({"specversion":"2.0"})", defaults, true).has_value());
}

TEST_CASE("the encoding is the one of the generated code", "[gateway][codec]") {
  auto decoded = decode_structured(
      event_with(R"("zz":"last","aa":-1,"bb":false,"time":"2023-01-01T00:00:00Z","data":[1])"), {});
  REQUIRE(decoded.has_value());
  const auto event = parsed(*decoded);
  CHECK(event.SerializeAsString() == runtime::event_proto(decoded->event.stored));
  auto again = encode_event(event, 1 << 20);
  REQUIRE(again.has_value());
  CHECK(again->event.stored == decoded->event.stored);
  CHECK(again->event.identity() == event_identity("/s", "1"));
}

TEST_CASE("member order and whitespace do not change the content hash", "[gateway][codec]") {
  const auto a = decode_structured(event_with(R"("ext":"1","data":[1, 2])"), {});
  const auto b = decode_structured(
      R"({"data":[1,2],"ext":"1","type":"t","source":"/s","id":"1","specversion":"1.0"})", {});
  const auto c = decode_structured(event_with(R"("ext":"1","data":[1,3])"), {});
  CHECK(a->event.content() == b->event.content());
  CHECK(a->event.content() != c->event.content());
  CHECK(a->event.identity() == c->event.identity());
}

TEST_CASE("a too large event is refused", "[gateway][codec]") {
  event_defaults defaults{.event_bytes_max = 100};
  auto decoded =
      decode_structured(event_with("\"data\":\"" + std::string(100, 'x') + '"'), defaults);
  REQUIRE_FALSE(decoded.has_value());
  CHECK(decoded.error().code == errc::too_large);
}

TEST_CASE("a batch shares one buffer and names the event that is broken", "[gateway][codec]") {
  auto batch = decode_batch("[" + event_with("") + ", " + event_with(R"("data":2)") + "]", {}, 10);
  REQUIRE(batch.has_value());
  REQUIRE(batch->size() == 2);
  CHECK(parsed((*batch)[1]).json() == "2");
  CHECK((*batch)[0].event.stored.view().end() == (*batch)[1].event.stored.view().begin());

  const auto broken = decode_batch("[" + event_with("") + ",{}]", {}, 10);
  REQUIRE_FALSE(broken.has_value());
  CHECK_THAT(broken.error().detail, Catch::Contains("event 1 of the batch"));
  CHECK(decode_batch("[]", {}, 10).error().code == errc::invalid_event);
  CHECK(decode_batch("{}", {}, 10).error().code == errc::invalid_event);
  CHECK(
      decode_batch("[" + event_with("") + "," + event_with("") + "]", {}, 1).error().code
      == errc::too_large);
}

TEST_CASE("binary mode reads attributes from headers", "[gateway][codec]") {
  const std::vector<std::pair<std::string, std::string>> headers = {
      {"host", "x"},
      {"ce-specversion", "1.0"},
      {"ce-id", "\"quoted\\\"id\""},
      {"ce-source", "/s"},
      {"ce-type", "t"},
      {"ce-subject", "Euro%20%E2%82%AC%20%f0%9f%98%80"},
      {"ce-count", "12"}};
  auto decoded = decode_binary(headers, "application/json; charset=utf-8", " {\"a\": 1}", {});
  if (!decoded) FAIL(decoded.error().detail);
  const auto event = parsed(*decoded);
  CHECK(event.id() == "quoted\"id");
  CHECK(event.subject() == "Euro € 😀");
  CHECK(event.json() == R"({"a":1})");
  CHECK(event.datacontenttype() == "application/json; charset=utf-8");
  CHECK(event.extensions(0).text() == "12");
  CHECK(parsed(*decode_binary(headers, "text/plain", "hi", {})).text() == "hi");
  CHECK(parsed(*decode_binary(headers, "text/plain", "\xFF", {})).binary() == "\xFF");
  CHECK(parsed(*decode_binary(headers, "application/octet-stream", "hi", {})).binary() == "hi");
  CHECK(decode_binary(headers, "application/json", "{", {}).error().code == errc::invalid_json);
}

TEST_CASE("broken headers of binary mode are refused", "[gateway][codec]") {
  const std::pair<std::string, std::string> vectors[] = {
      {"ce-datacontenttype", "text/plain"},
      {"ce-subject", "%E2%82"},
      {"ce-subject", "%C0%80"},
      {"ce-subject", "%2"},
      {"ce-subject", "%zz"},
      {"ce-subject", "%0A"},
      {"ce-subject", ""},
      {"ce-id", "again"},
      {"ce-with-dash", "1"},
      {"ce-data", "1"},
      {"ce-", "1"},
  };
  for (const auto& extra : vectors) {
    std::vector<std::pair<std::string, std::string>> headers = {
        {"ce-specversion", "1.0"}, {"ce-id", "1"}, {"ce-source", "/s"}, {"ce-type", "t"}};
    headers.push_back(extra);
    INFO(extra.first << ": " << extra.second);
    const auto decoded = decode_binary(headers, "", "", {});
    REQUIRE_FALSE(decoded.has_value());
    CHECK(decoded.error().code == errc::invalid_event);
  }
  CHECK(decode_binary({{"ce-id", "1"}}, "", "", {}).error().code == errc::invalid_event);
}

TEST_CASE("plain JSON becomes data", "[gateway][codec]") {
  auto decoded = decode_plain(" [1, 2] ", {.type = "x", .source = "/y", .id = "k"});
  REQUIRE(decoded.has_value());
  const auto event = parsed(*decoded);
  CHECK(event.json() == "[1,2]");
  CHECK(event.type() == "x");
  CHECK(event.id() == "k");
  CHECK(decode_plain("nope", {}).error().code == errc::invalid_json);
  CHECK(decode_plain("1", {.source = "a b"}).error().code == errc::invalid_event);
}

TEST_CASE("stored events are rendered as they came", "[gateway][codec]") {
  const auto json =
      R"({"specversion":"1.0","id":"1","source":"/s","type":"t","subject":"q\"\\é",)"
      R"("time":"2023-01-01T00:00:00Z","abc":true,"n":-5,"data":{"x":[1e400,"\u0000"]}})";
  CHECK(round_trip(json) == json);
  CHECK(
      round_trip(event_with(R"("datacontenttype":"text/plain","data":"a\r\nb\u2028")"))
      == R"({"specversion":"1.0","id":"1","source":"/s","type":"t","time":"2023-11-14T22:13:20.123Z",)"
         R"("datacontenttype":"text/plain","data":"a\r\nb)"
         "\u2028\"}");
  CHECK_THAT(
      round_trip(event_with(R"("data_base64":"AP8=")")),
      Catch::Contains(R"("data_base64":"AP8=")"));
}

TEST_CASE("a rendered event is valid and means the same", "[gateway][codec]") {
  auto decoded = decode_structured(
      event_with("\"subject\":\"tab here\",\"data\":\"line\\nbreak\\u2029\",\"e\":\"\\\"\""), {});
  REQUIRE(decoded.has_value());
  const auto text = rendered(*decoded);
  CHECK(text.find_first_of("\r\n") == std::string::npos);
  auto again = decode_structured(text, {});
  REQUIRE(again.has_value());
  auto with_time = parsed(*again);
  with_time.clear_time();
  CHECK(with_time.SerializeAsString() == runtime::event_proto(decoded->event.stored));
  CHECK(event_type(decoded->event.stored) == "t");
}

TEST_CASE("an event given as Protobuf obeys the same rules", "[gateway][codec]") {
  v1::Event event;
  event.set_id("1");
  event.set_source("/s");
  event.set_type("t");
  event.set_json(" {\"a\": 1} ");
  CHECK(parsed(*encode_event(event, 1000)).json() == R"({"a":1})");
  event.set_json("{");
  CHECK(encode_event(event, 1000).error().code == errc::invalid_json);
  event.clear_data();
  CHECK(encode_event(event, 1000).has_value());
  event.add_extensions()->set_name("novalue");
  CHECK(encode_event(event, 1000).error().code == errc::invalid_event);
  event.mutable_extensions(0)->set_text("\x01");
  CHECK(encode_event(event, 1000).error().code == errc::invalid_event);
  event.clear_extensions();
  event.set_subject("\xFF");
  CHECK(encode_event(event, 1000).error().code == errc::invalid_event);
}

TEST_CASE("a topic that is said beside an event replaces what the event says", "[gateway][codec]") {
  auto decoded = decode_structured(
      R"({"specversion":"1.0","id":"a","source":"/s","type":"t","callboardtopic":"b","x":"y"})",
      {});
  REQUIRE(decoded);
  std::string out;
  append_event_json(out, decoded->event.stored, time_ms{}, "a.b");
  CHECK(out.contains(R"("callboardtopic":"a.b","x":"y")"));
  CHECK_FALSE(out.contains(R"("callboardtopic":"b")"));
  CHECK(rendered(*decoded).contains(R"("callboardtopic":"b","x":"y")"));
}
