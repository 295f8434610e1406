#ifndef TESTS_AZURE_EMULATOR_CONTROL_PARTS_H_
#define TESTS_AZURE_EMULATOR_CONTROL_PARTS_H_

#include <functional>
#include <string>
#include <vector>

#include "tests/azure_emulator/world.h"

// The parts HandleControl() is made of. `rest`: the path's segments below the part's own name.
namespace failover::emulator {

using Segments = std::vector<std::string>;

Answer ControlServices(World& world, const Request& request, const Segments& rest, absl::Time now);
Answer ControlOperations(World& world, const Request& request, const Segments& rest,
                         absl::Time now);
Answer ControlAccounts(World& world, const Request& request, const Segments& rest);
Answer ControlProfiles(World& world, const Request& request, const Segments& rest, absl::Time now);
Answer ControlGateways(World& world, const Request& request, const Segments& rest);

// 400 {"problems": […]}, 404 and 405.
Answer Problems(const std::vector<std::string>& problems);
Answer UnknownThing(absl::string_view what);
Answer WrongMethod(const Request& request, absl::string_view allowed);
// Reads the request's JSON object strictly; nullopt when it is good, else the 400. Nothing may be
// changed before it has returned nullopt: `read` fills copies.
std::optional<Answer> ReadBody(const Request& request, const std::function<void(Fields&)>& read);

}  // namespace failover::emulator

#endif  // TESTS_AZURE_EMULATOR_CONTROL_PARTS_H_
