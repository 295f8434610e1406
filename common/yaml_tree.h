#ifndef COMMON_YAML_TREE_H_
#define COMMON_YAML_TREE_H_

#include <string>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"
#include "common/config_file.h"

namespace failover {

// A YAML document as it was written: entries in order, duplicates kept, nothing resolved.
struct YamlNode {
  enum class Kind { kNull, kScalar, kList, kMap };
  Kind kind = Kind::kNull;
  ConfigPlace place;
  std::string text;                                    // of a scalar
  bool quoted = false;                                 // "5" rather than 5
  std::vector<YamlNode> items;                         // of a list
  std::vector<std::pair<YamlNode, YamlNode>> entries;  // of a map
};

// Reads one document (a null node when there is none). What config_file.h refuses in every file
// goes to `problems`; then false.
bool ReadYaml(absl::string_view text, YamlNode& root, ConfigProblems& problems);

}  // namespace failover

#endif  // COMMON_YAML_TREE_H_
