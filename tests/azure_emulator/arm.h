#ifndef TESTS_AZURE_EMULATOR_ARM_H_
#define TESTS_AZURE_EMULATOR_ARM_H_

#include <string>
#include <vector>

#include "tests/azure_emulator/world.h"

// The parts Handle() is made of. Each is pure.
namespace failover::emulator {

// Who sent a request, from its token.
struct Caller {
  const Client* client = nullptr;
  std::string tenant;
};

RequestClass Classify(const Request& request);

// POST /{tenant}/oauth2/v2.0/token (azure.md §6.1).
Answer HandleToken(World& world, const Request& request, absl::Time now);
// GET /metadata/identity/oauth2/token of the machine's identity service (azure.md §6.1).
Answer HandleImds(World& world, const Request& request, absl::Time now);
// A token of `client` for `audience`, from now on for the token lifetime.
std::string IssueToken(World& world, const Client& client, absl::string_view audience,
                       absl::Time now);
// ARM or storage, the only audiences there are tokens for. Without a trailing slash.
bool IsKnownAudience(absl::string_view audience);
// Checks the bearer token of a request for `audience` ("https://management.azure.com"); sets
// `caller`, or gives the 401 answer.
std::optional<Answer> Authenticate(const World& world, const Request& request,
                                   absl::string_view audience, absl::Time now, Caller& caller);
// The 403 answer unless the caller may do `action` on `scope` (azure.md §9).
std::optional<Answer> Authorize(const Caller& caller, absl::string_view action,
                                absl::string_view scope);

// Everything at and below …/Microsoft.ApiManagement/service/{name}; `rest`: the segments below.
Answer HandleService(World& world, const Request& request, Service& service,
                     const std::vector<std::string>& rest, LogEntry& entry, absl::Time now);
// PUT of a service that does not exist.
Answer CreateService(World& world, const Request& request, const std::string& subscription,
                     const std::string& resource_group, const std::string& name, LogEntry& entry,
                     absl::Time now);
// The action RBAC knows it by ("Microsoft.ApiManagement/service/backup/action").
std::string ServiceAction(const Request& request, const std::vector<std::string>& rest);
Json ServiceDocument(const World& world, const Service& service);

Answer HandleEntities(World& world, Service& service, const Request& request,
                      const std::vector<std::string>& rest, absl::Time now);
// As readers see it: no secrets.
Json EntityDocument(const Service& service, const Entity& entity);

Answer StartBackup(World& world, const Request& request, Service& service, LogEntry& entry,
                   absl::Time now);
Answer StartRestore(World& world, const Request& request, Service& service, LogEntry& entry,
                    absl::Time now);
Answer StartUpdate(World& world, const Request& request, Service& service, LogEntry& entry,
                   absl::Time now);
// GET operationresults/{id}
Answer PollOperation(World& world, const Request& request, const Service& service,
                     const std::string& id, absl::Time now);
Answer ServiceLocked(const Service& service);

Answer HandleTraffic(World& world, const Request& request, const std::vector<std::string>& rest,
                     LogEntry& entry, absl::Time now);

// Lets changes reach the name servers and health checks come out that are due by `now`.
void AdvanceTraffic(World& world, absl::Time now);

// The blob endpoint, path-style (azure.md §8).
Answer HandleBlob(World& world, const Request& request, LogEntry& entry, absl::Time now);
// The string Shared Key signs (azure.md §8.2). `account` is the one of the Authorization header.
std::string SharedKeyStringToSign(const Request& request, const std::string& account);

}  // namespace failover::emulator

#endif  // TESTS_AZURE_EMULATOR_ARM_H_
