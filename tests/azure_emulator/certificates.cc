#include "tests/azure_emulator/certificates.h"

#include <openssl/bio.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace failover::emulator {
namespace {

constexpr int64_t kDay = 24 * 3600;

using Key = std::shared_ptr<EVP_PKEY>;
using Certificate = std::shared_ptr<X509>;

absl::Status Broken(absl::string_view what) {
  return absl::InternalError(absl::StrCat("OpenSSL: ", what, " failed"));
}

Key NewKey() { return Key(EVP_EC_gen("P-256"), EVP_PKEY_free); }

bool AddExtension(X509* certificate, X509* issuer, int nid, const std::string& value) {
  X509V3_CTX context;
  X509V3_set_ctx_nodb(&context);
  X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
  X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, &context, nid, value.c_str());
  if (extension == nullptr) return false;
  const bool added = X509_add_ext(certificate, extension, -1) == 1;
  X509_EXTENSION_free(extension);
  return added;
}

struct Wanted {
  std::string name;
  std::vector<std::string> alternatives;  // "DNS:…", "IP:…"; empty: a certificate authority
  int64_t from = -kDay, to = 365 * kDay;  // seconds from now
};

// `issuer` null: self-signed.
Certificate Make(const Wanted& wanted, const Key& key, X509* issuer, EVP_PKEY* issuer_key) {
  Certificate certificate(X509_new(), X509_free);
  if (!certificate) return nullptr;
  X509* const raw = certificate.get();
  unsigned char serial[8];
  if (RAND_bytes(serial, sizeof(serial)) != 1) return nullptr;
  serial[0] &= 0x7f;
  BIGNUM* number = BN_bin2bn(serial, sizeof(serial), nullptr);
  BN_to_ASN1_INTEGER(number, X509_get_serialNumber(raw));
  BN_free(number);
  X509_set_version(raw, 2);
  X509_gmtime_adj(X509_getm_notBefore(raw), wanted.from);
  X509_gmtime_adj(X509_getm_notAfter(raw), wanted.to);
  X509_set_pubkey(raw, key.get());
  X509_NAME_add_entry_by_txt(X509_get_subject_name(raw), "CN", MBSTRING_UTF8,
                             reinterpret_cast<const unsigned char*>(wanted.name.c_str()), -1, -1,
                             0);
  if (issuer == nullptr) issuer = raw;
  if (issuer_key == nullptr) issuer_key = key.get();
  X509_set_issuer_name(raw, X509_get_subject_name(issuer));
  const bool authority = wanted.alternatives.empty();
  bool good =
      AddExtension(raw, issuer, NID_basic_constraints,
                   authority ? "critical,CA:TRUE" : "critical,CA:FALSE") &&
      AddExtension(raw, issuer, NID_key_usage,
                   authority ? "critical,keyCertSign,cRLSign" : "critical,digitalSignature");
  if (authority) good = good && AddExtension(raw, issuer, NID_subject_key_identifier, "hash");
  if (!authority) {
    good = good && AddExtension(raw, issuer, NID_ext_key_usage, "serverAuth") &&
           AddExtension(raw, issuer, NID_subject_alt_name, absl::StrJoin(wanted.alternatives, ","));
  }
  if (!good || X509_sign(raw, issuer_key, EVP_sha256()) == 0) return nullptr;
  return certificate;
}

std::string ToPem(X509* certificate) {
  BIO* bio = BIO_new(BIO_s_mem());
  PEM_write_bio_X509(bio, certificate);
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio, &data);
  std::string text(data, static_cast<size_t>(size));
  BIO_free(bio);
  return text;
}

}  // namespace

CertificateAuthority::~CertificateAuthority() = default;

absl::StatusOr<std::unique_ptr<CertificateAuthority>> CertificateAuthority::New() {
  std::unique_ptr<CertificateAuthority> authority(new CertificateAuthority);
  authority->key_ = NewKey();
  if (!authority->key_) return Broken("making a key");
  Wanted wanted;
  wanted.name = "Azure emulator CA";
  wanted.to = 3650 * kDay;
  authority->certificate_ = Make(wanted, authority->key_, nullptr, nullptr);
  if (!authority->certificate_) return Broken("making the CA's certificate");
  authority->pem_ = ToPem(authority->certificate_.get());
  return authority;
}

absl::StatusOr<TlsContext> CertificateAuthority::Issue(const std::vector<std::string>& hosts,
                                                       const std::vector<std::string>& addresses,
                                                       const std::string& mode) const {
  Wanted wanted;
  wanted.name = hosts.empty() ? "azure-emulator" : hosts.front();
  for (const std::string& host : hosts) wanted.alternatives.push_back(absl::StrCat("DNS:", host));
  for (const std::string& ip : addresses) wanted.alternatives.push_back(absl::StrCat("IP:", ip));
  if (mode == "wrongName") {
    wanted.name = "elsewhere.contoso.test";
    wanted.alternatives = {"DNS:elsewhere.contoso.test"};
  } else if (mode == "expired") {
    wanted.from = -30 * kDay;
    wanted.to = -kDay;
  }
  if (wanted.alternatives.empty()) {
    return absl::InvalidArgumentError("a certificate needs a host name or an address");
  }
  const Key key = NewKey();
  const bool self_signed = mode == "selfSigned";
  const Certificate certificate =
      key ? Make(wanted, key, self_signed ? nullptr : certificate_.get(),
                 self_signed ? nullptr : key_.get())
          : nullptr;
  if (!certificate) return Broken(absl::StrCat("making the certificate of ", wanted.name));
  TlsContext context(SSL_CTX_new(TLS_server_method()), SSL_CTX_free);
  if (!context || SSL_CTX_use_certificate(context.get(), certificate.get()) != 1 ||
      SSL_CTX_use_PrivateKey(context.get(), key.get()) != 1) {
    return Broken("using a certificate");
  }
  SSL_CTX_set_min_proto_version(context.get(), TLS1_2_VERSION);
  SSL_CTX_set_mode(context.get(), SSL_MODE_ENABLE_PARTIAL_WRITE |
                                      SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                                      SSL_MODE_RELEASE_BUFFERS);
  return context;
}

}  // namespace failover::emulator
