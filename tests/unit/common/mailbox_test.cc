#include "common/mailbox.h"

#include <gtest/gtest.h>

#include <memory>
#include <thread>

namespace failover {
namespace {

TEST(MailboxTest, ItemsComeOutInTheirOrder) {
  Mailbox<int> mailbox(3);
  EXPECT_TRUE(mailbox.TryPut(1));
  EXPECT_TRUE(mailbox.TryPut(2));
  EXPECT_EQ(mailbox.size(), 2u);
  EXPECT_EQ(mailbox.Take(absl::ZeroDuration()), 1);
  EXPECT_EQ(mailbox.Take(absl::ZeroDuration()), 2);
  EXPECT_EQ(mailbox.Take(absl::ZeroDuration()), std::nullopt);
}

TEST(MailboxTest, AFullMailboxRefusesAndKeepsWhatItHas) {
  Mailbox<int> mailbox(1);
  EXPECT_TRUE(mailbox.TryPut(1));
  EXPECT_FALSE(mailbox.TryPut(2));
  EXPECT_EQ(mailbox.Take(absl::ZeroDuration()), 1);
  EXPECT_TRUE(mailbox.TryPut(3));
}

TEST(MailboxTest, AClosedMailboxIsEmptiedButTakesNothingMore) {
  Mailbox<std::unique_ptr<int>> mailbox(2);
  EXPECT_TRUE(mailbox.TryPut(std::make_unique<int>(7)));
  mailbox.Close();
  EXPECT_FALSE(mailbox.TryPut(std::make_unique<int>(8)));
  const auto item = mailbox.Take(absl::Hours(1));
  ASSERT_TRUE(item.has_value());
  EXPECT_EQ(**item, 7);
  EXPECT_FALSE(mailbox.Take(absl::Hours(1)).has_value());
}

TEST(MailboxTest, AWaitingTakerIsWokenByAnItemAndByTheClosing) {
  Mailbox<int> mailbox(1);
  std::optional<int> first;
  bool ended = false;
  std::thread taker([&] {
    first = mailbox.Take(absl::Hours(1));
    ended = !mailbox.Take(absl::Hours(1)).has_value();
  });
  EXPECT_TRUE(mailbox.TryPut(5));
  mailbox.Close();
  taker.join();
  EXPECT_EQ(first, 5);
  EXPECT_TRUE(ended);
}

}  // namespace
}  // namespace failover
