#ifndef TESTS_AZURE_EMULATOR_CERTIFICATES_H_
#define TESTS_AZURE_EMULATOR_CERTIFICATES_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

struct evp_pkey_st;
struct ssl_ctx_st;
struct x509_st;

namespace failover::emulator {

// A server's side of TLS: certificate, key, protocol settings.
using TlsContext = std::shared_ptr<ssl_ctx_st>;

// A certificate authority that lives as long as the process (P-256).
class CertificateAuthority {
 public:
  static absl::StatusOr<std::unique_ptr<CertificateAuthority>> New();
  ~CertificateAuthority();

  const std::string& pem() const { return pem_; }
  // A server certificate for these host names and IPv4 addresses. `mode`: good, wrongName (for
  // another host), expired (yesterday), selfSigned (by a key of its own).
  absl::StatusOr<TlsContext> Issue(const std::vector<std::string>& hosts,
                                   const std::vector<std::string>& addresses,
                                   const std::string& mode) const;

 private:
  CertificateAuthority() = default;

  std::shared_ptr<evp_pkey_st> key_;
  std::shared_ptr<x509_st> certificate_;
  std::string pem_;
};

}  // namespace failover::emulator

#endif  // TESTS_AZURE_EMULATOR_CERTIFICATES_H_
