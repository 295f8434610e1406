// Redacted of log.h: what counts as a secret in a text, whoever wrote it.
#include <array>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "common/log.h"

namespace failover {
namespace {

constexpr absl::string_view kMark = "[redacted]";

// Names whose value is a secret wherever it stands: JSON, YAML, form bodies, query strings,
// connection strings. Longer names first where one begins with another.
constexpr std::array<absl::string_view, 17> kSecretNames = {"authorization",
                                                            "accessKey",
                                                            "access_key",
                                                            "client_secret",
                                                            "clientSecret",
                                                            "client_assertion",
                                                            "clientAssertion",
                                                            "AccountKey",
                                                            "account_key",
                                                            "SharedAccessKey",
                                                            "SharedAccessSignature",
                                                            "access_token",
                                                            "refresh_token",
                                                            "password",
                                                            "primaryKey",
                                                            "secondaryKey",
                                                            "sig"};
constexpr std::array<absl::string_view, 3> kSchemes = {"SharedKeyLite", "SharedKey", "Bearer"};

bool IsLetter(char c) { return absl::ascii_isalpha(static_cast<unsigned char>(c)) || c == '_'; }
bool IsSpace(char c) { return c == ' ' || c == '\t'; }
bool IsTokenEnd(char c) {
  return absl::ascii_isspace(static_cast<unsigned char>(c)) || c == '"' || c == '\'' || c == ',' ||
         c == ';' || c == '&' || c == '\\' || c == '}' || c == ')' || c == '<' || c == '>';
}
bool IsBase64Url(char c) {
  return absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '_' || c == '-';
}

size_t SkipSpaces(absl::string_view text, size_t at) {
  while (at < text.size() && IsSpace(text[at])) ++at;
  return at;
}

// A quotation mark at `at`, plain or escaped any number of times: its length, else 0.
size_t QuoteLength(absl::string_view text, size_t at) {
  size_t end = at;
  while (end < text.size() && text[end] == '\\') ++end;
  if (end < text.size() && (text[end] == '"' || text[end] == '\'')) return end + 1 - at;
  return 0;
}

// The end of the value that begins at `at`.
size_t ValueEnd(absl::string_view text, size_t at, bool whole_line) {
  const size_t opening = QuoteLength(text, at);
  if (opening > 0) {
    const absl::string_view quote = text.substr(at, opening);
    size_t end = at + opening;
    // Inside plain quotes a backslash hides the next character; escaped quotes end at their like.
    while (end < text.size() && !absl::StartsWith(text.substr(end), quote)) {
      end += (opening == 1 && text[end] == '\\') ? 2 : 1;
    }
    return std::min(end, text.size());
  }
  size_t end = at;
  while (end < text.size() &&
         !(whole_line ? text[end] == '\n' || text[end] == '\r' || text[end] == '"'
                      : IsTokenEnd(text[end]))) {
    ++end;
  }
  return end;
}

struct Span {
  size_t keep = 0;  // bytes from the start of the match that stay
  size_t end = 0;   // where the secret ends, from the start of the match; 0 = no match
};

// NAME = VALUE, "NAME": "VALUE", NAME%3DVALUE.
Span MatchNamedValue(absl::string_view text) {
  for (const absl::string_view name : kSecretNames) {
    if (!absl::StartsWithIgnoreCase(text, name)) continue;
    size_t at = name.size();
    at += QuoteLength(text, at);
    at = SkipSpaces(text, at);
    if (at < text.size() && (text[at] == '=' || text[at] == ':')) {
      ++at;
    } else if (absl::StartsWithIgnoreCase(text.substr(at), "%3d")) {
      at += 3;
    } else {
      continue;
    }
    at = SkipSpaces(text, at);
    const size_t end = ValueEnd(text, at, name == "authorization");
    const size_t keep = at + QuoteLength(text, at);
    if (end > keep) return {keep, end};
  }
  return {};
}

// "Bearer TOKEN", "SharedKey ACCOUNT:SIGNATURE".
Span MatchScheme(absl::string_view text) {
  for (const absl::string_view scheme : kSchemes) {
    if (!absl::StartsWithIgnoreCase(text, scheme)) continue;
    const size_t at = SkipSpaces(text, scheme.size());
    if (at == scheme.size()) continue;
    size_t end = at;
    while (end < text.size() && !IsTokenEnd(text[end])) ++end;
    // Prose ("a Bearer token is missing") is no credential: one is long or holds other characters.
    const absl::string_view token = text.substr(at, end - at);
    bool prose = token.size() < 16;
    for (const char c : token) prose = prose && absl::ascii_islower(static_cast<unsigned char>(c));
    if (!prose) return {at, end};
  }
  return {};
}

// A JSON Web Token without any name before it.
Span MatchToken(absl::string_view text) {
  if (!absl::StartsWith(text, "eyJ")) return {};
  size_t end = 0;
  int dots = 0;
  while (end < text.size() && (IsBase64Url(text[end]) || text[end] == '.'))
    dots += text[end++] == '.';
  return dots >= 2 ? Span{0, end} : Span{};
}

Span MatchPem(absl::string_view text) {
  if (!absl::StartsWith(text, "-----BEGIN ")) return {};
  const size_t end_line = text.find("-----END ");
  if (end_line == absl::string_view::npos) return {0, text.size()};
  const size_t end = text.find("-----", end_line + 9);
  return {0, end == absl::string_view::npos ? text.size() : end + 5};
}

Span MatchSecret(absl::string_view text, char before) {
  if (text[0] == '-') return MatchPem(text);
  if (IsLetter(before)) return {};
  if (const Span span = MatchNamedValue(text); span.end > 0) return span;
  if (const Span span = MatchScheme(text); span.end > 0) return span;
  return MatchToken(text);
}

}  // namespace

std::string Redacted(absl::string_view text) {
  std::string result;
  result.reserve(text.size());
  size_t at = 0;
  while (at < text.size()) {
    const Span span = MatchSecret(text.substr(at), at == 0 ? ' ' : text[at - 1]);
    if (span.end == 0) {
      result += text[at++];
      continue;
    }
    absl::StrAppend(&result, text.substr(at, span.keep), kMark);
    at += span.end;
  }
  return result;
}

}  // namespace failover
