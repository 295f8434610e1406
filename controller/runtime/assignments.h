#ifndef CONTROLLER_RUNTIME_ASSIGNMENTS_H_
#define CONTROLLER_RUNTIME_ASSIGNMENTS_H_

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "controller/intake/intake.h"
#include "controller/runtime/settings.h"

namespace failover::runtime {

// What an assignment needs to know of a group beside its configuration.
struct GroupFacts {
  int active = -1;  // service index; -1 while roles are unconfirmed
  std::vector<std::string>
      gateway_urls;  // by service index; from the configuration or ARM; empty = not known yet
};

// Everything agents are asked to probe (design.md §5, §7.12): every service's probes under the
// public host name (connect-to the gateway), the public name, and the control targets, once each.
// The probe regions' phases are spread evenly over a target's interval; the deciding probe's burst
// has `failureThreshold` probes. Services without a known gateway URL are left out. Pure.
intake::Assignments MakeAssignments(const Settings& settings,
                                    const std::map<std::string, GroupFacts>& facts, uint64_t term,
                                    uint64_t generation, bool leading);

}  // namespace failover::runtime

#endif  // CONTROLLER_RUNTIME_ASSIGNMENTS_H_
