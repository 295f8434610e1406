// Who a peer is: ParseSpiffeId, PeerIdentity and IsLoopback of tls.h.
#include <arpa/inet.h>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "common/certificate.h"
#include "common/leaf.h"
#include "common/status_macros.h"
#include "common/tls.h"
#include "common/utf8.h"
#include "grpc/grpc_security_constants.h"

namespace failover {
namespace {

constexpr size_t kMaxUriBytes = 2048;  // SPIFFE-ID, section 2.3
constexpr absl::string_view kAllowed =
    "spiffe://<trust domain>/agent/<probe region>/<name>, …/operator/<name> or …/controller/<name>";

absl::Status BadId(absl::string_view uri) {
  return absl::InvalidArgumentError(
      absl::StrCat("found identity \"", ToValidUtf8(CutText(uri, 200)), "\"; allowed: ", kAllowed));
}

bool IsTrustDomain(absl::string_view text) {
  if (text.empty() || text.size() > 255) return false;
  for (const char c : text) {
    const auto u = static_cast<unsigned char>(c);
    if (!absl::ascii_islower(u) && !absl::ascii_isdigit(u) && c != '.' && c != '-' && c != '_') {
      return false;
    }
  }
  return true;
}

bool IsSegment(absl::string_view text) {
  if (text.empty() || text == "." || text == "..") return false;
  for (const char c : text) {
    if (!absl::ascii_isalnum(static_cast<unsigned char>(c)) && c != '.' && c != '-' && c != '_') {
      return false;
    }
  }
  return true;
}

}  // namespace

std::string SpiffeId::ToString() const {
  return absl::StrCat("spiffe://", trust_domain, "/", kind, "/", region, region.empty() ? "" : "/",
                      name);
}

absl::StatusOr<SpiffeId> ParseSpiffeId(absl::string_view uri) {
  constexpr absl::string_view kScheme = "spiffe://";
  if (uri.size() > kMaxUriBytes || !absl::StartsWith(uri, kScheme)) return BadId(uri);
  const std::vector<std::string> parts = absl::StrSplit(uri.substr(kScheme.size()), '/');
  if (parts.size() < 3 || !IsTrustDomain(parts[0])) return BadId(uri);
  for (size_t i = 1; i < parts.size(); ++i) {
    if (!IsSegment(parts[i])) return BadId(uri);
  }
  if (parts[1] == "agent" && parts.size() == 4)
    return SpiffeId{parts[0], parts[1], parts[2], parts[3]};
  if ((parts[1] == "operator" || parts[1] == "controller") && parts.size() == 3) {
    return SpiffeId{parts[0], parts[1], "", parts[2]};
  }
  return BadId(uri);
}

absl::StatusOr<SpiffeId> IdentityOfLeaf(const Certificate& leaf) {
  if (leaf.CanSign()) {
    return absl::InvalidArgumentError(
        "found a certificate that may sign others (CA=true or keyCertSign); allowed: a leaf");
  }
  ASSIGN_OR_RETURN(const std::vector<std::string> uris, leaf.UriNames());
  if (uris.size() != 1) {
    return absl::InvalidArgumentError(absl::StrCat(
        "found ", uris.size(), " URI names in the certificate; allowed: exactly one, ", kAllowed));
  }
  return ParseSpiffeId(uris[0]);
}

absl::StatusOr<SpiffeId> PeerIdentity(const grpc::AuthContext& context, absl::Time* expires) {
  const std::vector<grpc::string_ref> pems =
      context.FindPropertyValues(GRPC_X509_PEM_CERT_PROPERTY_NAME);
  if (!context.IsPeerAuthenticated() || pems.size() != 1) {
    return absl::UnauthenticatedError("the peer showed no client certificate");
  }
  ASSIGN_OR_RETURN(const std::vector<Certificate> certificates,
                   Certificate::FromPem({pems[0].data(), pems[0].size()}));
  ASSIGN_OR_RETURN(SpiffeId id, IdentityOfLeaf(certificates.front()));
  // gRPC's own reading of the certificate must agree.
  const std::vector<grpc::string_ref> uris =
      context.FindPropertyValues(GRPC_PEER_URI_PROPERTY_NAME);
  if (uris.size() != 1 || absl::string_view(uris[0].data(), uris[0].size()) != id.ToString()) {
    return absl::InvalidArgumentError("the URI name of the certificate is ambiguous");
  }
  if (expires != nullptr) *expires = certificates.front().not_after();
  return id;
}

bool IsLoopback(absl::string_view host) {
  if (absl::StartsWith(host, "[") && absl::EndsWith(host, "]"))
    host = host.substr(1, host.size() - 2);
  if (absl::EqualsIgnoreCase(host, "localhost")) return true;
  const std::string text(host);
  in_addr v4;
  if (inet_pton(AF_INET, text.c_str(), &v4) == 1) return (ntohl(v4.s_addr) >> 24) == 127;
  in6_addr v6;
  return inet_pton(AF_INET6, text.c_str(), &v6) == 1 && IN6_IS_ADDR_LOOPBACK(&v6);
}

}  // namespace failover
