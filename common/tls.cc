#include "common/tls.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <system_error>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/certificate.h"
#include "common/clock.h"
#include "common/config_file.h"
#include "common/digest.h"
#include "common/leaf.h"
#include "common/log.h"
#include "common/mutex.h"
#include "common/status_macros.h"
#include "grpcpp/security/tls_certificate_provider.h"
#include "grpcpp/security/tls_certificate_verifier.h"
#include "grpcpp/security/tls_credentials_options.h"

namespace failover {
namespace {

constexpr unsigned int kProviderRefreshSeconds = 1;

// The three files as read once: what was checked is what is used.
struct Triple {
  std::string certificate, key, ca;
  SpiffeId id;
  absl::Time certificate_expiry, ca_expiry;
};

absl::Status About(absl::string_view file, const absl::Status& status) {
  return absl::Status(status.code(), absl::StrCat(file, ": ", status.message()));
}

absl::Status CheckDates(const std::string& file, const Certificate& leaf, absl::Time now) {
  if (now < leaf.not_before() || now >= leaf.not_after()) {
    return absl::FailedPreconditionError(
        absl::StrCat(file, ": found a certificate valid from ", LogValue(leaf.not_before()).text(),
                     " until ", LogValue(leaf.not_after()).text(),
                     "; allowed: one that is valid now, ", LogValue(now).text()));
  }
  return absl::OkStatus();
}

absl::StatusOr<Triple> ReadTriple(const TlsFiles& files, absl::Time now) {
  Triple triple;
  ASSIGN_OR_RETURN(triple.certificate, ReadSmallFile(files.certificate_file));
  ASSIGN_OR_RETURN(triple.key, ReadSmallFile(files.key_file));
  ASSIGN_OR_RETURN(triple.ca, ReadSmallFile(files.ca_file));

  const auto chain = Certificate::FromPem(triple.certificate);
  if (!chain.ok()) return About(files.certificate_file, chain.status());
  const Certificate& leaf = chain->front();
  const auto roots = Certificate::FromPem(triple.ca);
  if (!roots.ok()) return About(files.ca_file, roots.status());
  if (absl::Status key = CheckKeyOf(leaf, triple.key); !key.ok()) {
    return About(
        files.key_file,
        absl::Status(key.code(), absl::StrCat(key.message(), " (", files.certificate_file, ")")));
  }
  RETURN_IF_ERROR(CheckDates(files.certificate_file, leaf, now));
  auto id = IdentityOfLeaf(leaf);
  if (!id.ok()) return About(files.certificate_file, id.status());
  const auto root = VerifyChain(*chain, *roots, now, id->kind == "controller");
  if (!root.ok()) {
    return About(files.certificate_file,
                 absl::Status(root.status().code(),
                              absl::StrCat("the certificate does not verify against ",
                                           files.ca_file, ": ", root.status().message())));
  }
  triple.id = *std::move(id);
  triple.certificate_expiry = leaf.not_after();
  triple.ca_expiry = root->not_after();
  return triple;
}

absl::Status WritePrivateFile(const std::string& path, absl::string_view text) {
  const int fd = open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  bool good = fd >= 0;
  while (good && !text.empty()) {
    const ssize_t n = write(fd, text.data(), text.size());
    if (n < 0 && errno == EINTR) continue;
    good = n > 0;
    if (good) text.remove_prefix(static_cast<size_t>(n));
  }
  const int error = errno;
  if (fd >= 0) close(fd);
  if (good) return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrCat(path, ": cannot write: ", std::strerror(error)));
}

// A directory that nobody else can read, with `current` → the generation in force. The link is
// replaced in one step, so gRPC never reads the key of one pair and the certificate of another for
// long.
class PrivateDirectory {
 public:
  // $TMPDIR when set; else memory before disk, since private keys are copied here.
  static absl::StatusOr<std::unique_ptr<PrivateDirectory>> Make() {
    std::vector<std::string> parents = {"/dev/shm", "/tmp"};
    if (const char* const chosen = std::getenv("TMPDIR"); chosen != nullptr && *chosen != '\0') {
      parents = {chosen};
    }
    int error = 0;
    for (const std::string& parent : parents) {
      std::string path = parent + "/failover-tls-XXXXXX";
      if (mkdtemp(path.data()) != nullptr) {  // mode 0700
        return std::unique_ptr<PrivateDirectory>(new PrivateDirectory(std::move(path)));
      }
      error = errno;
    }
    return absl::FailedPreconditionError(absl::StrCat(
        parents.back(), ": cannot make a directory for certificates: ", std::strerror(error)));
  }

