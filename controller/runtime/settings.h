#ifndef CONTROLLER_RUNTIME_SETTINGS_H_
#define CONTROLLER_RUNTIME_SETTINGS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "apim_failover/v1/config.pb.h"
#include "common/proto.h"
#include "controller/azure/worker.h"
#include "controller/core/config.h"

namespace failover::runtime {

// One failover group of a valid configuration file, in the three forms that its users need.
struct GroupSettings {
  v1::GroupSpec spec;  // defaults applied: what agents' assignments are made from
  core::GroupConfig core;
  azure::GroupAzure azure;  // the runtime adds the fingerprint key of the group's record
};

// What a reload can change while the controller runs (controller/config.cc makes it from the file).
struct Settings {
  std::vector<GroupSettings> groups;  // names unique; resource ids unique over all groups
  std::string controller_region;
  int verify_reads_per_second = 10;
  azure::AzureOptions azure;  // a change of it needs a restart; a reload that differs is refused
  uint64_t generation = 1;    // +1 for every file put in force
  std::string hash;           // sha256 of the file, hex
};

}  // namespace failover::runtime

#endif  // CONTROLLER_RUNTIME_SETTINGS_H_
