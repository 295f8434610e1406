#ifndef TESTS_AZURE_EMULATOR_BLOB_STORE_H_
#define TESTS_AZURE_EMULATOR_BLOB_STORE_H_

#include <map>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace failover::emulator {

// Where the emulated APIM service keeps its backups (azure.md §8): the emulator's own memory or an
// external blob endpoint such as Azurite.
class BlobStore {
 public:
  virtual ~BlobStore() = default;
  // NotFound: the account or the container does not exist.
  virtual absl::Status FindContainer(const std::string& account, const std::string& container) = 0;
  virtual absl::Status CreateContainer(const std::string& account, const std::string& container,
                                       absl::Time now) = 0;
  // Overwrites.
  virtual absl::Status Put(const std::string& account, const std::string& container,
                           const std::string& blob, const std::string& content, absl::Time now) = 0;
  // NotFound: no such blob.
  virtual absl::StatusOr<std::string> Get(const std::string& account, const std::string& container,
                                          const std::string& blob) = 0;
};

struct Blob {
  std::string content, content_type = "application/octet-stream";
  std::map<std::string, std::string> metadata;  // names in lower case
  absl::Time created, modified;
  std::string etag;  // quoted
};

struct Container {
  absl::Time modified;
  std::string etag;
  std::map<std::string, Blob> blobs;
};

// What the emulator's own blob endpoint serves. Not thread-safe: part of the World.
class MemoryBlobs : public BlobStore {
 public:
  absl::Status FindContainer(const std::string& account, const std::string& container) override;
  absl::Status CreateContainer(const std::string& account, const std::string& container,
                               absl::Time now) override;
  absl::Status Put(const std::string& account, const std::string& container,
                   const std::string& blob, const std::string& content, absl::Time now) override;
  absl::StatusOr<std::string> Get(const std::string& account, const std::string& container,
                                  const std::string& blob) override;

  Container* Find(const std::string& account, const std::string& container);
  Blob* Find(const std::string& account, const std::string& container, const std::string& blob);
  std::string NextEtag(absl::Time now);

  std::map<std::string, std::map<std::string, Container>> accounts;

 private:
  uint64_t etags_ = 0;
};

// Path-style blob endpoint ("http://127.0.0.1:10000"), Shared Key; `keys` maps account → base64
// key. Blocking, at most 5 s a call.
std::unique_ptr<BlobStore> NewExternalBlobs(std::string endpoint, std::string ca_file,
                                            std::map<std::string, std::string> keys);

}  // namespace failover::emulator

#endif  // TESTS_AZURE_EMULATOR_BLOB_STORE_H_
