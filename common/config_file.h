#ifndef COMMON_CONFIG_FILE_H_
#define COMMON_CONFIG_FILE_H_

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "google/protobuf/message.h"

namespace failover {

// Where each value of a loaded message stands in the file, keyed by its path
// ("failoverGroups[0].mode").
struct ConfigPlace {
  int line = 0;  // 1-based
  int column = 0;
};
using ConfigPlaces = std::map<std::string, ConfigPlace>;

// All problems of one file, in the order of the lines. Rendered as
//   FILE:LINE: PATH: found "VALUE"; allowed: …
class ConfigProblems {
 public:
  explicit ConfigProblems(std::string file) : file_(std::move(file)) {}
  // `path` is looked up in `places`, then its parents, so that a missing key points at its section.
  void Add(const ConfigPlaces& places, absl::string_view path, absl::string_view what);
  void AddAt(ConfigPlace place, absl::string_view path, absl::string_view what);
  bool empty() const { return problems_.empty(); }
  size_t size() const { return problems_.size(); }
  // OK when empty, else InvalidArgument with one problem a line.
  absl::Status ToStatus() const;

 private:
  struct Problem {
    ConfigPlace place;
    std::string path, what;
  };
  std::string file_;
  std::vector<Problem> problems_;
};

// YAML text → `message`, strictly (design.md §4): keys are the proto's camelCase names; unknown,
// misspelt (the nearest allowed name is suggested) and duplicate keys, wrong types, null values,
// anchors, aliases, merge keys, several documents, depth > 32 and size > 1 MiB are refused. A
// google.protobuf.Duration is written 500ms, 30s, 1h30m, 30d, or 0s: that a value must be positive
// is for the checks of values to say. Enums are written as the lower camelCase of their value
// without the type's prefix (MODE_AUTOMATIC → automatic). map<string,…> and repeated fields as YAML
// maps and lists; ServedBySpec also as the word `address`, which leaves it present and empty. A
// value that is set explicitly makes a proto3 `optional` field present. Adds to `problems` and
// fills `places`; goes on after a problem so that all are found at once.
void ParseYaml(absl::string_view text, google::protobuf::Message& message, ConfigPlaces& places,
               ConfigProblems& problems);

// Reads a file of at most 1 MiB. Errors name the file.
absl::StatusOr<std::string> ReadSmallFile(const std::string& path);
// A secret file: trimmed of trailing white space; empty is an error. Never in a log line.
absl::StatusOr<std::string> ReadSecretFile(const std::string& path);

// "30s", "1h30m", "500ms", "30d" → duration > 0 (whole numbers, units in descending order, each
// once); anything else, also 0, is an error saying what is allowed.
absl::StatusOr<absl::Duration> ParseDuration(absl::string_view text);
// The form that ParseDuration reads back, units without a count left out: "1h30m", "250ms"; "0s"
// for zero. Rounded to milliseconds; "-30s" and "inf" are for people only.
// Write failover::FormatDuration: without it absl's is found as well and the call is ambiguous.
std::string FormatDuration(absl::Duration duration);

// Calls `on_change` (on its own thread) after a file or the ..data link of its directory changed:
// inotify on the directories, so Kubernetes' atomic swaps are seen; debounced 100 ms;
// content-compared, so a touched but equal file is silent. Re-checks every 30 s, since inotify
// misses some mounts.
class FileWatcher {
 public:
  // `on_change` must not destroy the watcher. `recheck` differs from 30 s in tests only.
  FileWatcher(std::vector<std::string> files, std::function<void()> on_change,
              absl::Duration recheck = absl::Seconds(30));
  // Waits for a running `on_change`.
  ~FileWatcher();
  FileWatcher(const FileWatcher&) = delete;
  FileWatcher& operator=(const FileWatcher&) = delete;

 private:
  std::jthread thread_;
};

}  // namespace failover

#endif  // COMMON_CONFIG_FILE_H_
