#include "common/certificate.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include "absl/strings/str_cat.h"

namespace failover {
namespace {

template <typename T, void (*Free)(T*)>
struct Deleter {
  void operator()(T* object) const { Free(object); }
};
using Key = std::unique_ptr<EVP_PKEY, Deleter<EVP_PKEY, EVP_PKEY_free>>;
using Store = std::unique_ptr<X509_STORE, Deleter<X509_STORE, X509_STORE_free>>;
using StoreContext = std::unique_ptr<X509_STORE_CTX, Deleter<X509_STORE_CTX, X509_STORE_CTX_free>>;
using Names = std::unique_ptr<GENERAL_NAMES, Deleter<GENERAL_NAMES, GENERAL_NAMES_free>>;
struct BioDeleter {
  void operator()(BIO* bio) const { BIO_free(bio); }
};
struct StackDeleter {  // of the stack only; it owns no certificate
  void operator()(STACK_OF(X509) * stack) const { sk_X509_free(stack); }
};
using Bio = std::unique_ptr<BIO, BioDeleter>;

Bio Reader(absl::string_view text) {
  return Bio(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
}

// Without it OpenSSL would ask for a pass phrase on the terminal.
int NoPassPhrase(char*, int, int, void*) { return -1; }

absl::Time ToTime(const ASN1_TIME* time) {
  tm parts = {};
  if (ASN1_TIME_to_tm(time, &parts) != 1) return absl::InfinitePast();
  return absl::FromTM(parts, absl::UTCTimeZone());
}

}  // namespace

Certificate::Certificate(X509* owned) : x509_(owned, X509_free) {}

absl::StatusOr<std::vector<Certificate>> Certificate::FromPem(absl::string_view pem) {
  const Bio bio = Reader(pem);
  std::vector<Certificate> certificates;
  ERR_clear_error();
  while (X509* const x509 = PEM_read_bio_X509(bio.get(), nullptr, NoPassPhrase, nullptr)) {
    certificates.emplace_back(x509);
  }
  const int reason = ERR_GET_REASON(ERR_peek_last_error());
  ERR_clear_error();
  if (reason != PEM_R_NO_START_LINE) {  // the regular end
    return absl::InvalidArgumentError("found a malformed certificate; allowed: PEM certificates");
  }
  if (certificates.empty()) {
    return absl::InvalidArgumentError("found no certificate; allowed: PEM certificates");
  }
  return certificates;
}

absl::Time Certificate::not_before() const { return ToTime(X509_get0_notBefore(get())); }
absl::Time Certificate::not_after() const { return ToTime(X509_get0_notAfter(get())); }

bool Certificate::CanSign() const {
  const uint32_t flags = X509_get_extension_flags(get());
  return (flags & (EXFLAG_CA | EXFLAG_INVALID)) != 0 ||
         ((flags & EXFLAG_KUSAGE) != 0 && (X509_get_key_usage(get()) & KU_KEY_CERT_SIGN) != 0);
}

absl::StatusOr<std::vector<std::string>> Certificate::UriNames() const {
  int critical = 0;
  const Names names(static_cast<GENERAL_NAMES*>(
      X509_get_ext_d2i(get(), NID_subject_alt_name, &critical, nullptr)));
  std::vector<std::string> uris;
  if (names == nullptr) {
    if (critical == -1) return uris;  // no such extension
    return absl::InvalidArgumentError("the certificate's subject alternative names are malformed");
  }
  for (int i = 0; i < sk_GENERAL_NAME_num(names.get()); ++i) {
    const GENERAL_NAME* const name = sk_GENERAL_NAME_value(names.get(), i);
    if (name->type != GEN_URI) continue;
    const ASN1_IA5STRING* const text = name->d.uniformResourceIdentifier;
    uris.emplace_back(reinterpret_cast<const char*>(ASN1_STRING_get0_data(text)),
                      static_cast<size_t>(ASN1_STRING_length(text)));
  }
  return uris;
}

absl::StatusOr<Certificate> VerifyChain(const std::vector<Certificate>& chain,
                                        const std::vector<Certificate>& roots, absl::Time now,
                                        bool as_server) {
  const Store store(X509_STORE_new());
  const std::unique_ptr<STACK_OF(X509), StackDeleter> untrusted(sk_X509_new_null());
  const StoreContext context(X509_STORE_CTX_new());
  for (const Certificate& root : roots) X509_STORE_add_cert(store.get(), root.get());
  for (size_t i = 1; i < chain.size(); ++i) sk_X509_push(untrusted.get(), chain[i].get());
  if (X509_STORE_CTX_init(context.get(), store.get(), chain.front().get(), untrusted.get()) != 1) {
    return absl::InternalError("OpenSSL cannot verify certificates");
  }
  X509_VERIFY_PARAM* const parameters = X509_STORE_CTX_get0_param(context.get());
  X509_VERIFY_PARAM_set_time(parameters, absl::ToTimeT(now));
  X509_VERIFY_PARAM_set_purpose(parameters,
                                as_server ? X509_PURPOSE_SSL_SERVER : X509_PURPOSE_SSL_CLIENT);
  if (X509_verify_cert(context.get()) != 1) {
    const int error = X509_STORE_CTX_get_error(context.get());
    ERR_clear_error();
    return absl::FailedPreconditionError(X509_verify_cert_error_string(error));
  }
  STACK_OF(X509)* const verified = X509_STORE_CTX_get0_chain(context.get());
  X509* const root = sk_X509_value(verified, sk_X509_num(verified) - 1);
  X509_up_ref(root);
  return Certificate(root);
}

absl::Status CheckKeyOf(const Certificate& leaf, absl::string_view key_pem) {
  const Bio bio = Reader(key_pem);
  const Key key(PEM_read_bio_PrivateKey(bio.get(), nullptr, NoPassPhrase, nullptr));
  const bool matches = key != nullptr && X509_check_private_key(leaf.get(), key.get()) == 1;
  ERR_clear_error();
  if (key == nullptr) {
    return absl::InvalidArgumentError(
        "found no readable private key; allowed: a PEM private key without pass phrase");
  }
  if (!matches) return absl::FailedPreconditionError("the key is not that of the certificate");
  return absl::OkStatus();
}

}  // namespace failover
