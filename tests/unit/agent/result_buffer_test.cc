#include "agent/result_buffer.h"

#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "tests/support/fake_clock.h"

namespace failover::agent {
namespace {

class ResultBufferTest : public testing::Test {
 protected:
  void Make(ResultBuffer::Limits limits) {
    buffer_ = std::make_unique<ResultBuffer>(
        clock_, limits, [this](AgentMetrics::Drop reason, uint64_t count) {
          (reason == AgentMetrics::Drop::kExpired ? expired_ : full_) += count;
        });
  }
  void Add(uint64_t sequence, bool urgent = false, const std::string& error = "") {
    KeptResult kept;
    kept.scheduled = clock_.Steady() - absl::Seconds(1);
    kept.completed = clock_.Steady();
    kept.result.set_target("t");
    kept.result.set_sequence(sequence);
    kept.result.set_error(error);
    buffer_->Add(std::move(kept), urgent);
  }
  std::vector<uint64_t> Sequences(const ResultBuffer::Batch& batch) {
    std::vector<uint64_t> sequences;
    for (const auto& result : batch.results) sequences.push_back(result.sequence());
    return sequences;
  }

  FakeClock clock_;
  uint64_t expired_ = 0, full_ = 0;
  std::unique_ptr<ResultBuffer> buffer_;
};

TEST_F(ResultBufferTest, ResultsAreReadInOrderFromAPosition) {
  Make({});
  for (uint64_t i = 1; i <= 3; ++i) Add(i);
  EXPECT_EQ(buffer_->end(), 3u);
  EXPECT_EQ(Sequences(buffer_->Read(1, 3)), (std::vector<uint64_t>{2, 3}));
  EXPECT_EQ(Sequences(buffer_->Read(0, 2)), (std::vector<uint64_t>{1, 2}));
  EXPECT_EQ(buffer_->Read(3, 3).next, 3u);
}

TEST_F(ResultBufferTest, AgesAreThoseOfTheMomentOfReading) {
  Make({});
  Add(1);
  clock_.Advance(absl::Milliseconds(2500));
  v1::ProbeResult result = buffer_->Read(0, 1).results.at(0);
  EXPECT_EQ(result.complete_age().seconds(), 2);
  EXPECT_EQ(result.complete_age().nanos(), 500000000);
  EXPECT_EQ(result.start_age().seconds(), 3);
  clock_.Advance(absl::Seconds(10));
  result = buffer_->Read(0, 1).results.at(0);
  EXPECT_EQ(result.complete_age().seconds(), 12);
}

TEST_F(ResultBufferTest, AStepOfTheWallClockChangesNoAge) {
  Make({});
  Add(1);
  clock_.JumpWall(absl::Hours(-3));
  clock_.Advance(absl::Seconds(1));
  EXPECT_EQ(buffer_->Read(0, 1).results.at(0).complete_age().seconds(), 1);
}

TEST_F(ResultBufferTest, ResultsOlderThanFiveMinutesGo) {
  Make({});
  Add(1);
  clock_.Advance(absl::Minutes(3));
  Add(2);
  clock_.Advance(absl::Minutes(3));
  EXPECT_EQ(Sequences(buffer_->Read(0, 2)), std::vector<uint64_t>{2})
      << "also without a new result";
  Add(3);
  EXPECT_EQ(Sequences(buffer_->Read(0, 3)), (std::vector<uint64_t>{2, 3}));
  EXPECT_EQ(expired_, 1u);
}

TEST_F(ResultBufferTest, TheOldestGoWhenItIsFull) {
  ResultBuffer::Limits limits;
  limits.results = 3;
  Make(limits);
  for (uint64_t i = 1; i <= 5; ++i) Add(i);
  EXPECT_EQ(Sequences(buffer_->Read(0, 5)), (std::vector<uint64_t>{3, 4, 5}));
  EXPECT_EQ(full_, 2u);
}

TEST_F(ResultBufferTest, BytesAreBoundedToo) {
  ResultBuffer::Limits limits;
  limits.bytes = 10000;
  Make(limits);
  for (uint64_t i = 1; i <= 100; ++i) Add(i, false, std::string(190, 'x'));
  EXPECT_LT(buffer_->Read(0, 100).results.size(), 25u);
  EXPECT_GT(buffer_->Read(0, 100).results.size(), 5u);
}

TEST_F(ResultBufferTest, WhatWasDeliveredIsNotCountedAsDropped) {
  ResultBuffer::Limits limits;
  limits.results = 1;
  Make(limits);
  Add(1);
  buffer_->Delivered(1);
  Add(2);
  EXPECT_EQ(full_, 0u);
  Add(3);
  EXPECT_EQ(full_, 1u);
}

TEST_F(ResultBufferTest, ABatchFitsAMessage) {
  Make({});
  for (uint64_t i = 1; i <= 1000; ++i) {
    Add(i, false, std::string(190, 'x'));
  }
  uint64_t position = 0, seen = 0;
  while (position < 1000) {
    const ResultBuffer::Batch batch = buffer_->Read(position, 1000);
    ASSERT_LE(batch.results.size(), 256u);
    v1::AgentMessage message;
    message.mutable_results()->mutable_results()->Add(batch.results.begin(), batch.results.end());
    ASSERT_LE(message.ByteSizeLong(), 64u << 10);
    for (const auto& result : batch.results) ASSERT_EQ(result.sequence(), ++seen);
    ASSERT_GT(batch.next, position);
    position = batch.next;
  }
  EXPECT_EQ(seen, 1000u);
}

TEST_F(ResultBufferTest, AnUrgentResultEndsTheWaitForMore) {
  Make({});
  Add(1, true);
  // Would wait an hour for more otherwise.
  EXPECT_TRUE(buffer_->WaitForBatch(0, absl::Hours(1), [] { return false; }));
}

TEST_F(ResultBufferTest, AFullBatchEndsTheWaitForMore) {
  ResultBuffer::Limits limits;
  limits.batch_results = 2;
  Make(limits);
  Add(1);
  Add(2);
  EXPECT_TRUE(buffer_->WaitForBatch(0, absl::Hours(1), [] { return false; }));
}

TEST_F(ResultBufferTest, OrdinaryResultsWaitForTheGatheringTimeOnly) {
  Make({});
  Add(1);
  EXPECT_TRUE(buffer_->WaitForBatch(0, absl::Milliseconds(1), [] { return false; }));
}

TEST_F(ResultBufferTest, ACancelledWaitEnds) {
  Make({});
  std::atomic<bool> cancelled = false;
  std::thread canceller([&] {
    cancelled = true;
    buffer_->WakeAll();
  });
  EXPECT_FALSE(buffer_->WaitForBatch(0, absl::Hours(1), [&] { return cancelled.load(); }));
  canceller.join();
}

}  // namespace
}  // namespace failover::agent
