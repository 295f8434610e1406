#include "common/digest.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>
#include <openssl/sha.h>

#include <cstdio>
#include <cstdlib>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"

namespace failover {
namespace {

const unsigned char* Bytes(absl::string_view data) {
  return reinterpret_cast<const unsigned char*>(data.data());
}

// A program that cannot draw random numbers cannot name an operation safely: it must not go on.
std::string RandomBytes(int n) {
  std::string bytes(n, '\0');
  if (n > 0 && RAND_bytes(reinterpret_cast<unsigned char*>(bytes.data()), n) != 1) {
    std::fputs("the system's random source gave no bytes\n", stderr);
    std::abort();
  }
  return bytes;
}

}  // namespace

std::string Sha256Hex(absl::string_view data) {
  unsigned char digest[SHA256_DIGEST_LENGTH];
  SHA256(Bytes(data), data.size(), digest);
  return ToHex({reinterpret_cast<const char*>(digest), sizeof(digest)});
}

std::string HmacSha256(absl::string_view key, absl::string_view data) {
  unsigned char mac[EVP_MAX_MD_SIZE];
  unsigned int size = 0;
  // An empty key may come without a buffer, which OpenSSL would read as "the key of the last call".
  const void* key_bytes = key.empty() ? "" : static_cast<const void*>(key.data());
  if (HMAC(EVP_sha256(), key_bytes, static_cast<int>(key.size()), Bytes(data), data.size(), mac,
           &size) == nullptr) {
    std::fputs("OpenSSL cannot compute HMAC-SHA256\n", stderr);
    std::abort();
  }
  return std::string(reinterpret_cast<const char*>(mac), size);
}

std::string ToHex(absl::string_view bytes) { return absl::BytesToHexString(bytes); }

std::string Base64(absl::string_view bytes) { return absl::Base64Escape(bytes); }

std::optional<std::string> FromBase64(absl::string_view text) {
  std::string bytes;
  // absl forgives missing padding and white space, and other spellings of the last bits.
  if (!absl::Base64Unescape(text, &bytes) || Base64(bytes) != text) return std::nullopt;
  return bytes;
}

std::string RandomHex(int n) { return ToHex(RandomBytes(n)); }

std::string RandomUuid() {
  std::string bytes = RandomBytes(16);
  bytes[6] = static_cast<char>((bytes[6] & 0x0f) | 0x40);  // version 4
  bytes[8] = static_cast<char>((bytes[8] & 0x3f) | 0x80);  // RFC 4122 variant
  const std::string hex = ToHex(bytes);
  return absl::StrCat(hex.substr(0, 8), "-", hex.substr(8, 4), "-", hex.substr(12, 4), "-",
                      hex.substr(16, 4), "-", hex.substr(20));
}

}  // namespace failover
