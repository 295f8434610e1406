#include "common/utf8.h"

#include <gtest/gtest.h>

namespace failover {
namespace {

TEST(Utf8Test, WellFormedTextStaysAsItIs) {
  for (const char* text : {"", "abc", "é", "€", "😀", "\xed\x9f\xbf", "\xf4\x8f\xbf\xbf"}) {
    EXPECT_EQ(ToValidUtf8(text), text);
  }
}

TEST(Utf8Test, EveryByteOfAnIllFormedSequenceIsReplaced) {
  const std::string mark = "\xef\xbf\xbd";
  EXPECT_EQ(ToValidUtf8("a\xff"
                        "b"),
            "a" + mark + "b");
  EXPECT_EQ(ToValidUtf8("\xc0\xaf"), mark + mark) << "overlong";
  EXPECT_EQ(ToValidUtf8("\xe0\x80\xaf"), mark + mark + mark) << "overlong";
  EXPECT_EQ(ToValidUtf8("\xed\xa0\x80"), mark + mark + mark) << "a surrogate";
  EXPECT_EQ(ToValidUtf8("\xf4\x90\x80\x80"), mark + mark + mark + mark) << "beyond U+10FFFF";
  EXPECT_EQ(ToValidUtf8("\xe2\x82"), mark + mark) << "cut off";
}

TEST(Utf8Test, TextIsCutBetweenCharacters) {
  EXPECT_EQ(CutText("abc", 3), "abc");
  EXPECT_EQ(CutText("abcd", 3), "abc…");
  EXPECT_EQ(CutText("ab€", 3), "ab…");
  EXPECT_EQ(CutText("ab€", 4), "ab…");
  EXPECT_EQ(CutText("ab€", 5), "ab€");
  EXPECT_EQ(CutText("😀😀", 7), "😀…");
}

}  // namespace
}  // namespace failover
