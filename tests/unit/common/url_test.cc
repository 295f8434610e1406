#include <gtest/gtest.h>

#include "absl/strings/match.h"
#include "common/http_client.h"

namespace failover {
namespace {

UrlParts Parsed(absl::string_view url) {
  UrlParts parts;
  const absl::Status status = ParseUrl(url, parts);
  EXPECT_TRUE(status.ok()) << status;
  return parts;
}

TEST(UrlTest, AUrlIsSplitAndItsDefaultsAreFilledIn) {
  UrlParts parts = Parsed("HTTPS://Management.Azure.COM/a/b?x=y");
  EXPECT_EQ(parts.scheme, "https");
  EXPECT_EQ(parts.host, "management.azure.com");
  EXPECT_EQ(parts.port, 443);
  EXPECT_EQ(parts.path_and_query, "/a/b?x=y");
  parts = Parsed("http://[::1]:8080");
  EXPECT_EQ(parts.host, "::1");
  EXPECT_EQ(parts.port, 8080);
  EXPECT_EQ(parts.path_and_query, "/");
  EXPECT_EQ(Parsed("http://a?q=1#fragment").path_and_query, "/?q=1");
}

TEST(UrlTest, PathAndQueryStayVerbatim) {
  EXPECT_EQ(Parsed("https://h/a/../b//c?t=638=&c=MII%2b==").path_and_query,
            "/a/../b//c?t=638=&c=MII%2b==");
}

TEST(UrlTest, WhatCannotBeConnectedToIsRefused) {
  const struct {
    const char *url, *why;
  } cases[] = {
      {"", "without a scheme"},
      {"management.azure.com/x", "without a scheme"},
      {"://h", "without a scheme"},
      {"ftp://h/x", "another scheme"},
      {"file:///etc/passwd", "another scheme"},
      {"https:///x", "without a host"},
      {"https://?x", "without a host"},
      {"https://user:pw@h/x", "user information"},
      {"https://h:0/", "port"},
      {"https://h:70000/", "ort"},
      {"https://h:x/", "ort"},
      {"https://h/a b", "space or control"},
      {"https://h/a\r\nX: y", "space or control"},
      {"https://[::1/", "found URL"},
  };
  for (const auto& c : cases) {
    UrlParts parts;
    const absl::Status status = ParseUrl(c.url, parts);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << c.url;
    EXPECT_TRUE(absl::StrContains(status.message(), c.why)) << status;
    EXPECT_TRUE(absl::StrContains(status.message(), "allowed: http(s)://")) << status;
  }
}

TEST(UrlTest, TheErrorShowsNeitherPasswordNorQuery) {
  UrlParts parts;
  const absl::Status status = ParseUrl("https://user:hunter2@h:0/?sig=canary", parts);
  EXPECT_FALSE(absl::StrContains(status.message(), "hunter2")) << status;
  EXPECT_FALSE(absl::StrContains(status.message(), "canary")) << status;
}

TEST(HttpResponseTest, AHeaderIsFoundInAnyCaseAndTheFirstOneWins) {
  const HttpResponse response{200, {{"Retry-After", "5"}, {"retry-after", "6"}}, ""};
  EXPECT_EQ(response.Header("RETRY-AFTER"), "5");
  EXPECT_EQ(response.Header("location"), "");
}

}  // namespace
}  // namespace failover
