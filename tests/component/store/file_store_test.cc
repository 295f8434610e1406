#include "controller/store/file_store.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <sstream>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "controller/store/file_format.h"
#include "gtest/gtest.h"

namespace failover::store {
namespace {

namespace fs = std::filesystem;

class FileStoreTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (fs::path(testing::TempDir()) / "store-XXXXXX").string();
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    root_ = pattern;
    directory_ = root_ + "/state";
  }
  void TearDown() override {
    std::error_code ignored;
    fs::remove_all(root_, ignored);
  }

  static v1::GroupRecord Record(uint64_t term = 1) {
    v1::GroupRecord record;
    record.set_schema_version(1);
    record.set_name("orders-api");
    record.set_term(term);
    record.add_history()->set_text(absl::StrCat("term ", term));
    return record;
  }
  std::unique_ptr<Store> Open() {
    absl::StatusOr<std::unique_ptr<Store>> store = OpenFileStore({directory_});
    EXPECT_TRUE(store.ok()) << store.status();
    return store.ok() ? *std::move(store) : nullptr;
  }
  absl::Status OpenStatus() { return OpenFileStore({directory_}).status(); }
  std::string File() const { return directory_ + "/orders-api.state"; }
  static std::string Contents(const std::string& file) {
    std::ifstream stream(file, std::ios::binary);
    std::ostringstream text;
    text << stream.rdbuf();
    return text.str();
  }
  static void Write(const std::string& file, const std::string& text) {
    std::ofstream(file, std::ios::binary) << text;
  }
  // Runs `body` in a process of its own. 0 = it returned true, 1 = false, else 128 + the signal.
  static int InChild(const std::function<bool()>& body) {
    const pid_t child = fork();
    if (child == 0) _exit(body() ? 0 : 1);
    int status = 0;
    EXPECT_EQ(waitpid(child, &status, 0), child);
    return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
  }

  std::string root_, directory_;
};

TEST_F(FileStoreTest, AnEmptyDirectoryHasNoRecords) {
  const auto store = Open();
  EXPECT_TRUE(absl::IsNotFound(store->Load("orders-api").status()));
  EXPECT_TRUE(store->List()->empty());
  EXPECT_TRUE(store->Healthy().ok());
}

TEST_F(FileStoreTest, ARecordSurvivesANewProcess) {
  v1::GroupRecord record = Record(4);
  const std::string version = Open()->Save(record, "").value();
  const absl::StatusOr<Versioned> read = Open()->Load("orders-api");
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->version, version);
  EXPECT_EQ(read->record.SerializeAsString(), record.SerializeAsString());
}

TEST_F(FileStoreTest, SavingSealsTheHistory) {
  const auto store = Open();
  v1::GroupRecord record = Record();
  ASSERT_TRUE(store->Save(record, "").ok());
  EXPECT_FALSE(record.history(0).hash().empty());
  EXPECT_TRUE(HistoryIntact(store->Load("orders-api")->record));
}

TEST_F(FileStoreTest, ForeignBytesInTheHistoryDoNotBreakItsChainOnReload) {
  const auto store = Open();
  v1::GroupRecord record = Record();
  record.mutable_history(0)->set_text("cut in the middle of a letter: \xc3");
  ASSERT_TRUE(store->Save(record, "").ok());
  record.add_history()->set_text("next");
  ASSERT_TRUE(store->Save(record, store->Load("orders-api")->version).ok());
  EXPECT_TRUE(HistoryIntact(store->Load("orders-api")->record));
}

TEST_F(FileStoreTest, OnlyTheExpectedVersionIsReplaced) {
  const auto store = Open();
  v1::GroupRecord record = Record(1);
  const std::string first = store->Save(record, "").value();
  EXPECT_TRUE(absl::IsAborted(store->Save(record, "").status()));
  const std::string second = store->Save(record, first).value();
  EXPECT_NE(first, second);  // although nothing changed
  const absl::Status late = store->Save(record, first).status();
  EXPECT_TRUE(absl::IsAborted(late)) << late;
  EXPECT_TRUE(absl::StrContains(late.message(), second)) << late;
  EXPECT_EQ(store->Load("orders-api")->version, second);
}

