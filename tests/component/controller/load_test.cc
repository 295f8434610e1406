// No lane waits for another, and everything ends in time (design.md §3).
#include <atomic>
#include <chrono>
#include <thread>

#include "tests/component/controller/fixture.h"

namespace failover::runtime {
namespace {

using std::chrono::steady_clock;

class LoadTest : public RuntimeTest {
 protected:
  // Occupies the core thread until the returned promise is fulfilled.
  std::shared_ptr<std::promise<void>> OccupyCore() {
    auto release = std::make_shared<std::promise<void>>();
    auto occupied = std::make_shared<std::promise<void>>();
    std::future<void> is_occupied = occupied->get_future();
    loop_->Reconfigure(Load(kOrders, ++generation_).runtime,
                       [occupied, done = release->get_future().share()](const absl::Status&) {
                         occupied->set_value();
                         done.wait();
                       });
    is_occupied.wait();
    return release;
  }
};

TEST_F(LoadTest, ASwitchWaitsForNoReadOfEntities) {
  StartWithRoles();
  Fault(R"({"operation":"entityRead","action":"slow","delay":"50s"})");
  v1::SyncDiffRequest diff;
  diff.set_group("orders");
  for (int i = 0; i < 8; ++i) {
    handlers_.sync_diff(diff, [](const absl::StatusOr<v1::SyncDiffResponse>&) {});
  }
  ASSERT_TRUE(WaitUntil([&] { return Fired() >= 3; },
                        kPatience));  // the work lane reads, and more of it waits
  Answer answer = Give(Failover());
  EXPECT_TRUE(Get(answer).ok());
  EXPECT_TRUE(WaitUntil([&] { return Enabled() == "neu"; }, absl::Seconds(30)));
}

TEST_F(LoadTest, APollWaitsForNoComparison) {
  emulator_->With([](emulator::World& world, absl::Time) {
    world.backup_duration = {absl::Hours(1), absl::Hours(1)};
  });
  StartWithRoles(WithSync());
  ASSERT_TRUE(WaitUntil([&] { return Requests("poll") >= 1; }, kPatience));
  Fault(R"({"operation":"entityRead","action":"slow","delay":"50s"})");
  v1::SyncDiffRequest diff;
  diff.set_group("orders");
  for (int i = 0; i < 8; ++i) {
    handlers_.sync_diff(diff, [](const absl::StatusOr<v1::SyncDiffResponse>&) {});
  }
  ASSERT_TRUE(WaitUntil([&] { return Fired() >= 3; }, kPatience));
  const int polls = Requests("poll");
  EXPECT_TRUE(WaitUntil([&] { return Requests("poll") > polls + 1; }, absl::Seconds(20)));
}

TEST_F(LoadTest, ASnapshotIsAnsweredWhileTheCoreThreadIsBusy) {
  StartWithRoles();
  EXPECT_EQ(loop_->Snapshot().groups.size(), 1);
  const auto release = OccupyCore();
  const auto begun = steady_clock::now();
  const metrics::Snapshot snapshot = loop_->Snapshot();
  EXPECT_LT(steady_clock::now() - begun, std::chrono::seconds(10));
  EXPECT_EQ(snapshot.groups.size(), 1);  // what was known before
  EXPECT_TRUE(WaitUntil([&] { return loop_->Idle() > absl::Seconds(1); }, kPatience));
  release->set_value();
  EXPECT_TRUE(WaitUntil([&] { return loop_->Idle() < absl::Seconds(1); }, kPatience));
}

TEST_F(LoadTest, AFullMailboxRefusesWhatItCannotHoldAndGoesOnAfterwards) {
  StartWithRoles();
  const auto release = OccupyCore();
  const uint64_t capacity = loop_->Snapshot().mailbox_capacity;
  const auto put = [&] {
    intake::AgentInput input;
    input.events.emplace_back("orders", core::AgentStream{{"uksouth", "a", "1"}, true});
    return loop_->Receive(std::move(input));
  };
  uint64_t taken = 0;
  while (taken <= capacity && put()) ++taken;
  EXPECT_LE(taken, capacity);
  const metrics::Snapshot snapshot = loop_->Snapshot();
  EXPECT_GE(snapshot.mailbox_refused, 1);
  EXPECT_GE(snapshot.mailbox_size, capacity);
  Answer answer = Give(Pause());  // operators still get in
  release->set_value();
  Get(answer);  // refused, if the thread was occupied for longer than the clock-gap rule allows
  EXPECT_TRUE(WaitUntil(
      [&] {
        Answer again = Give(Pause());
        return Get(again).ok();
      },
      kPatience));
  EXPECT_TRUE(put());
}

TEST_F(LoadTest, AStopInTheMiddleOfEverythingEndsInTime) {
  StartWithRoles(absl::StrCat(WithSync(), kBilling));
  StartAgents(std::chrono::milliseconds(2));
  StartAgents(std::chrono::milliseconds(2));
  Fault(R"({"operation":"entityRead","action":"slow","delay":"50s"})");
  Fault(R"({"operation":"trafficRead","action":"silence","skip":3})");
  v1::SyncDiffRequest diff;
  diff.set_group("orders");
  for (int i = 0; i < 8; ++i) {
    handlers_.sync_diff(diff, [](const absl::StatusOr<v1::SyncDiffResponse>&) {});
  }
  std::atomic<bool> over = false;
  std::vector<std::jthread> callers;
  callers.emplace_back([&] {
    while (!over) loop_->Snapshot();
  });
  callers.emplace_back([&] {
    for (int i = 0; !over; ++i) {
      v1::OrderRequest request = Order();
      if (i % 2 == 0) {
        request.mutable_pause();
      } else {
        request.mutable_resume();
      }
      handlers_.give_order(request, "operator", [](const absl::StatusOr<v1::OrderResponse>&) {});
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
  });
  callers.emplace_back([&] {
    const Settings settings = Load(absl::StrCat(WithSync(), kBilling), 2).runtime;
    while (!over) {
      loop_->Reconfigure(settings, [](const absl::Status&) {});
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
  });
  ASSERT_TRUE(
      WaitUntil([&] { return Fired() >= 3 && store_->attempts("orders") > 20; }, kPatience));
  const auto begun = steady_clock::now();
  loop_->Stop();
  EXPECT_LT(steady_clock::now() - begun, std::chrono::seconds(10));
  over = true;
  callers.clear();
  intake_.reset();  // its last calls find a loop that takes nothing
  EXPECT_LT(steady_clock::now() - begun, std::chrono::seconds(20));
  // What was decided last is on disk.
  EXPECT_TRUE(store::HistoryIntact(store_->durable("orders")));
}

}  // namespace
}  // namespace failover::runtime
