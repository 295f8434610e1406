#include "controller/store/file_store.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "common/crash_point.h"
#include "common/status_macros.h"
#include "controller/store/file_format.h"

namespace failover::store {
namespace {

constexpr char kLockName[] = "lock";
constexpr absl::string_view kTemporary = ".tmp";
constexpr int kReadFlags =
    O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK;  // a FIFO must not hang us

class Descriptor {
 public:
  explicit Descriptor(int fd = -1) : fd_(fd) {}
  Descriptor(Descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~Descriptor() {
    if (fd_ >= 0) close(fd_);
  }
  int get() const { return fd_; }
  bool ok() const { return fd_ >= 0; }

 private:
  int fd_;
};

// Of errno as it is now.
absl::Status Failed(absl::string_view doing, const std::string& path) {
  return absl::UnavailableError(
      absl::StrCat("cannot ", doing, " ", path, ": ", std::strerror(errno)));
}

bool SameFile(const struct stat& a, const struct stat& b) {
  return a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

absl::Status WriteAll(int fd, absl::string_view text, const std::string& path) {
  while (!text.empty()) {
    const ssize_t n = write(fd, text.data(), text.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return Failed("write", path);
    text.remove_prefix(static_cast<size_t>(n));
  }
  return absl::OkStatus();
}

// At most `limit` bytes from the beginning.
absl::StatusOr<std::string> ReadFrom(int fd, size_t limit, const std::string& path) {
  std::string text;
  while (text.size() < limit) {
    const size_t had = text.size(), chunk = std::min<size_t>(limit - had, 64 << 10);
    text.resize(had + chunk);
    const ssize_t n = read(fd, text.data() + had, chunk);
    text.resize(had + (n > 0 ? static_cast<size_t>(n) : 0));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return Failed("read", path);
    if (n == 0) break;
  }
  return text;
}

absl::StatusOr<Descriptor> OpenDirectory(const std::string& path) {
  std::string made;       // every missing directory on the way
  std::string read_only;  // the first that cannot be made so; it may be there all the same
  for (size_t end = 0; end != std::string::npos;) {
    end = path.find('/', end + 1);
    made = path.substr(0, end);
    if (mkdir(made.c_str(), 0700) == 0 || errno == EEXIST) continue;
    if (errno != EROFS) return Failed("create directory", made);
    if (read_only.empty()) read_only = made;
  }
  Descriptor directory(open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (directory.ok()) return directory;
  if (errno == ENOTDIR)
    return absl::InvalidArgumentError(
        absl::StrCat("state directory ", path, " is not a directory"));
  if (errno == ENOENT && !read_only.empty()) {
    errno = EROFS;
    return Failed("create directory", path);
  }
  return Failed("open state directory", path);
}

class FileStore : public Store {
 public:
  FileStore(std::string path, Descriptor directory)
      : path_(std::move(path)), directory_(std::move(directory)) {}

  absl::Status Lock();
  absl::Status RemoveLeftovers();

  absl::StatusOr<Versioned> Load(const std::string& group) override;
  absl::StatusOr<std::string> Save(v1::GroupRecord& record, const std::string& expected) override;
  absl::StatusOr<std::map<std::string, std::string>> List() override;
  absl::Status Healthy() override;

 private:
  std::string PathOf(absl::string_view file) const { return absl::StrCat(path_, "/", file); }
  // NotFound when there is none.
  absl::StatusOr<std::string> Read(const std::string& file, size_t limit) const;
  absl::StatusOr<std::vector<std::string>> Files() const;
  // `renamed`: the file perhaps came into place even if this fails.
  absl::Status Replace(const std::string& file, absl::string_view text, bool& renamed);
  absl::Status VerifyLock() const;

  const std::string path_;
  Descriptor directory_, lock_;
  absl::Status lost_;  // why the lock was lost; never OK again
  // A write that failed after its file perhaps came into place: a further try from the same base
  // may replace either version, since nobody else can have written them.
  struct Unconfirmed {
    std::string base, before, after;
  };
  std::map<std::string, Unconfirmed> unconfirmed_;  // by group
};

absl::Status FileStore::Lock() {
  const std::string path = PathOf(kLockName);
  lock_ = Descriptor(
      openat(directory_.get(), kLockName, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!lock_.ok()) return Failed("open", path);
  if (flock(lock_.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK) return Failed("lock", path);
    const absl::StatusOr<std::string> holder = ReadFrom(lock_.get(), 64, path);
    return absl::UnavailableError(absl::StrCat(
        "state directory ", path_, " is in use by another process (",
        holder.ok() && !holder->empty() ? absl::CHexEscape(absl::StripSuffix(*holder, "\n"))
                                        : "unknown",
        "): only one controller may use it"));
  }
  const std::string who = absl::StrCat("pid ", getpid(), "\n");  // for people
  if (ftruncate(lock_.get(), 0) != 0) return Failed("write", path);
  RETURN_IF_ERROR(WriteAll(lock_.get(), who, path));
  return VerifyLock();
}

// The lock file under the configured path is still the one we hold, and we do hold it: a second
// open of it must be refused a lock, and asking again through ours must change nothing.
absl::Status FileStore::VerifyLock() const {
  struct stat ours {
  }, named{};
  const std::string path = PathOf(kLockName);
  if (fstat(lock_.get(), &ours) != 0) return Failed("stat", path);
  const Descriptor again(open(path.c_str(), kReadFlags));
  if (!again.ok() && errno != ENOENT && errno != ENOTDIR && errno != ELOOP)
    return Failed("open", path);
  if (!again.ok() || fstat(again.get(), &named) != 0 || !SameFile(ours, named)) {
    return absl::AbortedError(absl::StrCat("the lock ", path, " was removed or replaced"));
  }
  if (flock(again.get(), LOCK_SH | LOCK_NB) == 0)
    return absl::AbortedError(absl::StrCat("the lock ", path, " was lost"));
  if (errno != EWOULDBLOCK) return Failed("verify lock", path);
  if (flock(lock_.get(), LOCK_EX | LOCK_NB) == 0) return absl::OkStatus();
  if (errno != EWOULDBLOCK) return Failed("verify lock", path);
  return absl::AbortedError(absl::StrCat("the lock ", path, " is held by another process"));
}

absl::Status FileStore::Healthy() {
  if (!lost_.ok()) return lost_;
  const absl::Status lock = VerifyLock();
  if (absl::IsAborted(lock)) {
    lost_ = absl::UnavailableError(absl::StrCat(
        lock.message(), ": another controller may have written; restart this one to go on"));
    return lost_;
  }
  RETURN_IF_ERROR(lock);
  struct statvfs system {};
  if (fstatvfs(directory_.get(), &system) != 0) return Failed("stat", path_);
  if ((system.f_flag & ST_RDONLY) != 0) {
    return absl::UnavailableError(
        absl::StrCat("the file system of state directory ", path_, " is read-only"));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<std::string>> FileStore::Files() const {
  const int fd = openat(directory_.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  DIR* const stream = fd < 0 ? nullptr : fdopendir(fd);
  if (stream == nullptr) return Failed("list", path_);
  std::vector<std::string> files;
  errno = 0;
  while (const dirent* entry = readdir(stream)) files.emplace_back(entry->d_name);
  const int error = errno;
  closedir(stream);
  errno = error;
  if (error != 0) return Failed("list", path_);
  return files;
}

absl::Status FileStore::RemoveLeftovers() {
  ASSIGN_OR_RETURN(const std::vector<std::string> files, Files());
  for (absl::string_view name : files) {
    absl::string_view file = name;
    if (!absl::ConsumeSuffix(&file, kTemporary) || GroupOf(file).empty()) continue;
    const std::string leftover(name);
    if (unlinkat(directory_.get(), leftover.c_str(), 0) != 0) return Failed("remove", PathOf(name));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::string> FileStore::Read(const std::string& file, size_t limit) const {
  const std::string path = PathOf(file);
  const Descriptor fd(openat(directory_.get(), file.c_str(), kReadFlags));
  if (!fd.ok() && errno == ENOENT)
    return absl::NotFoundError(absl::StrCat("there is no state file ", path));
  struct stat info {};
  if ((!fd.ok() && errno == ELOOP) ||
      (fd.ok() && fstat(fd.get(), &info) == 0 && !S_ISREG(info.st_mode))) {
    return absl::DataLossError(
        absl::StrCat("state file ", path, " is not a regular file; it is kept untouched"));
  }
  if (!fd.ok()) return Failed("open", path);
  return ReadFrom(fd.get(), limit, path);
}

absl::StatusOr<Versioned> FileStore::Load(const std::string& group) {
  const std::string file = FileNameOf(group);
  if (file.empty())
    return absl::NotFoundError(
        absl::StrCat("no record can be named \"", absl::CHexEscape(group), "\""));
  ASSIGN_OR_RETURN(const std::string text, Read(file, kMaxFileBytes + 1));
  if (text.size() > kMaxFileBytes) {
    return absl::DataLossError(absl::StrCat("state file ", PathOf(file), " is larger than ",
                                            kMaxFileBytes,
                                            " bytes: not a state file; it is kept untouched"));
  }
  return DecodeFile(text, group, PathOf(file));
}

absl::StatusOr<std::map<std::string, std::string>> FileStore::List() {
  ASSIGN_OR_RETURN(const std::vector<std::string> files, Files());
  std::map<std::string, std::string> result;
  for (const std::string& file : files) {
    const std::string group = GroupOf(file);
    if (group.empty()) continue;
    const absl::StatusOr<std::string> text = Read(file, kMaxHeaderBytes);
    if (!text.ok() && !absl::IsDataLoss(text.status())) return text.status();
    const absl::StatusOr<FileHeader> header =
        text.ok() ? ParseHeader(*text, PathOf(file)) : text.status();
    result[group] = header.ok() ? header->Version() : "unreadable";  // Load says why
  }
  return result;
}

absl::Status FileStore::Replace(const std::string& file, absl::string_view text, bool& renamed) {
  const std::string temporary = absl::StrCat(file, kTemporary);
  const auto undo = [&](absl::Status why) {
    unlinkat(directory_.get(), temporary.c_str(), 0);
    return why;
  };
  CrashPoint("store.before_write");
  {
    const Descriptor fd(openat(directory_.get(), temporary.c_str(),
                               O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600));
    if (!fd.ok()) return Failed("create", PathOf(temporary));
    if (absl::Status written = WriteAll(fd.get(), text, PathOf(temporary)); !written.ok())
      return undo(written);
    if (fsync(fd.get()) != 0) return undo(Failed("fsync", PathOf(temporary)));
  }
  CrashPoint("store.before_rename");
  if (absl::Status healthy = Healthy(); !healthy.ok())
    return undo(healthy);  // writing may have taken long
  renamed = true;
  if (renameat(directory_.get(), temporary.c_str(), directory_.get(), file.c_str()) != 0) {
    return undo(Failed("rename to", PathOf(file)));
  }
  CrashPoint("store.after_rename");
  if (fsync(directory_.get()) != 0) return Failed("fsync", path_);
  CrashPoint("store.after_fsync");
  return absl::OkStatus();
}

absl::StatusOr<std::string> FileStore::Save(v1::GroupRecord& record, const std::string& expected) {
  const std::string& group = record.name();
  const std::string file = FileNameOf(group);
  if (file.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat("a record cannot be named \"", absl::CHexEscape(group), "\""));
  }
  if (record.schema_version() != kSchemaVersion) {
    return absl::InvalidArgumentError(absl::StrCat("the record of ", group, " has schema version ",
                                                   record.schema_version(),
                                                   "; this version writes ", kSchemaVersion));
  }
  RETURN_IF_ERROR(Healthy());
  FileHeader stored;
  const absl::StatusOr<std::string> text = Read(file, kMaxHeaderBytes);
  if (text.ok()) {
    ASSIGN_OR_RETURN(stored, ParseHeader(*text, PathOf(file)));
  } else if (!absl::IsNotFound(text.status())) {
    return text.status();
  }
  const std::string found = text.ok() ? stored.Version() : "";
  const auto open = unconfirmed_.find(group);
  const bool ours = open != unconfirmed_.end() && open->second.base == expected &&
                    (open->second.before == found || open->second.after == found);
  if (found != expected && !ours) {
    return absl::AbortedError(absl::StrCat(
        "state file ", PathOf(file), " was written by somebody else: found version ",
        found.empty() ? "none" : found, ", expected ", expected.empty() ? "none" : expected));
  }
  SealHistory(record);
  FileHeader header;
  ASSIGN_OR_RETURN(const std::string next, EncodeFile(record, stored.write + 1, header));
  if (next.size() > kMaxFileBytes) {
    return absl::InvalidArgumentError(absl::StrCat("the record of ", group, " takes ", next.size(),
                                                   " bytes; at most ", kMaxFileBytes, " are kept"));
  }
  bool renamed = false;
  if (absl::Status replaced = Replace(file, next, renamed); !replaced.ok()) {
    if (renamed) unconfirmed_[group] = {expected, found, header.Version()};
    return replaced;
  }
  unconfirmed_.erase(group);
  return header.Version();
}

}  // namespace

absl::StatusOr<std::unique_ptr<Store>> OpenFileStore(FileStoreOptions options) {
  if (options.directory.empty()) return absl::InvalidArgumentError("no state directory is given");
  ASSIGN_OR_RETURN(Descriptor directory, OpenDirectory(options.directory));
  auto store = std::make_unique<FileStore>(std::move(options.directory), std::move(directory));
  RETURN_IF_ERROR(store->Lock());
  RETURN_IF_ERROR(store->RemoveLeftovers());
  return store;
}

}  // namespace failover::store
