#include "controller/config_values.h"

#include <arpa/inet.h>

#include <algorithm>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"

namespace failover {
namespace {

bool Alnum(char c) { return absl::ascii_isalnum(static_cast<unsigned char>(c)); }
bool LowerAlnum(char c) {
  return absl::ascii_islower(static_cast<unsigned char>(c)) ||
         absl::ascii_isdigit(static_cast<unsigned char>(c));
}

bool Digits(absl::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(),
                                      [](unsigned char c) { return absl::ascii_isdigit(c); });
}

// Letters, digits and the characters of `also`.
bool AlnumOr(absl::string_view text, absl::string_view also, size_t longest) {
  return !text.empty() && text.size() <= longest &&
         std::all_of(text.begin(), text.end(),
                     [also](char c) { return Alnum(c) || absl::StrContains(also, c); });
}

bool IsAddress(const std::string& text) {
  unsigned char bytes[16];
  return inet_pton(AF_INET, text.c_str(), bytes) == 1 ||
         inet_pton(AF_INET6, text.c_str(), bytes) == 1;
}

bool IsStatus(absl::string_view text, int& status) {
  return text.size() == 3 && Digits(text) && absl::SimpleAtoi(text, &status) && status >= 100 &&
         status <= 599;
}

bool Word(absl::string_view text, absl::string_view word) {
  return absl::EqualsIgnoreCase(text, word);
}

}  // namespace

bool IsName(absl::string_view text) {
  return !text.empty() && text.size() <= 63 && text.front() != '-' && text.back() != '-' &&
         std::all_of(text.begin(), text.end(), [](char c) { return LowerAlnum(c) || c == '-'; });
}

bool IsHostName(absl::string_view text) {
  if (IsAddress(std::string(text))) return true;
  if (text.empty() || text.size() > 253) return false;
  for (const absl::string_view label : absl::StrSplit(text, '.')) {
    if (!AlnumOr(label, "-_", 63) || label.front() == '-' || label.back() == '-') return false;
  }
  return true;
}

bool ParseHostPort(absl::string_view text, std::string& host, int& port) {
  const size_t colon = text.rfind(':');
  if (colon == absl::string_view::npos || colon == 0) return false;
  const absl::string_view digits = text.substr(colon + 1);
  if (!Digits(digits) || digits.size() > 5 || !absl::SimpleAtoi(digits, &port) || port > 65535)
    return false;
  absl::string_view name = text.substr(0, colon);
  const bool bracketed = absl::ConsumePrefix(&name, "[") && absl::ConsumeSuffix(&name, "]");
  host = std::string(name);
  return IsHostName(host) && absl::StrContains(host, ':') == bracketed;
}

bool IsToken(absl::string_view text) { return AlnumOr(text, "!#$%&'*+-.^_`|~", 128); }

bool IsHeaderValue(absl::string_view text) {
  return text.size() <= 1024 && std::all_of(text.begin(), text.end(), [](char c) {
           return c == '\t' || (c >= ' ' && c <= '~');
         });
}

bool IsStatusRange(absl::string_view text) {
  int low = 0, high = 0;
  const size_t dash = text.find('-');
  if (dash == absl::string_view::npos) return IsStatus(text, low);
  return IsStatus(text.substr(0, dash), low) && IsStatus(text.substr(dash + 1), high) &&
         low <= high;
}

bool IsApiVersion(absl::string_view text) {
  absl::ConsumeSuffix(&text, "-preview");
  const std::vector<absl::string_view> parts = absl::StrSplit(text, '-');
  return parts.size() == 3 && parts[0].size() == 4 && parts[1].size() == 2 &&
         parts[2].size() == 2 && std::all_of(parts.begin(), parts.end(), Digits);
}

bool IsDirectoryId(absl::string_view text, bool dots) {
  return AlnumOr(text, dots ? "-." : "-", 253);
}

bool IsStorageAccount(absl::string_view text) {
  return text.size() >= 3 && text.size() <= 24 && std::all_of(text.begin(), text.end(), LowerAlnum);
}

bool IsContainer(absl::string_view text) {
  return text.size() >= 3 && IsName(text) && !absl::StrContains(text, "--");
}

bool IsEndpointName(absl::string_view text) { return AlnumOr(text, "-_.", 260); }

bool IsResourceId(absl::string_view text, absl::string_view name_space, absl::string_view type) {
  const std::vector<absl::string_view> parts = absl::StrSplit(text, '/');
  return parts.size() == 9 && parts[0].empty() && Word(parts[1], "subscriptions") &&
         AlnumOr(parts[2], "-", 64) && Word(parts[3], "resourceGroups") &&
         AlnumOr(parts[4], "-_.()", 90) && parts[4].back() != '.' && Word(parts[5], "providers") &&
         Word(parts[6], name_space) && Word(parts[7], type) && AlnumOr(parts[8], "-", 63) &&
         Alnum(parts[8].front()) && Alnum(parts[8].back());
}

}  // namespace failover
