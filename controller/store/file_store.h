#ifndef CONTROLLER_STORE_FILE_STORE_H_
#define CONTROLLER_STORE_FILE_STORE_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "controller/store/store.h"

namespace failover::store {

struct FileStoreOptions {
  std::string directory;  // created (0700) when absent; one controller process at a time
};

// Records as files of one directory (format: file_format.h), written new, fsynced, renamed,
// directory fsynced. Holds an exclusive flock on DIRECTORY/lock until destroyed and verifies it
// before every write: once it was lost, the store refuses until the process starts anew, since
// another one may have written. Removes what interrupted writes left. Files are 0600: they hold the
// groups' fingerprint keys. Errors: InvalidArgument (no directory given, or not a directory),
// Unavailable (locked by another process, cannot be created, read-only).
absl::StatusOr<std::unique_ptr<Store>> OpenFileStore(FileStoreOptions options);

}  // namespace failover::store

#endif  // CONTROLLER_STORE_FILE_STORE_H_
