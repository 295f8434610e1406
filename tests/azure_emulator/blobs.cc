#include "tests/azure_emulator/blob_store.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace failover::emulator {

Container* MemoryBlobs::Find(const std::string& account, const std::string& container) {
  const auto it = accounts.find(account);
  if (it == accounts.end()) return nullptr;
  const auto found = it->second.find(container);
  return found == it->second.end() ? nullptr : &found->second;
}

Blob* MemoryBlobs::Find(const std::string& account, const std::string& container,
                        const std::string& blob) {
  Container* found = Find(account, container);
  if (found == nullptr) return nullptr;
  const auto it = found->blobs.find(blob);
  return it == found->blobs.end() ? nullptr : &it->second;
}

std::string MemoryBlobs::NextEtag(absl::Time now) {
  return absl::StrFormat("\"0x%X%06X\"", absl::ToUnixSeconds(now), ++etags_);
}

absl::Status MemoryBlobs::FindContainer(const std::string& account, const std::string& container) {
  if (Find(account, container) != nullptr) return absl::OkStatus();
  return absl::NotFoundError(
      absl::StrCat("container ", container, " of account ", account, " does not exist"));
}

absl::Status MemoryBlobs::CreateContainer(const std::string& account, const std::string& container,
                                          absl::Time now) {
  const auto [it, created] = accounts[account].try_emplace(container);
  if (!created) {
    return absl::AlreadyExistsError(
        absl::StrCat("container ", container, " of account ", account, " exists"));
  }
  it->second.modified = now;
  it->second.etag = NextEtag(now);
  return absl::OkStatus();
}

absl::Status MemoryBlobs::Put(const std::string& account, const std::string& container,
                              const std::string& blob, const std::string& content, absl::Time now) {
  if (absl::Status found = FindContainer(account, container); !found.ok()) return found;
  Blob& stored = accounts[account][container].blobs[blob];
  stored = Blob{content, "application/octet-stream", {}, now, now, NextEtag(now)};
  return absl::OkStatus();
}

absl::StatusOr<std::string> MemoryBlobs::Get(const std::string& account,
                                             const std::string& container,
                                             const std::string& blob) {
  if (absl::Status found = FindContainer(account, container); !found.ok()) return found;
  const Blob* stored = Find(account, container, blob);
  if (stored == nullptr) {
    return absl::NotFoundError(absl::StrCat("blob ", blob, " does not exist"));
  }
  return stored->content;
}

}  // namespace failover::emulator
