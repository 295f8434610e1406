#ifndef COMMON_CERTIFICATE_H_
#define COMMON_CERTIFICATE_H_

#include <openssl/types.h>

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace failover {

// An X.509 certificate. Cheap to copy.
class Certificate {
 public:
  explicit Certificate(X509* owned);

  // All certificates of a PEM text, in its order. Errors: none in it, a malformed one.
  static absl::StatusOr<std::vector<Certificate>> FromPem(absl::string_view pem);

  absl::Time not_before() const;
  absl::Time not_after() const;
  // May sign other certificates: CA=true or keyCertSign. No identity of a peer, then.
  bool CanSign() const;
  // URI subject alternative names. Errors: the extension is malformed or there twice.
  absl::StatusOr<std::vector<std::string>> UriNames() const;
  X509* get() const { return x509_.get(); }

 private:
  std::shared_ptr<X509> x509_;
};

// Verifies `chain` (the leaf first, then intermediates) at `now` against `roots`, for a TLS server
// or client. Returns the root it ends in.
absl::StatusOr<Certificate> VerifyChain(const std::vector<Certificate>& chain,
                                        const std::vector<Certificate>& roots, absl::Time now,
                                        bool as_server);

// Errors: no readable private key in `key_pem` (one with a pass phrase is not readable), or not the
// one of `leaf`.
absl::Status CheckKeyOf(const Certificate& leaf, absl::string_view key_pem);

}  // namespace failover

#endif  // COMMON_CERTIFICATE_H_
