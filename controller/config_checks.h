#ifndef CONTROLLER_CONFIG_CHECKS_H_
#define CONTROLLER_CONFIG_CHECKS_H_

#include <map>
#include <optional>
#include <set>
#include <string>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "apim_failover/v1/config.pb.h"
#include "common/config_file.h"
#include "common/proto.h"

namespace failover {

absl::Duration FromProto(const google::protobuf::Duration& duration);
google::protobuf::Duration ToProto(absl::Duration duration);

// Collects what is wrong with a parsed configuration file. Values that the parser already
// complained about are not judged a second time.
class ConfigChecker {
 public:
  ConfigChecker(std::string file, bool insecure, const ConfigPlaces& places,
                ConfigProblems& problems);

  bool insecure() const { return insecure_; }
  // `path` as the configuration means it: relative to the file's directory.
  std::string Resolve(const std::string& path) const;

  void Say(const std::string& path, absl::string_view what);  // "found …; allowed: …"
  void Wrong(const std::string& path, absl::string_view value, absl::string_view allowed);
  void Missing(const std::string& path, absl::string_view allowed);
  // False and Missing or Wrong when `value` is empty or not `ok`.
  bool Require(const std::string& path, absl::string_view value, bool ok,
               absl::string_view allowed);

  void Name(const std::string& path, const std::string& value);
  // `key` is what is compared, `value` what the file says. The first path is remembered in `seen`.
  void Unique(const std::string& path, absl::string_view value, absl::string_view key,
              std::map<std::string, std::string>& seen, absl::string_view allowed);
  void Range(const std::string& path, int64_t value, int64_t low, int64_t high);
  // Does nothing when `present` is false.
  void Range(const std::string& path, bool present, const google::protobuf::Duration& value,
             absl::Duration low, absl::Duration high);
  void Url(const std::string& path, const std::string& value);
  void Regex(const std::string& path, const std::string& value);
  // Readable, not empty. `content` (optional) receives it.
  bool File(const std::string& path, const std::string& value, absl::string_view what,
            std::string* content = nullptr);

 private:
  bool Reported(absl::string_view path) const;

  const std::string directory_;
  const bool insecure_;
  const ConfigPlaces& places_;
  ConfigProblems& problems_;
  std::set<std::string> reported_;  // paths that the parser refused
};

// HOST:PORT that is listened on when the file does not say.
std::string DefaultAddress(bool insecure, int port);
constexpr int kAgentPort = 7443, kOperatorPort = 7444, kMetricsPort = 9464;

// Everything but the groups.
void CheckController(const v1::ControllerConfig& config, ConfigChecker& check);
// What one group alone shows, and what all of them together do.
void CheckGroups(const v1::ControllerConfig& config, ConfigChecker& check);

// Parts of CheckController: where state is kept, and how replicas elect a leader and share results.
void CheckReplicas(const v1::ControllerConfig& config, ConfigChecker& check);
// What CheckReplicas found valid, defaults applied; nothing for the file store.
struct KubernetesSettings;
std::optional<KubernetesSettings> ConvertReplicas(const v1::ControllerConfig& config,
                                                  const ConfigChecker& check);

// Parts of CheckGroups. `path` is the group's.
void CheckTraffic(const v1::GroupSpec& group, const std::string& path, ConfigChecker& check);
void CheckSync(const v1::GroupSpec& group, const std::string& path, ConfigChecker& check);

}  // namespace failover

#endif  // CONTROLLER_CONFIG_CHECKS_H_
