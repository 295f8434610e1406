#include "agent/assignment.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <sstream>
#include <tuple>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/log.h"
#include "common/status_macros.h"
#include "google/protobuf/util/json_util.h"

namespace failover::agent {
namespace {

constexpr size_t kMaxFileBytes = 32 << 20;

absl::Status Failed(absl::string_view what, const std::string& file, int error) {
  return absl::UnavailableError(
      absl::StrCat("assignmentFile ", file, ": ", what, ": ", std::strerror(error)));
}

// Creates `file` with `text` and makes it durable.
absl::Status WriteNew(const std::string& file, const std::string& text) {
  const int fd = open(file.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (fd < 0) return Failed("cannot be created", file, errno);
  size_t written = 0;
  while (written < text.size()) {
    const ssize_t n = write(fd, text.data() + written, text.size() - written);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) break;
    written += static_cast<size_t>(n);
  }
  const bool good = written == text.size() && fsync(fd) == 0;
  const int error = errno;
  close(fd);
  return good ? absl::OkStatus() : Failed("cannot be written", file, error);
}

void SyncDirectoryOf(const std::string& file) {
  const size_t slash = file.rfind('/');
  const std::string directory = slash == std::string::npos ? "." : file.substr(0, slash + 1);
  if (const int fd = open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC); fd >= 0) {
    fsync(fd);
    close(fd);
  }
}

}  // namespace

AssignmentKeeper::AssignmentKeeper(std::string file, Apply apply)
    : file_(std::move(file)), apply_(std::move(apply)) {}

absl::Status AssignmentKeeper::Store(const v1::Assignment& assignment) const {
  std::string json;
  google::protobuf::util::JsonPrintOptions options;
  options.add_whitespace = true;
  if (!google::protobuf::util::MessageToJsonString(assignment, &json, options).ok()) {
    return absl::InternalError("the assignment cannot be written as JSON");
  }
  const std::string fresh = file_ + ".new";
  RETURN_IF_ERROR(WriteNew(fresh, json));
  if (rename(fresh.c_str(), file_.c_str()) != 0) return Failed("cannot be replaced", file_, errno);
  SyncDirectoryOf(file_);
  return absl::OkStatus();
}

absl::Status AssignmentKeeper::LoadStored() {
  if (file_.empty()) return absl::NotFoundError("no assignmentFile is configured");
  std::ifstream stream(file_, std::ios::binary);
  if (!stream) {
    if (errno == ENOENT)
      return absl::NotFoundError(absl::StrCat("assignmentFile ", file_, " does not exist yet"));
    return Failed("cannot be read", file_, errno);
  }
  std::string text(kMaxFileBytes + 1, '\0');
  stream.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<size_t>(stream.gcount()));
  v1::Assignment assignment;
  const auto parsed = google::protobuf::util::JsonStringToMessage(text, &assignment);
  if (text.size() > kMaxFileBytes || !parsed.ok() || assignment.term() == 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("assignmentFile ", file_, ": found something else than a stored assignment (",
                     std::string(parsed.message()), ")"));
  }
  MutexLock lock(mutex_);
  return Take(assignment);
}

absl::Status AssignmentKeeper::Take(const v1::Assignment& assignment) {
  ASSIGN_OR_RETURN(PreparedAssignment prepared, PrepareAssignment(assignment));
  for (const std::string& refused : prepared.refused) {
    LogError("target refused; it is not probed", {{"target", refused}});
  }
  version_ = {true, assignment.term(), assignment.generation()};
  apply_(std::make_shared<const PreparedAssignment>(std::move(prepared)));
  return absl::OkStatus();
}

absl::Status AssignmentKeeper::Offer(const v1::Assignment& assignment) {
  MutexLock lock(mutex_);
  const auto offered = std::make_tuple(assignment.term(), assignment.generation());
  const auto in_force = std::make_tuple(version_.term, version_.generation);
  if (version_.assigned && offered == in_force) return absl::AlreadyExistsError("already in force");
  if (offered < in_force) {
    return absl::FailedPreconditionError(
        absl::StrCat("found term ", assignment.term(), " generation ", assignment.generation(),
                     "; in force is term ", version_.term, " generation ", version_.generation));
  }
  RETURN_IF_ERROR(Take(assignment));
  if (file_.empty()) return absl::OkStatus();
  if (const absl::Status stored = Store(assignment); !stored.ok()) {
    LogError("assignment in force but not stored", {{"error", stored}});
  }
  return absl::OkStatus();
}

AssignmentKeeper::Version AssignmentKeeper::version() const {
  MutexLock lock(mutex_);
  return version_;
}

}  // namespace failover::agent
