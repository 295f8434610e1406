#ifndef CONTROLLER_STORE_STORE_H_
#define CONTROLLER_STORE_STORE_H_

#include <cstdint>
#include <map>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "apim_failover/v1/state.pb.h"
#include "common/proto.h"

namespace failover::store {

// Durable records, one per group, by compare-and-swap (design.md §9). One thread at a time (the
// store lane). `version` is opaque and changes with every write.
struct Versioned {
  v1::GroupRecord record;
  std::string version;
};

class Store {
 public:
  virtual ~Store() = default;
  // NotFound: no record. DataLoss: corrupt (the file is kept, the message says where and what to
  // do). FailedPrecondition: written by a newer version. Unavailable: cannot be read now.
  virtual absl::StatusOr<Versioned> Load(const std::string& group) = 0;
  // Writes when the stored version still is `expected` ("" = no record yet). Returns the new
  // version. Aborted: somebody else wrote. Unavailable: not written, or not known to be written.
  // Seals history entries that have no hash yet into the chain first (`record` is updated).
  virtual absl::StatusOr<std::string> Save(v1::GroupRecord& record,
                                           const std::string& expected) = 0;
  virtual absl::StatusOr<std::map<std::string, std::string>> List() = 0;  // group → version
  // OK while this process may write (the file store: its lock verified afresh).
  virtual absl::Status Healthy() = 0;
};

// True when every entry's hash follows from its predecessor (the first kept entry is taken as it
// is).
bool HistoryIntact(const v1::GroupRecord& record);
// Fills in missing hashes.
void SealHistory(v1::GroupRecord& record);

}  // namespace failover::store

#endif  // CONTROLLER_STORE_STORE_H_