  ~PrivateDirectory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  PrivateDirectory(const PrivateDirectory&) = delete;
  PrivateDirectory& operator=(const PrivateDirectory&) = delete;

  absl::Status Put(const Triple& triple) {
    const std::string name = absl::StrCat("g", ++generation_);
    const std::string made = absl::StrCat(path_, "/", name);
    const std::string link = absl::StrCat(path_, "/next");
    std::error_code error;
    std::filesystem::create_directory(made, error);
    if (!error) std::filesystem::permissions(made, std::filesystem::perms::owner_all, error);
    if (error) return absl::FailedPreconditionError(absl::StrCat(made, ": ", error.message()));
    RETURN_IF_ERROR(WritePrivateFile(made + "/tls.crt", triple.certificate));
    RETURN_IF_ERROR(WritePrivateFile(made + "/tls.key", triple.key));
    RETURN_IF_ERROR(WritePrivateFile(made + "/ca.crt", triple.ca));
    std::filesystem::remove(link, error);
    std::filesystem::create_directory_symlink(name, link, error);
    if (!error) std::filesystem::rename(link, path_ + "/current", error);
    if (error) return absl::FailedPreconditionError(absl::StrCat(link, ": ", error.message()));
    if (!current_.empty()) std::filesystem::remove_all(current_, error);
    current_ = made;
    return absl::OkStatus();
  }

  std::string File(absl::string_view name) const { return absl::StrCat(path_, "/current/", name); }

 private:
  explicit PrivateDirectory(std::string path) : path_(std::move(path)) {}

  const std::string path_;
  int generation_ = 0;
  std::string current_;  // what `current` points at
};

// Instead of the host name: the URI name that the server's certificate must carry.
class ServerIdentityVerifier final : public grpc::experimental::ExternalCertificateVerifier {
 public:
  explicit ServerIdentityVerifier(std::string expected) : expected_(std::move(expected)) {}

  bool Verify(grpc::experimental::TlsCustomVerificationCheckRequest* request,
              std::function<void(grpc::Status)>, grpc::Status* sync_status) override {
    const absl::Status status = Check({request->peer_cert().data(), request->peer_cert().size()});
    *sync_status = status.ok() ? grpc::Status()
                               : grpc::Status(grpc::StatusCode::UNAUTHENTICATED,
                                              std::string(status.message()));
    if (!status.ok())
      LogWarning("the server is not who it should be", {{"error", status.message()}});
    return true;
  }
  void Cancel(grpc::experimental::TlsCustomVerificationCheckRequest*) override {}

 private:
  absl::Status Check(absl::string_view pem) const {
    ASSIGN_OR_RETURN(const std::vector<Certificate> certificates, Certificate::FromPem(pem));
    ASSIGN_OR_RETURN(const SpiffeId id, IdentityOfLeaf(certificates.front()));
    const std::string found = id.ToString();
    const bool matches = absl::EndsWith(expected_, "*")
                             ? absl::StartsWith(found, expected_.substr(0, expected_.size() - 1))
                             : found == expected_;
    if (matches) return absl::OkStatus();
    return absl::UnauthenticatedError(
        absl::StrCat("found server identity \"", found, "\"; allowed: ", expected_));
  }

  const std::string expected_;
};

class WatchedTlsIdentity final : public TlsIdentity {
 public:
  WatchedTlsIdentity(TlsFiles files, Triple triple, std::unique_ptr<PrivateDirectory> directory)
      : files_(std::move(files)),
        self_(triple.id),
        directory_(std::move(directory)),
        in_force_(Digest(triple)),
        certificate_expiry_(triple.certificate_expiry),
        ca_expiry_(triple.ca_expiry),
        provider_(std::make_shared<grpc::experimental::FileWatcherCertificateProvider>(
            directory_->File("tls.key"), directory_->File("tls.crt"), directory_->File("ca.crt"),
            kProviderRefreshSeconds)) {
    std::vector<std::string> watched = {files_.certificate_file, files_.key_file, files_.ca_file};
    watcher_ = std::make_unique<FileWatcher>(std::move(watched), [this] { Reload(); });
    Reload();  // what changed between the first reading and the watch
  }

