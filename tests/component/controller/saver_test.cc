// The store lane (design.md §3): newest record wins, no group waits for another, nothing of an
// ended life is written.
#include "controller/runtime/saver.h"

#include <algorithm>
#include <condition_variable>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/fake_clock.h"
#include "tests/support/wait_until.h"

namespace failover::runtime {
namespace {

using ::testing::ElementsAre;

// Records in memory; writes of a group wait while it is held, and fail while it fails.
class MemoryStore final : public store::Store {
 public:
  absl::StatusOr<store::Versioned> Load(const std::string& group) override {
    MutexLock lock(mutex_);
    const auto found = records_.find(group);
    if (found == records_.end()) return absl::NotFoundError("no record");
    return found->second;
  }
  absl::StatusOr<std::string> Save(v1::GroupRecord& record, const std::string& expected)
      ABSL_NO_THREAD_SAFETY_ANALYSIS override {
    std::unique_lock<Mutex> lock(mutex_);
    ++entered_;
    changed_.notify_all();
    changed_.wait(lock, [&] { return !held_.contains(record.name()); });
    if (failing_.contains(record.name())) return absl::UnavailableError("full");
    store::Versioned& stored = records_[record.name()];
    if (stored.version != expected) return absl::AbortedError("another wrote");
    stored = {record, absl::StrCat(++version_)};
    order_.push_back(absl::StrCat(record.name(), record.epoch()));
    return stored.version;
  }
  absl::StatusOr<std::map<std::string, std::string>> List() override {
    return std::map<std::string, std::string>();
  }
  absl::Status Healthy() override { return absl::OkStatus(); }

  void Hold(const std::string& group) {
    MutexLock lock(mutex_);
    held_.insert(group);
  }
  void Fail(const std::string& group) {
    MutexLock lock(mutex_);
    failing_.insert(group);
  }
  void Open(bool fails_no_more = true) {
    MutexLock lock(mutex_);
    held_.clear();
    if (fails_no_more) failing_.clear();
    changed_.notify_all();
  }
  int entered() const {
    MutexLock lock(mutex_);
    return entered_;
  }
  std::vector<std::string> order() const {
    MutexLock lock(mutex_);
    return order_;
  }

 private:
  mutable Mutex mutex_;
  std::condition_variable_any changed_;
  std::map<std::string, store::Versioned> records_;
  std::set<std::string> held_, failing_;
  std::vector<std::string> order_;
  int entered_ = 0, version_ = 0;
};

class SaverTest : public ::testing::Test {
 protected:
  SaverTest() {
    SaverEvents events;
    events.saved = [this](const v1::GroupRecord& record, uint64_t version, absl::Duration) {
      Tell(absl::StrCat("saved ", record.name(), " ", version));
    };
    events.failed = [this](const std::string& group, const absl::Status&) {
      Tell("failed " + group);
    };
    events.overtaken = [this](const std::string& group) { Tell("overtaken " + group); };
    saver_ = std::make_unique<Saver>(store_, clock_, std::move(events));
  }
  void Tell(const std::string& text) {
    MutexLock lock(mutex_);
    told_.push_back(text);
  }
  bool Told(const std::string& text) {
    return WaitUntil([&] {
      MutexLock lock(mutex_);
      return std::find(told_.begin(), told_.end(), text) != told_.end();
    });
  }
  void Begin(const std::string& group) {
    v1::GroupRecord fresh;
    fresh.set_name(group);
    saver_->Begin(
        group, fresh, [](const v1::GroupRecord&) { return ""; },
        [this, group](absl::StatusOr<v1::GroupRecord> record) {
          Tell(record.ok() ? absl::StrCat("began ", group, " ", record->term())
                           : "not begun " + group);
        });
  }
  void Save(const std::string& group, uint64_t version) {
    auto record = std::make_shared<v1::GroupRecord>();
    record->set_name(group);
    record->set_term(1);
    record->set_epoch(version);
    saver_->Save(group, record, version);
  }

  MemoryStore store_;
  FakeClock clock_;
  Mutex mutex_;
  std::vector<std::string> told_;
  std::unique_ptr<Saver> saver_;
};

TEST_F(SaverTest, AGroupThatWritesAllTheTimeDelaysNoOther) {
  Begin("a");
  Begin("b");
  ASSERT_TRUE(Told("began b 1"));
  store_.Hold("a");
  Save("a", 1);
  ASSERT_TRUE(WaitUntil([&] { return store_.entered() == 3; }));
  Save("a", 2);
  Save("a", 3);  // the newest is enough
  Save("b", 1);
  store_.Open();
  ASSERT_TRUE(Told("saved a 3"));
  ASSERT_TRUE(Told("saved b 1"));
  EXPECT_THAT(store_.order(), ElementsAre("a0", "b0", "a1", "b1", "a3"));
}

TEST_F(SaverTest, ARecordWhoseWriteFailedIsNotWrittenOnceTheGroupWasLoadedAnew) {
  Begin("a");
  Begin("b");
  ASSERT_TRUE(Told("began b 1"));
  store_.Hold("a");
  store_.Fail("a");
  Save("a", 7);
  ASSERT_TRUE(WaitUntil([&] { return store_.entered() == 3; }));
  Begin("a");  // while the write is under way
  store_.Open(false);
  ASSERT_TRUE(Told("not begun a"));
  store_.Open();
  Begin("a");
  ASSERT_TRUE(Told("began a 2"));
  clock_.Advance(absl::Seconds(10));  // long after the next try
  for (uint64_t version : {1, 2, 3}) {
    Save("b", version);
    ASSERT_TRUE(Told(absl::StrCat("saved b ", version)));
  }
  EXPECT_EQ(store_.Load("a")->record.term(), 2);
}

TEST_F(SaverTest, AFailedWriteIsTriedAgainWithTheNewestRecord) {
  Begin("a");
  ASSERT_TRUE(Told("began a 1"));
  store_.Fail("a");
  Save("a", 1);
  ASSERT_TRUE(Told("failed a"));
  Save("a", 2);
  store_.Open();
  clock_.Advance(absl::Seconds(2));
  ASSERT_TRUE(Told("saved a 2"));
  EXPECT_THAT(store_.order(), ElementsAre("a0", "a2"));
}

TEST_F(SaverTest, WhatWaitsAtTheEndIsWrittenOnce) {
  Begin("a");
  ASSERT_TRUE(Told("began a 1"));
  store_.Fail("a");
  Save("a", 1);
  ASSERT_TRUE(Told("failed a"));
  store_.Open();
  saver_.reset();
  EXPECT_THAT(store_.order(), ElementsAre("a0", "a1"));
}

TEST_F(SaverTest, AWriteByAnotherEndsTheLifeOfTheGroup) {
  Begin("a");
  ASSERT_TRUE(Told("began a 1"));
  v1::GroupRecord foreign = store_.Load("a")->record;
  ASSERT_TRUE(store_.Save(foreign, store_.Load("a")->version).ok());
  Save("a", 1);
  EXPECT_TRUE(Told("overtaken a"));
}

}  // namespace
}  // namespace failover::runtime
