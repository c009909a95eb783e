#include "gateway/ws_protocol.hpp"

#include "gateway/cloudevents_protocol.hpp"
#include "gateway/json_protocol.hpp"
#include "gateway/proto_protocol.hpp"

namespace callboard::gateway {

const ws_protocol& ws_protocol::of(ws_protocol_id id) {
  static const json_protocol json;
  static const proto_protocol proto;
  static const cloudevents_protocol cloudevents;
  switch (id) {
  case ws_protocol_id::proto:
    return proto;
  case ws_protocol_id::cloudevents:
    return cloudevents;
  case ws_protocol_id::json:
    break;
  }
  return json;
}

}  // namespace callboard::gateway
