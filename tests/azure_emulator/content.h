#ifndef TESTS_AZURE_EMULATOR_CONTENT_H_
#define TESTS_AZURE_EMULATOR_CONTENT_H_

#include "tests/azure_emulator/world.h"

namespace failover::emulator {

// What Azure puts into a new service: echo-api, two products with their subscriptions, three
// groups, one user and the global policy. Replaces everything.
void FillPristine(World& world, Service& service, absl::Time now);

// A configuration as companies have it: `apis` APIs with operations and policies, products, named
// values (some secret), backends, users, groups, subscriptions, loggers and certificates, on top of
// the pristine content. The same (seed, apis) makes the same entities on every service.
void FillRealistic(World& world, Service& service, uint64_t seed, int apis, absl::Time now);

// "pristine", "empty" or "realistic"; the text names what is wrong otherwise.
absl::Status Fill(World& world, Service& service, const std::string& kind, uint64_t seed, int apis,
                  absl::Time now);

}  // namespace failover::emulator

#endif  // TESTS_AZURE_EMULATOR_CONTENT_H_
