#include "common/digest.h"

#include <gtest/gtest.h>

namespace failover {
namespace {

TEST(DigestTest, Sha256IsThatOfFips180) {
  EXPECT_EQ(Sha256Hex("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(Sha256Hex(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

TEST(DigestTest, HmacIsThatOfRfc4231) {
  EXPECT_EQ(ToHex(HmacSha256("Jefe", "what do ya want for nothing?")),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
}

TEST(DigestTest, AnEmptyHmacKeyIsNotTheKeyOfTheCallBefore) {
  HmacSha256("some key", "data");
  EXPECT_EQ(ToHex(HmacSha256(absl::string_view(), "")),
            "b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad");
}

TEST(DigestTest, Base64IsPaddedAndReadBack) {
  EXPECT_EQ(Base64("a"), "YQ==");
  EXPECT_EQ(Base64("\xff\xfe\xfd"), "//79");
  EXPECT_EQ(FromBase64("YQ=="), "a");
  EXPECT_EQ(FromBase64(""), "");
}

TEST(DigestTest, Base64ThatIsNotExactIsRefused) {
  for (const char* text : {"YQ", "YQ=", "Y Q==", "YQ==\n", "YR==", "_-79", "%", "YQ==YQ=="}) {
    EXPECT_EQ(FromBase64(text), std::nullopt) << text;
  }
}

}  // namespace
}  // namespace failover
