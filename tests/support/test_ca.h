#ifndef TESTS_SUPPORT_TEST_CA_H_
#define TESTS_SUPPORT_TEST_CA_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "common/tls.h"
#include "tests/support/temp_dir.h"

struct evp_pkey_st;
struct x509_st;

namespace failover {

struct PemPair {
  std::string certificate, key;
};

// What a certificate to be issued says.
struct LeafSpec {
  std::vector<std::string> uris, dns, ips;
  absl::Time not_before = absl::Now() - absl::Hours(1);
  absl::Time not_after = absl::Now() + absl::Hours(24);
  bool ca = false;             // basicConstraints CA=true
  bool key_cert_sign = false;  // keyUsage keyCertSign
};

// A certificate authority with a P-256 key, made anew for each test. Valid for both TLS roles.
class TestCa {
 public:
  explicit TestCa(const std::string& name = "test CA",
                  absl::Time not_before = absl::Now() - absl::Hours(1),
                  absl::Time not_after = absl::Now() + absl::Hours(48));

  const std::string& certificate() const { return certificate_; }  // PEM
  PemPair Issue(const LeafSpec& spec) const;
  PemPair Issue(const std::string& uri) const {
    return Issue(LeafSpec{.uris = {uri}, .dns = {}, .ips = {}});
  }
  // For HTTPS on loopback: IP SAN 127.0.0.1 and ::1, DNS SAN localhost and `names`.
  PemPair IssueServer(const std::vector<std::string>& names = {}) const;

 private:
  std::shared_ptr<evp_pkey_st> key_;
  std::shared_ptr<x509_st> x509_;
  std::string certificate_;
};

// Writes PREFIX.crt, PREFIX.key and PREFIX-ca.crt; each replaced in one step.
TlsFiles WriteTlsFiles(const TempDir& directory, const std::string& prefix, const TestCa& ca,
                       const PemPair& pair);

}  // namespace failover

#endif  // TESTS_SUPPORT_TEST_CA_H_
