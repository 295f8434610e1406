#ifndef CONTROLLER_AZURE_FINGERPRINT_H_
#define CONTROLLER_AZURE_FINGERPRINT_H_

#include <string>

#include "controller/azure/entities.h"
#include "controller/azure/lane.h"
#include "controller/core/events.h"

namespace failover::azure {

// Reads every entity of a service that is compared (design.md §6.7), page by page, at the verify
// rate. Entities that disappear while they are read are left out; everything else that cannot be
// read makes the whole read fail.
struct ConfigurationRead {
  core::CallResult result;
  CanonicalEntities entities;  // without those of verify.ignore
  bool pristine = false;       // judged before verify.ignore
};
ConfigurationRead ReadConfiguration(Lane& lane, const GroupEntry& group,
                                    const std::string& resource_id);

}  // namespace failover::azure

#endif  // CONTROLLER_AZURE_FINGERPRINT_H_
