// callboard.v1.Event from any bytes: the reader without copies sees what the generated code sees,
// and what is accepted is encoded as the generated code would.
#include "gateway/event_codec.hpp"
#include "gateway/event_fields.hpp"
#include "proto/event.pb.h"

#include <cstddef>
#include <cstdint>
#include <cstdlib>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace callboard;
  const std::string_view bytes{reinterpret_cast<const char*>(data), size};
  gateway::event_fields fields;
  (void)gateway::read_event_proto(bytes, fields);
  v1::Event event;
  if (!event.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) return 0;
  const auto encoded = gateway::encode_event(event, 1 << 20);
  if (!encoded) return 0;
  const auto proto = runtime::event_proto(encoded->event.stored);
  v1::Event again;
  if (!again.ParseFromArray(proto.data(), static_cast<int>(proto.size()))) std::abort();
  if (again.SerializeAsString() != proto) std::abort();
  if (again.id() != event.id() || again.source() != event.source()) std::abort();
  if (again.extensions_size() != event.extensions_size()) std::abort();
  if (!gateway::read_event_proto(proto, fields) || fields.id != event.id()) std::abort();
  std::string rendered;
  gateway::append_event_json(rendered, encoded->event.stored, time_ms{});
  gateway::event_defaults defaults;
  defaults.event_bytes_max = 8U << 20;
  const auto back = gateway::decode_structured(rendered, defaults);
  if (!back || back->event.identity() != encoded->event.identity()) std::abort();
  return 0;
}
