#include "common/config_file.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <atomic>
#include <filesystem>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "tests/support/temp_dir.h"
#include "tests/support/wait_until.h"

namespace failover {
namespace {

TEST(ReadSmallFileTest, TheWholeFileIsRead) {
  const TempDir directory;
  const std::string text(100'000, 'x');
  const auto read = ReadSmallFile(directory.Write("f", text));
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(*read, text);
}

TEST(ReadSmallFileTest, WhatCannotBeReadIsNamed) {
  const TempDir directory;
  absl::Status status = ReadSmallFile(directory.File("absent")).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_TRUE(absl::StrContains(status.message(), directory.File("absent"))) << status;
  status = ReadSmallFile(directory.path()).status();
  EXPECT_TRUE(absl::StrContains(status.message(), "not a regular file")) << status;
  ASSERT_EQ(mkfifo(directory.File("fifo").c_str(), 0600), 0);
  status = ReadSmallFile(directory.File("fifo")).status();
  EXPECT_TRUE(absl::StrContains(status.message(), "not a regular file")) << status;
  const std::string big = directory.Write("big", std::string((1 << 20) + 1, 'x'));
  status = ReadSmallFile(big).status();
  EXPECT_EQ(status.message(), absl::StrCat(big, ": found more than 1 MiB; allowed: at most 1 MiB"));
}

TEST(ReadSecretFileTest, TheSecretIsTrimmedAtItsEndAndMustNotBeEmpty) {
  const TempDir directory;
  EXPECT_EQ(*ReadSecretFile(directory.Write("s", " key== \r\n\n")), " key==");
  const absl::Status status = ReadSecretFile(directory.Write("e", " \n")).status();
  EXPECT_EQ(status.message(),
            absl::StrCat(directory.File("e"), ": found nothing; allowed: a secret"));
}

// Counts the calls of a watcher.
struct Counter {
  std::atomic<int> calls{0};
  std::function<void()> Callback() {
    return [this] { ++calls; };
  }
  bool Reaches(int n) {
    return WaitUntil([&] { return calls >= n; });
  }
};

TEST(FileWatcherTest, AChangeIsSeenHoweverItIsWritten) {
  const TempDir directory;
  const std::string file = directory.Write("f", "one");
  Counter counter;
  FileWatcher watcher({file}, counter.Callback());
  directory.Write("f", "two");  // renamed over
  EXPECT_TRUE(counter.Reaches(1));
  std::ofstream(file) << "three";  // rewritten in place
  EXPECT_TRUE(counter.Reaches(2));
  std::filesystem::remove(file);
  EXPECT_TRUE(counter.Reaches(3));
  directory.Write("f", "three");
  EXPECT_TRUE(counter.Reaches(4));
}

TEST(FileWatcherTest, AnEqualContentIsSilent) {
  const TempDir directory;
  const std::string file = directory.Write("f", "one");
  Counter counter;
  FileWatcher watcher({file}, counter.Callback());
  directory.Write("f", "one");
  directory.Write("other", "x");
  std::filesystem::last_write_time(file, std::filesystem::file_time_type::clock::now());
  directory.Write("f", "two");
  EXPECT_TRUE(counter.Reaches(1));
  EXPECT_EQ(counter.calls, 1) << "one call for the one change, none for what came before it";
}

TEST(FileWatcherTest, TheAtomicSwapOfKubernetesIsSeen) {
  const TempDir directory;
  namespace fs = std::filesystem;
  const auto put = [&](const std::string& name, absl::string_view text) {
    fs::create_directory(directory.File(name));
    std::ofstream(directory.File(name) + "/config.yaml") << text;
    fs::create_directory_symlink(name, directory.File("..data_tmp"));
    fs::rename(directory.File("..data_tmp"), directory.File("..data"));
  };
  put("..2026_1", "one");
  fs::create_symlink("..data/config.yaml", directory.File("config.yaml"));
  Counter counter;
  FileWatcher watcher({directory.File("config.yaml")}, counter.Callback());
  put("..2026_2", "two");
  EXPECT_TRUE(counter.Reaches(1));
  put("..2026_3", "three");
  EXPECT_TRUE(counter.Reaches(2));
}

TEST(FileWatcherTest, WhatInotifyCannotSeeIsFoundByTheRecheck) {
  const TempDir directory;
  const std::string file = directory.File("later/f");  // its directory does not exist yet
  Counter counter;
  FileWatcher watcher({file}, counter.Callback(), absl::Milliseconds(20));
  std::filesystem::create_directory(directory.File("later"));
  directory.Write("later/f", "one");
  EXPECT_TRUE(counter.Reaches(1));
}

TEST(FileWatcherTest, EachOfSeveralFilesIsWatched) {
  const TempDir a, b;
  Counter counter;
  FileWatcher watcher({a.Write("x", "1"), b.Write("y", "1")}, counter.Callback());
  a.Write("x", "2");
  EXPECT_TRUE(counter.Reaches(1));
  b.Write("y", "2");
  EXPECT_TRUE(counter.Reaches(2));
}

}  // namespace
}  // namespace failover