TEST_F(FileStoreTest, ARecordThatVanishedIsNotWrittenAnew) {
  const auto store = Open();
  v1::GroupRecord record = Record();
  const std::string version = store->Save(record, "").value();
  fs::remove(File());
  EXPECT_TRUE(absl::IsAborted(store->Save(record, version).status()));
  EXPECT_FALSE(fs::exists(File()));
}

TEST_F(FileStoreTest, ListNamesEveryGroupWithItsVersion) {
  const auto store = Open();
  v1::GroupRecord a = Record(), b = Record();
  b.set_name("Payments/2");
  const std::string version_a = store->Save(a, "").value(), version_b = store->Save(b, "").value();
  const std::map<std::string, std::string> expected = {{"orders-api", version_a},
                                                       {"Payments/2", version_b}};
  EXPECT_EQ(*store->List(), expected);
  Write(directory_ + "/README", "not a record");
  Write(File(), "damaged");
  EXPECT_EQ((*store->List())["orders-api"], "unreadable");
  EXPECT_EQ(store->List()->size(), 2u);
}

TEST_F(FileStoreTest, DirectoryAndFilesAreForTheOwnerOnly) {
  umask(0);
  const auto store = Open();
  v1::GroupRecord record = Record();
  ASSERT_TRUE(store->Save(record, "").ok());
  umask(022);
  struct stat info {};
  ASSERT_EQ(stat(directory_.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0700u);
  for (const std::string& file : {File(), directory_ + "/lock"}) {
    ASSERT_EQ(stat(file.c_str(), &info), 0);
    EXPECT_EQ(info.st_mode & 0777, 0600u) << file;
  }
}

TEST_F(FileStoreTest, MissingParentDirectoriesAreCreated) {
  directory_ = root_ + "/a/b/c/";
  EXPECT_TRUE(Open()->Healthy().ok());
}

TEST_F(FileStoreTest, ADirectoryThatCannotBeUsedIsRefusedWithTheReason) {
  EXPECT_TRUE(absl::IsInvalidArgument(OpenFileStore({""}).status()));
  Write(directory_, "a file");
  const absl::Status file = OpenStatus();
  EXPECT_TRUE(absl::IsInvalidArgument(file)) << file;
  EXPECT_TRUE(absl::StrContains(file.message(), directory_ + " is not a directory")) << file;
  directory_ += "/below";
  const absl::Status below = OpenStatus();
  EXPECT_TRUE(absl::IsUnavailable(below)) << below;
  EXPECT_TRUE(absl::StrContains(below.message(), "cannot create directory")) << below;
}

TEST_F(FileStoreTest, ASecondProcessIsRefusedWhileTheFirstLives) {
  const auto store = Open();
  const std::string expected = absl::StrCat("is in use by another process (pid ", getpid(), ")");
  EXPECT_EQ(InChild([&] {
              // The child shares the parent's lock by inheritance; a new open is what another
              // process does.
              const absl::Status status = OpenStatus();
              return absl::IsUnavailable(status) && absl::StrContains(status.message(), expected);
            }),
            0);
}

TEST_F(FileStoreTest, TheLockEndsWithItsStore) {
  Open().reset();
  EXPECT_TRUE(Open()->Healthy().ok());
}

TEST_F(FileStoreTest, ARemovedOrReplacedLockFileStopsWritingForGood) {
  const auto store = Open();
  v1::GroupRecord record = Record();
  const std::string version = store->Save(record, "").value();
  fs::rename(directory_ + "/lock", directory_ + "/moved");
  const absl::Status removed = store->Healthy();
  EXPECT_TRUE(absl::IsUnavailable(removed)) << removed;
  EXPECT_TRUE(absl::StrContains(removed.message(), "was removed or replaced")) << removed;
  EXPECT_TRUE(absl::IsUnavailable(store->Save(record, version).status()));
  EXPECT_EQ(Contents(File()).find("write=1 ") != std::string::npos, true);
  // Put back, it still may have been held by somebody else in between.
  fs::rename(directory_ + "/moved", directory_ + "/lock");
  EXPECT_TRUE(absl::IsUnavailable(store->Healthy()));
}

TEST_F(FileStoreTest, ADirectoryMovedAwayStopsWriting) {
  const auto store = Open();
  fs::rename(directory_, root_ + "/elsewhere");
  v1::GroupRecord record = Record();
  EXPECT_TRUE(absl::IsUnavailable(store->Save(record, "").status()));
  directory_ = root_ + "/state";
  const auto other = Open();  // a new directory under the old name, held by somebody else
  EXPECT_TRUE(absl::IsUnavailable(store->Healthy()));
  EXPECT_FALSE(fs::exists(root_ + "/elsewhere/orders-api.state"));
}

TEST_F(FileStoreTest, ALostLockIsNoticed) {
  const auto store = Open();
  ASSERT_TRUE(store->Healthy().ok());
  // Unlocks the store's own open file, found by its inode, as a failing network file system would.
  struct stat lock {
  }, info{};
  ASSERT_EQ(stat((directory_ + "/lock").c_str(), &lock), 0);
  for (int fd = 3; fd < 256; ++fd) {
    if (fstat(fd, &info) == 0 && info.st_ino == lock.st_ino && info.st_dev == lock.st_dev)
      flock(fd, LOCK_UN);
  }
  const absl::Status lost = store->Healthy();
  EXPECT_TRUE(absl::IsUnavailable(lost)) << lost;
  EXPECT_TRUE(absl::StrContains(lost.message(), "was lost")) << lost;
}

TEST_F(FileStoreTest, ACorruptFileIsRefusedAndKept) {
  v1::GroupRecord record = Record();
  const std::string version = Open()->Save(record, "").value();
  std::string damaged = Contents(File());
  damaged[damaged.size() / 2] ^= 0x20;
  Write(File(), damaged);
  const auto store = Open();
  EXPECT_TRUE(absl::IsDataLoss(store->Load("orders-api").status()));
  Write(File(), "garbage");
  EXPECT_TRUE(absl::IsDataLoss(store->Load("orders-api").status()));
  EXPECT_TRUE(absl::IsDataLoss(store->Save(record, version).status()));
  EXPECT_TRUE(absl::IsDataLoss(store->Save(record, "").status()));
  EXPECT_EQ(Contents(File()), "garbage");
}

TEST_F(FileStoreTest, ANewerFileIsRefusedAndKept) {
  const auto store = Open();
  v1::GroupRecord newer = Record();
  newer.set_schema_version(2);
  FileHeader header;
  const std::string text = EncodeFile(newer, 9, header).value();
  Write(File(), text);
  EXPECT_TRUE(absl::IsFailedPrecondition(store->Load("orders-api").status()));
  v1::GroupRecord record = Record();
  EXPECT_TRUE(absl::IsFailedPrecondition(store->Save(record, "").status()));
  EXPECT_TRUE(absl::IsFailedPrecondition(store->Save(record, header.Version()).status()));
  EXPECT_EQ(Contents(File()), text);
}

TEST_F(FileStoreTest, WhatIsNotARegularFileIsRefused) {
  const auto store = Open();
  v1::GroupRecord record = Record();
  ASSERT_EQ(mkfifo(File().c_str(), 0600), 0);
  EXPECT_TRUE(absl::IsDataLoss(store->Load("orders-api").status()));
  EXPECT_TRUE(absl::IsDataLoss(store->Save(record, "").status()));
  fs::remove(File());
  Write(root_ + "/target", "somebody else's");
  fs::create_symlink(root_ + "/target", File());
  EXPECT_TRUE(absl::IsDataLoss(store->Load("orders-api").status()));
  EXPECT_TRUE(absl::IsDataLoss(store->Save(record, "").status()));
  EXPECT_EQ(Contents(root_ + "/target"), "somebody else's");
}

TEST_F(FileStoreTest, ARecordOfAnotherSchemaOrNameIsNotWritten) {
  const auto store = Open();
  v1::GroupRecord record = Record();
  record.set_schema_version(0);
  EXPECT_TRUE(absl::IsInvalidArgument(store->Save(record, "").status()));
  record = Record();
  record.set_name("");
  EXPECT_TRUE(absl::IsInvalidArgument(store->Save(record, "").status()));
  EXPECT_TRUE(absl::IsNotFound(store->Load("").status()));
}

TEST_F(FileStoreTest, LeftoversOfInterruptedWritesAreRemovedAndNothingElse) {
  Open().reset();
  Write(File() + ".tmp", "half a rec");
  Write(directory_ + "/notes.tmp", "a person's");
  Open().reset();
  EXPECT_FALSE(fs::exists(File() + ".tmp"));
  EXPECT_TRUE(fs::exists(directory_ + "/notes.tmp"));
}

TEST_F(FileStoreTest, AFailedWriteLeavesTheOldRecordAndNoLeftover) {
  const int status = InChild([&] {
    const auto store = Open();
    v1::GroupRecord record = Record(1);
    const std::string version = store->Save(record, "").value();
    signal(SIGXFSZ, SIG_IGN);
    const rlimit small{64, RLIM_INFINITY};
    if (setrlimit(RLIMIT_FSIZE, &small) != 0) return false;
    record.set_term(2);
    const absl::Status failed = store->Save(record, version).status();
    const rlimit all{RLIM_INFINITY, RLIM_INFINITY};
    if (setrlimit(RLIMIT_FSIZE, &all) != 0) return false;
    return absl::IsUnavailable(failed) && absl::StrContains(failed.message(), "cannot write ") &&
           store->Load("orders-api")->record.term() == 1 && !fs::exists(File() + ".tmp") &&
           store->Save(record, version).ok() && store->Load("orders-api")->record.term() == 2;
  });
  EXPECT_EQ(status, 0);
}

// Needs the right to mount: as root, or where user namespaces are allowed.
class SmallFileSystemTest : public FileStoreTest {
 protected:
  static constexpr int kNoRight = 77;
  // Runs `body` with a tmpfs of 64 KiB mounted on directory_, seen by this process only.
  int InSmallFileSystem(const std::function<bool()>& body) {
    fs::create_directory(directory_);
    const pid_t child = fork();
    if (child == 0) {
      const bool space = unshare(CLONE_NEWNS) == 0 || unshare(CLONE_NEWUSER | CLONE_NEWNS) == 0;
      if (!space || mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
          mount("none", directory_.c_str(), "tmpfs", 0, "size=64k") != 0) {
        _exit(kNoRight);
      }
      _exit(body() ? 0 : 1);
    }
    int status = 0;
    EXPECT_EQ(waitpid(child, &status, 0), child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }
};

TEST_F(SmallFileSystemTest, AFullDiskIsUnavailableAndTheOldRecordStays) {
  const int status = InSmallFileSystem([&] {
    const auto store = Open();
    v1::GroupRecord record = Record(1);
    const std::string version = store->Save(record, "").value();
    record.set_term(2);
    record.mutable_history(0)->clear_hash();
    record.mutable_history(0)->set_text(std::string(100'000, 'x'));
    const absl::Status full = store->Save(record, version).status();
    v1::GroupRecord small = Record(3);
    return absl::IsUnavailable(full) &&
           absl::StrContains(full.message(), "No space left on device") &&
           store->Load("orders-api")->record.term() == 1 && store->Save(small, version).ok();
  });
  if (status == kNoRight) GTEST_SKIP() << "no right to mount";
  EXPECT_EQ(status, 0);
}

TEST_F(SmallFileSystemTest, AReadOnlyFileSystemIsUnavailable) {
  const int status = InSmallFileSystem([&] {
    v1::GroupRecord record = Record(1);
    if (!Open()->Save(record, "").ok()) return false;
    if (mount("none", directory_.c_str(), nullptr, MS_REMOUNT | MS_RDONLY, nullptr) != 0)
      return false;
    const absl::Status refused = OpenStatus();
    return absl::IsUnavailable(refused) &&
           absl::StrContains(refused.message(), "Read-only file system");
  });
  if (status == kNoRight) GTEST_SKIP() << "no right to mount";
  EXPECT_EQ(status, 0);
}

}  // namespace
}  // namespace failover::store
