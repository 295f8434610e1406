#include "controller/azure/url_text.h"

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"

namespace failover::azure {

std::string PercentEncoded(absl::string_view text, absl::string_view also_kept) {
  constexpr char kHex[] = "0123456789ABCDEF";
  std::string result;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    const bool unreserved =
        absl::ascii_isalnum(byte) || c == '-' || c == '.' || c == '_' || c == '~';
    if (unreserved || also_kept.find(c) != also_kept.npos) {
      result += c;
    } else {
      result += '%';
      result += kHex[byte >> 4];
      result += kHex[byte & 15];
    }
  }
  return result;
}

std::string PercentDecoded(absl::string_view text) {
  std::string result;
  for (size_t i = 0; i < text.size(); ++i) {
    const bool encoded = text[i] == '%' && i + 2 < text.size() &&
                         absl::ascii_isxdigit(static_cast<unsigned char>(text[i + 1])) &&
                         absl::ascii_isxdigit(static_cast<unsigned char>(text[i + 2]));
    if (!encoded) {
      result += text[i];
      continue;
    }
    result += absl::HexStringToBytes(text.substr(i + 1, 2));
    i += 2;
  }
  return result;
}

}  // namespace failover::azure
