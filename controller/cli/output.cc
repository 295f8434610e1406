#include "controller/cli/output.h"

#include "google/protobuf/util/json_util.h"
#include "nlohmann/json.hpp"
#include "yaml-cpp/yaml.h"

namespace failover::cli {
namespace {

void Emit(const nlohmann::ordered_json& json, YAML::Emitter& out) {
  if (json.is_object()) {
    out << (json.empty() ? YAML::Flow : YAML::Block) << YAML::BeginMap;
    for (const auto& [key, value] : json.items()) {
      out << YAML::Key << key << YAML::Value;
      Emit(value, out);
    }
    out << YAML::EndMap;
  } else if (json.is_array()) {
    out << (json.empty() ? YAML::Flow : YAML::Block) << YAML::BeginSeq;
    for (const auto& value : json) Emit(value, out);
    out << YAML::EndSeq;
  } else if (json.is_string()) {
    out << YAML::DoubleQuoted << json.get<std::string>();
  } else {
    out << json.dump();  // numbers, true, false, null read the same in YAML
  }
}

}  // namespace

std::string ToJson(const google::protobuf::Message& message, bool compact) {
  google::protobuf::util::JsonPrintOptions options;
  options.always_print_primitive_fields = true;
  options.add_whitespace = !compact;
  std::string text;
  if (!google::protobuf::util::MessageToJsonString(message, &text, options).ok()) return "{}\n";
  while (!text.empty() && text.back() == '\n') text.pop_back();
  return text + "\n";
}

std::string ToYaml(const google::protobuf::Message& message) {
  YAML::Emitter out;
  Emit(nlohmann::ordered_json::parse(ToJson(message, true)), out);
  return std::string(out.c_str()) + "\n";
}

}  // namespace failover::cli