  std::shared_ptr<grpc::ServerCredentials> ServerCredentials() override {
    grpc::experimental::TlsServerCredentialsOptions options(provider_);
    options.watch_root_certs();
    options.watch_identity_key_cert_pairs();
    options.set_cert_request_type(GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY);
    return grpc::experimental::TlsServerCredentials(options);
  }

  std::shared_ptr<grpc::ChannelCredentials> ChannelCredentials(
      std::string expected_server) override {
    grpc::experimental::TlsChannelCredentialsOptions options;
    options.set_certificate_provider(provider_);
    options.watch_root_certs();
    options.watch_identity_key_cert_pairs();
    options.set_verify_server_certs(true);
    options.set_check_call_host(false);
    options.set_certificate_verifier(
        grpc::experimental::ExternalCertificateVerifier::Create<ServerIdentityVerifier>(
            std::move(expected_server)));
    return grpc::experimental::TlsCredentials(options);
  }

  absl::Time CertificateExpiry() const override {
    MutexLock lock(mutex_);
    return certificate_expiry_;
  }
  absl::Time CaExpiry() const override {
    MutexLock lock(mutex_);
    return ca_expiry_;
  }
  SpiffeId Self() const override { return self_; }

 private:
  static std::string Digest(const Triple& triple) {
    return Sha256Hex(absl::StrCat(triple.certificate, "\n", triple.key, "\n", triple.ca));
  }

  // Called by the constructor's thread and the watcher's.
  void Reload() {
    MutexLock lock(mutex_);
    absl::StatusOr<Triple> triple = ReadTriple(files_, RealClock().Wall());
    if (triple.ok() && Digest(*triple) == in_force_) return;
    absl::Status status = triple.status();
    if (status.ok() && triple->id.ToString() != self_.ToString()) {
      status = absl::FailedPreconditionError(
          absl::StrCat(files_.certificate_file, ": found identity ", triple->id.ToString(),
                       "; allowed: ", self_.ToString(), " until a restart"));
    }
    if (status.ok()) status = directory_->Put(*triple);
    if (!status.ok()) {
      LogError("new TLS files refused, the previous ones stay in force", {{"error", status}});
      return;
    }
    LogInfo("TLS files reloaded",
            {{"identity", self_.ToString()}, {"expires", triple->certificate_expiry}});
    in_force_ = Digest(*triple);
    certificate_expiry_ = triple->certificate_expiry;
    ca_expiry_ = triple->ca_expiry;
  }

  const TlsFiles files_;
  const SpiffeId self_;
  mutable Mutex mutex_;
  const std::unique_ptr<PrivateDirectory> directory_;
  std::string in_force_ ABSL_GUARDED_BY(mutex_);  // to tell a change from none
  absl::Time certificate_expiry_ ABSL_GUARDED_BY(mutex_);
  absl::Time ca_expiry_ ABSL_GUARDED_BY(mutex_);
  const std::shared_ptr<grpc::experimental::FileWatcherCertificateProvider> provider_;
  std::unique_ptr<FileWatcher> watcher_;  // last: it must end before what it reloads
};

}  // namespace

absl::StatusOr<std::unique_ptr<TlsIdentity>> TlsIdentity::Load(TlsFiles files) {
  ASSIGN_OR_RETURN(Triple triple, ReadTriple(files, RealClock().Wall()));
  ASSIGN_OR_RETURN(std::unique_ptr<PrivateDirectory> directory, PrivateDirectory::Make());
  RETURN_IF_ERROR(directory->Put(triple));
  return std::make_unique<WatchedTlsIdentity>(std::move(files), std::move(triple),
                                              std::move(directory));
}

absl::Status CheckTlsFiles(const TlsFiles& files, absl::Time now) {
  return ReadTriple(files, now).status();
}

}  // namespace failover
