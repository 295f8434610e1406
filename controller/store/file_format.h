#ifndef CONTROLLER_STORE_FILE_FORMAT_H_
#define CONTROLLER_STORE_FILE_FORMAT_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "controller/store/store.h"

namespace failover::store {

// A state file is one header line, then the record as protobuf JSON on one line:
//
//   apim-failover-state schema=1 write=17 bytes=4711 sha256=<64 hex digits>
//   {"schemaVersion":1,"name":"orders-api", …}
//
// `write` counts the writes of this file, so that every one changes the version. The checksum
// covers the header without its own field, and the record. By hand:
//   tail -n +2 FILE | jq .                                    shows the record
//   sed '1s/ sha256=.*//' FILE | sha256sum                    must print the header's checksum

constexpr int kSchemaVersion = 1;  // of v1::GroupRecord; a file with a greater one is refused
constexpr size_t kMaxFileBytes = 64u << 20;  // a larger file is not ours
constexpr size_t kMaxHeaderBytes = 256;

struct FileHeader {
  int schema = 0;
  uint64_t write = 0;
  uint64_t bytes = 0;  // of what follows the header line
  std::string sha256;
  size_t size = 0;  // of the header line with its end
  // What Store calls the version.
  std::string Version() const;
};

// `text` begins with the file's first kMaxHeaderBytes bytes at least, or is the whole file. Errors
// name `path`. DataLoss: not such a header. FailedPrecondition: of a newer schema.
absl::StatusOr<FileHeader> ParseHeader(absl::string_view text, const std::string& path);

// DataLoss: truncated, damaged, or of another group. FailedPrecondition: written by a newer
// version.
absl::StatusOr<Versioned> DecodeFile(absl::string_view text, const std::string& group,
                                     const std::string& path);

// The file's text. `header` receives what it begins with. Internal: protobuf cannot print the
// record.
absl::StatusOr<std::string> EncodeFile(const v1::GroupRecord& record, uint64_t write,
                                       FileHeader& header);

// Group name ↔ file name. Everything but a–z, 0–9 and '-' is written as %XX, so that no name can
// leave the directory or collide with another on a file system that folds case. Empty: the name
// cannot be used (empty or longer than a file name may be), or the file is not a record's.
std::string FileNameOf(absl::string_view group);
std::string GroupOf(absl::string_view file_name);

}  // namespace failover::store

#endif  // CONTROLLER_STORE_FILE_FORMAT_H_
