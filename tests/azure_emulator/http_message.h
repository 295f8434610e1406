#ifndef TESTS_AZURE_EMULATOR_HTTP_MESSAGE_H_
#define TESTS_AZURE_EMULATOR_HTTP_MESSAGE_H_

#include <string>

#include "tests/azure_emulator/message.h"

namespace failover::emulator {

// HTTP/1.1 on the wire, bounded: 64 KiB of headers, `max_body` of body.
enum class Parsed { kNeedMore, kDone, kBad, kTooLarge };

struct IncomingRequest {
  Request request;
  size_t consumed = 0;  // bytes of the input that belong to it
  bool keep_alive = true;
  bool expects_continue = false;  // set as soon as the headers are complete
};

Parsed ParseRequest(absl::string_view input, size_t max_body, IncomingRequest& out);

// Status line and headers, with Content-Length of the whole body. `head`: the request was a HEAD.
std::string ResponseHead(const Answer& answer, bool head, bool keep_alive);

}  // namespace failover::emulator

#endif  // TESTS_AZURE_EMULATOR_HTTP_MESSAGE_H_
