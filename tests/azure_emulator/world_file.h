#ifndef TESTS_AZURE_EMULATOR_WORLD_FILE_H_
#define TESTS_AZURE_EMULATOR_WORLD_FILE_H_

#include <string>

#include "tests/azure_emulator/world.h"

namespace failover::emulator {

// A world from JSON (tests/testdata/worlds/*.json shows every section). All problems at once:
// "PATH: found …; allowed: …", one a line. `now` becomes the virtual time; the seed of the file
// wins over `seed` unless that is not 0.
absl::StatusOr<World> ReadWorld(absl::string_view text, absl::Time now, uint64_t seed = 0);
// Errors name the file.
absl::StatusOr<World> ReadWorldFile(const std::string& path, absl::Time now, uint64_t seed = 0);

// The parts that the control API reads and shows too. Each leaves out what the object leaves out.
void ReadSwitches(Fields& fields, Switches& switches);
Json SwitchesJson(const Switches& switches);
void ReadTiming(Fields& fields, World& world);
Json TimingJson(const World& world);
void ReadServiceSettings(Fields& fields, Service& service);
void ReadAccountSettings(Fields& fields, StorageAccount& account);
void ReadGatewayBehavior(Fields& fields, GatewayBehavior& behavior);
void ReadCertificateMode(Fields& fields, Gateway& gateway);
// "systemIdentity", "userIdentities": client ids among `clients`.
void ReadMachine(Fields& fields, const std::map<std::string, Client>& clients, Machine& machine);
Json MachineJson(const Machine& machine);
std::vector<FederatedCredential> ReadFederated(Fields& fields, absl::string_view key);
std::vector<RoleAssignment> ReadRoles(Fields& fields, absl::string_view key);

}  // namespace failover::emulator

#endif  // TESTS_AZURE_EMULATOR_WORLD_FILE_H_
