#ifndef COMMON_TLS_H_
#define COMMON_TLS_H_

#include <memory>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "grpcpp/security/auth_context.h"
#include "grpcpp/security/credentials.h"
#include "grpcpp/security/server_credentials.h"

namespace failover {

struct TlsFiles {
  std::string certificate_file, key_file, ca_file;  // PEM
};

// A peer's identity: exactly one URI SAN of the form spiffe://<trust domain>/<kind>/<…>/<name>
// (design.md §11). kind is agent (with region), operator or controller.
struct SpiffeId {
  std::string trust_domain, kind, region, name;
  std::string ToString() const;
};
absl::StatusOr<SpiffeId> ParseSpiffeId(absl::string_view uri);
// From an authenticated gRPC peer. Errors: no client certificate, none or several URI SANs, CA=true
// or keyCertSign, malformed id. `expires` (optional) receives the certificate's end.
absl::StatusOr<SpiffeId> PeerIdentity(const grpc::AuthContext& context,
                                      absl::Time* expires = nullptr);

// Certificates on disk → gRPC credentials, reloaded on change without restart. A pair that does not
// match, is expired, or cannot be read leaves the good one in force and is logged: files are
// validated, then copied to a private directory that gRPC watches (stack.md). Owns that directory;
// outlives every server and channel made from it. A new pair with another identity is refused until
// a restart.
class TlsIdentity {
 public:
  // Errors name the file and what is wrong with it.
  static absl::StatusOr<std::unique_ptr<TlsIdentity>> Load(TlsFiles files);
  virtual ~TlsIdentity() = default;
  // Requires and verifies a client certificate.
  virtual std::shared_ptr<grpc::ServerCredentials> ServerCredentials() = 0;
  // `expected_server`: URI SAN the server must carry (spiffe://…/controller/…); a trailing '*'
  // matches any rest. Verified in addition to the chain; the host name is not checked.
  virtual std::shared_ptr<grpc::ChannelCredentials> ChannelCredentials(
      std::string expected_server) = 0;
  // Of the pair in force.
  virtual absl::Time CertificateExpiry() const = 0;
  virtual absl::Time CaExpiry() const = 0;
  virtual SpiffeId Self() const = 0;
};

// Checks a PEM triple: readable, key matches, chain of the certificate to the CA, dates, one URI
// SAN.
absl::Status CheckTlsFiles(const TlsFiles& files, absl::Time now);

// True for 127.0.0.0/8, ::1 and "localhost": the only addresses --insecure may bind or dial.
bool IsLoopback(absl::string_view host);

}  // namespace failover

#endif  // COMMON_TLS_H_
