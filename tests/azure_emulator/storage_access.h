#ifndef TESTS_AZURE_EMULATOR_STORAGE_ACCESS_H_
#define TESTS_AZURE_EMULATOR_STORAGE_ACCESS_H_

#include <optional>
#include <string>

#include "tests/azure_emulator/world.h"

namespace failover::emulator {

// The body of a backup or restore request (azure.md §1.1).
struct StorageTarget {
  std::string account, container, blob;
  std::string access_type = "AccessKey";
  std::string access_key, client_id;
};

// A failure as ARM tells it.
struct Failure {
  int status = 400;
  std::string code, message;
};

// Reads the body; the failure is the 400 of a request that breaks the rules of its form.
std::optional<Failure> ReadStorageTarget(const Request& request, absl::string_view api_version,
                                         StorageTarget& target);

// Whether `service` gets at the account: key or identity, role, firewall (azure.md §1.5).
std::optional<Failure> CheckStorageAccess(const World& world, const Service& service,
                                          const StorageTarget& target, absl::string_view verb);

// Reads a backup for `service` and checks that it may be restored there at `now`: readable, whole,
// inside its lifetime, of the same tier. `entities`: path → properties.
std::optional<Failure> ReadBackup(World& world, const Service& service, const std::string& account,
                                  const std::string& container, const std::string& blob,
                                  absl::Time now, Json& entities);

// The code of a failure no source names: the switch errorCodes, else `otherwise`.
std::string ErrorCode(const World& world, absl::string_view failure, absl::string_view otherwise);

}  // namespace failover::emulator

#endif  // TESTS_AZURE_EMULATOR_STORAGE_ACCESS_H_
