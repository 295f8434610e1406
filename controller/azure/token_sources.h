#ifndef CONTROLLER_AZURE_TOKEN_SOURCES_H_
#define CONTROLLER_AZURE_TOKEN_SOURCES_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "common/http_client.h"
#include "controller/azure/auth.h"

namespace failover::azure {

// Where tokens come from: requests, and what the answers mean (azure.md §6.1). Pure.

struct CredentialsOptions {
  std::string authority_endpoint, tenant_id, client_id, client_secret_file, scope;
  Auth auth = Auth::kClientSecret;
  std::string federated_token_file{};  // workload identity
  std::string imds_endpoint{};         // managed identity; client_id empty = the machine's own
};

// The file that holds what is proved with; empty for a managed identity, which needs none.
const std::string& ProofFile(const CredentialsOptions& options);

// `proof`: the content of ProofFile().
//   client secret      POST {authority}/{tenant}/oauth2/v2.0/token with client_secret
//   workload identity  the same with client_assertion
//   managed identity   GET {imds}/metadata/identity/oauth2/token, header Metadata: true
HttpRequest TokenRequest(const CredentialsOptions& options, absl::string_view proof);

struct TokenAnswer {
  std::string token;
  absl::Duration lifetime;
  absl::Duration refresh_in = absl::InfiniteDuration();  // as the source asks; else infinite
};
// Errors are for an operator at night: what to correct comes first, then the source's own words. An
// answer that is not a bearer token is an error.
absl::StatusOr<TokenAnswer> ReadTokenAnswer(const CredentialsOptions& options,
                                            absl::string_view proof, const HttpResponse& response);
// Of a request without an answer.
absl::Status NoTokenAnswer(const CredentialsOptions& options, const HttpResult& result);
// Of a proof that cannot be read.
absl::Status NoProof(const CredentialsOptions& options, const absl::Status& why);

// How a failed request is repeated while no token is in force.
struct Repeat {
  absl::Duration first = absl::ZeroDuration();     // the first pause; doubled each time, to 16 s
  absl::Duration patience = absl::ZeroDuration();  // since the first failure; zero = not repeated
  absl::Duration asked = absl::ZeroDuration();     // Retry-After: no pause is shorter
};
// IMDS answers 404, 410 (its upgrade takes up to 70 s), 429 and 5xx for a while; Entra's refusals
// and a machine without IMDS are final.
Repeat RepeatOf(Auth auth, const HttpResult& result);

}  // namespace failover::azure

#endif  // CONTROLLER_AZURE_TOKEN_SOURCES_H_
