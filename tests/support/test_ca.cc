#include "tests/support/test_ca.h"

#include <openssl/bio.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <cstdio>
#include <cstdlib>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace failover {
namespace {

// Tests cannot go on without certificates.
void Require(bool good, const char* what) {
  if (good) return;
  std::fprintf(stderr, "OpenSSL failed: %s\n", what);
  std::abort();
}

std::shared_ptr<EVP_PKEY> NewKey() {
  std::shared_ptr<EVP_PKEY> key(EVP_EC_gen("P-256"), EVP_PKEY_free);
  Require(key != nullptr, "EVP_EC_gen");
  return key;
}

std::string Contents(BIO* bio) {
  char* bytes = nullptr;
  const long size = BIO_get_mem_data(bio, &bytes);  // NOLINT(runtime/int)
  return std::string(bytes, static_cast<size_t>(size));
}

std::string CertificatePem(X509* x509) {
  const std::unique_ptr<BIO, decltype(&BIO_free)> bio(BIO_new(BIO_s_mem()), BIO_free);
  Require(PEM_write_bio_X509(bio.get(), x509) == 1, "PEM_write_bio_X509");
  return Contents(bio.get());
}

std::string KeyPem(EVP_PKEY* key) {
  const std::unique_ptr<BIO, decltype(&BIO_free)> bio(BIO_new(BIO_s_mem()), BIO_free);
  Require(PEM_write_bio_PrivateKey(bio.get(), key, nullptr, nullptr, 0, nullptr, nullptr) == 1,
          "PEM_write_bio_PrivateKey");
  return Contents(bio.get());
}

void AddExtension(X509* x509, X509* issuer, int nid, const std::string& value) {
  X509V3_CTX context;
  X509V3_set_ctx_nodb(&context);
  X509V3_set_ctx(&context, issuer, x509, nullptr, nullptr, 0);
  X509_EXTENSION* const extension = X509V3_EXT_conf_nid(nullptr, &context, nid, value.c_str());
  Require(extension != nullptr, "X509V3_EXT_conf_nid");
  X509_add_ext(x509, extension, -1);
  X509_EXTENSION_free(extension);
}

// A certificate for `key` without extensions and signature.
std::shared_ptr<X509> NewCertificate(const std::string& name, EVP_PKEY* key, absl::Time not_before,
                                     absl::Time not_after) {
  std::shared_ptr<X509> x509(X509_new(), X509_free);
  Require(x509 != nullptr, "X509_new");
  X509_set_version(x509.get(), X509_VERSION_3);
  uint64_t serial = 0;
  Require(RAND_bytes(reinterpret_cast<unsigned char*>(&serial), sizeof(serial)) == 1, "RAND_bytes");
  ASN1_INTEGER_set_uint64(X509_get_serialNumber(x509.get()), serial >> 1);
  ASN1_TIME_set(X509_getm_notBefore(x509.get()), absl::ToTimeT(not_before));
  ASN1_TIME_set(X509_getm_notAfter(x509.get()), absl::ToTimeT(not_after));
  X509_set_pubkey(x509.get(), key);
  X509_NAME_add_entry_by_txt(X509_get_subject_name(x509.get()), "CN", MBSTRING_UTF8,
                             reinterpret_cast<const unsigned char*>(name.c_str()), -1, -1, 0);
  return x509;
}

std::string AltNames(const LeafSpec& spec) {
  std::vector<std::string> names;
  for (const std::string& uri : spec.uris) names.push_back("URI:" + uri);
  for (const std::string& dns : spec.dns) names.push_back("DNS:" + dns);
  for (const std::string& ip : spec.ips) names.push_back("IP:" + ip);
  return absl::StrJoin(names, ",");
}

}  // namespace

TestCa::TestCa(const std::string& name, absl::Time not_before, absl::Time not_after)
    : key_(NewKey()), x509_(NewCertificate(name, key_.get(), not_before, not_after)) {
  X509* const x509 = x509_.get();
  X509_set_issuer_name(x509, X509_get_subject_name(x509));
  AddExtension(x509, x509, NID_basic_constraints, "critical,CA:TRUE");
  AddExtension(x509, x509, NID_key_usage, "critical,keyCertSign,cRLSign");
  AddExtension(x509, x509, NID_subject_key_identifier, "hash");
  Require(X509_sign(x509, key_.get(), EVP_sha256()) > 0, "X509_sign");
  certificate_ = CertificatePem(x509);
}

PemPair TestCa::Issue(const LeafSpec& spec) const {
  const std::shared_ptr<EVP_PKEY> key = NewKey();
  const std::shared_ptr<X509> leaf =
      NewCertificate("leaf", key.get(), spec.not_before, spec.not_after);
  X509_set_issuer_name(leaf.get(), X509_get_subject_name(x509_.get()));
  const auto add = [&](int nid, const std::string& value) {
    AddExtension(leaf.get(), x509_.get(), nid, value);
  };
  add(NID_basic_constraints, spec.ca ? "critical,CA:TRUE" : "critical,CA:FALSE");
  add(NID_key_usage,
      absl::StrCat("critical,digitalSignature", spec.key_cert_sign ? ",keyCertSign" : ""));
  add(NID_ext_key_usage, "serverAuth,clientAuth");
  add(NID_authority_key_identifier, "keyid");
  if (const std::string names = AltNames(spec); !names.empty()) add(NID_subject_alt_name, names);
  Require(X509_sign(leaf.get(), key_.get(), EVP_sha256()) > 0, "X509_sign");
  return {CertificatePem(leaf.get()), KeyPem(key.get())};
}

PemPair TestCa::IssueServer(const std::vector<std::string>& names) const {
  LeafSpec spec;
  spec.dns = names;
  spec.dns.push_back("localhost");
  spec.ips = {"127.0.0.1", "::1"};
  return Issue(spec);
}

TlsFiles WriteTlsFiles(const TempDir& directory, const std::string& prefix, const TestCa& ca,
                       const PemPair& pair) {
  return {directory.Write(prefix + ".crt", pair.certificate),
          directory.Write(prefix + ".key", pair.key),
          directory.Write(prefix + "-ca.crt", ca.certificate())};
}

}  // namespace failover
