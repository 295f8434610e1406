#ifndef CONTROLLER_CLI_OUTPUT_H_
#define CONTROLLER_CLI_OUTPUT_H_

#include <string>

#include "google/protobuf/message.h"

namespace failover::cli {

// Protobuf's JSON, every field present, indented; `compact` on one line. With a final newline.
std::string ToJson(const google::protobuf::Message& message, bool compact = false);
// The same content as YAML; strings are quoted.
std::string ToYaml(const google::protobuf::Message& message);

}  // namespace failover::cli

#endif  // CONTROLLER_CLI_OUTPUT_H_
