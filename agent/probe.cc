#include "agent/probe.h"

#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"

namespace failover::agent {
namespace {

constexpr size_t kMaxHeaderBytes = 64 << 10;
constexpr size_t kMaxServedBy = 250;
// Debian's bundle; CAPATH is switched off, since with it libcurl parses the store anew for every
// connection (36 instead of 900 handshakes a CPU second; stack.md).
constexpr const char* kSystemCaFile = "/etc/ssl/certs/ca-certificates.crt";

int64_t UnixSecondsOf(const ASN1_TIME* time) {
  tm parts{};
  return time != nullptr && ASN1_TIME_to_tm(time, &parts) == 1
             ? static_cast<int64_t>(timegm(&parts))
             : 0;
}

int ProbeIndex() {
  static const int index = SSL_CTX_get_ex_new_index(0, nullptr, nullptr, nullptr, nullptr);
  return index;
}

// Notes the leaf's end, also of a certificate that is refused; never changes the verdict of
// OpenSSL.
int OnVerify(int good, X509_STORE_CTX* context) {
  const auto* ssl =
      static_cast<SSL*>(X509_STORE_CTX_get_ex_data(context, SSL_get_ex_data_X509_STORE_CTX_idx()));
  const X509* leaf = X509_STORE_CTX_get0_cert(context);
  if (ssl == nullptr || leaf == nullptr) return good;
  auto* seen = static_cast<Observation*>(SSL_CTX_get_ex_data(SSL_get_SSL_CTX(ssl), ProbeIndex()));
  if (seen != nullptr) seen->certificate_expiry_unix = UnixSecondsOf(X509_get0_notAfter(leaf));
  return good;
}

std::string Bracketed(const IpAddress& address) {
  return address.is_v4() ? address.ToString() : absl::StrCat("[", address.ToString(), "]");
}

// What is the same for every probe: nothing from the environment, nothing followed, everything
// verified.
bool SetFixedOptions(CURL* handle) {
  bool good = true;
  const auto set = [&good, handle](CURLoption option, auto value) {
    good &= curl_easy_setopt(handle, option, value) == CURLE_OK;
  };
  set(CURLOPT_USERAGENT, "apim-failover-agent/" FAILOVER_VERSION);
  set(CURLOPT_HTTP_VERSION, static_cast<long>(CURL_HTTP_VERSION_1_1));
  set(CURLOPT_PROXY, "");
  set(CURLOPT_NETRC, static_cast<long>(CURL_NETRC_IGNORED));
  set(CURLOPT_PROTOCOLS_STR, "http,https");
  set(CURLOPT_FOLLOWLOCATION, 0L);
  set(CURLOPT_DNS_CACHE_TIMEOUT, 60L);  // of entries that RESOLVE made; there are no others
  set(CURLOPT_NOSIGNAL, 1L);
  set(CURLOPT_QUICK_EXIT, 1L);
  set(CURLOPT_BUFFERSIZE, 8192L);
  set(CURLOPT_PATH_AS_IS, 1L);
  set(CURLOPT_CAPATH, static_cast<const char*>(nullptr));
  set(CURLOPT_CA_CACHE_TIMEOUT, 300L);  // a renewed bundle is seen within five minutes
  set(CURLOPT_SSL_VERIFYPEER, 1L);
  set(CURLOPT_SSL_VERIFYHOST, 2L);
  set(CURLOPT_SSL_SESSIONID_CACHE, 0L);
  set(CURLOPT_SSLVERSION, static_cast<long>(CURL_SSLVERSION_TLSv1_2));
  return good;
}

}  // namespace

Probe::Probe(std::shared_ptr<const Target> probed, const ProbeStart& begun,
             const ProbeSettings& settings, Clock& clock)
    : target(std::move(probed)), start(begun), settings_(settings), clock_(clock) {
  seen.began = clock.Steady();
}

Probe::~Probe() {
  curl_slist_free_all(headers_);
  curl_slist_free_all(resolve_);
  curl_slist_free_all(connect_to_);
}

void Probe::SetResolution(Resolution resolution) {
  seen.cname_chain = std::move(resolution.cname_chain);
  addresses_ = std::move(resolution.addresses);
  if (resolution.status.ok()) {
    seen.resolved = clock_.Steady();
    seen.stage = v1::PROBE_STAGE_CONNECT;
  } else {
    seen.timed_out = resolution.timed_out;
    seen.error = std::string(resolution.status.message());
  }
}

bool Probe::ResolveEntry(std::string& entry) const {
  if (ParseIp(target->dial_host)) return false;
  // "+": the entry leaves libcurl's cache by itself; it is replaced by every probe before use.
  entry = absl::StrCat("+", target->dial_host, ":", target->dial_port, ":");
  for (size_t i = 0; i < addresses_.size(); ++i) {
    absl::StrAppend(&entry, i == 0 ? "" : ",", Bracketed(addresses_[i]));
  }
  return true;
}

bool Probe::Attach(CURL* handle) {
  easy = handle;
  bool good = SetFixedOptions(handle);
  const auto set = [&good, handle](CURLoption option, auto value) {
    good &= curl_easy_setopt(handle, option, value) == CURLE_OK;
  };
  const auto append = [&good](curl_slist*& list, const std::string& text) {
    curl_slist* longer = curl_slist_append(list, text.c_str());
    good &= longer != nullptr;
    if (longer != nullptr) list = longer;
  };
  for (const std::string& header : target->headers) append(headers_, header);
  const std::optional<IpAddress> literal = ParseIp(target->dial_host);
  append(connect_to_, absl::StrCat("::", literal ? Bracketed(*literal) : target->dial_host, ":",
                                   target->dial_port));
  if (std::string entry; ResolveEntry(entry)) append(resolve_, entry);

  set(CURLOPT_PRIVATE, this);
  set(CURLOPT_URL, target->url.c_str());
  set(CURLOPT_CONNECT_TO, connect_to_);
  if (resolve_ != nullptr) set(CURLOPT_RESOLVE, resolve_);
  if (headers_ != nullptr) set(CURLOPT_HTTPHEADER, headers_);
  const absl::Duration left = deadline() - clock_.Steady();
  set(CURLOPT_TIMEOUT_MS,
      static_cast<long>(std::max<int64_t>(
          1, absl::ToInt64Milliseconds(absl::Ceil(left, absl::Milliseconds(1))))));
  const bool fresh = start.burst || !target->reuse_connection;
  set(CURLOPT_FRESH_CONNECT, fresh ? 1L : 0L);
  set(CURLOPT_FORBID_REUSE, fresh ? 1L : 0L);
  if (!settings_.source_address.empty()) {
    set(CURLOPT_INTERFACE, absl::StrCat("host!", settings_.source_address).c_str());
  }

  const std::string& ca_file = target->ca_file.empty() ? settings_.ca_file : target->ca_file;
  set(CURLOPT_CAINFO, ca_file.empty() ? kSystemCaFile : ca_file.c_str());
  set(CURLOPT_ERRORBUFFER, error_);
  set(CURLOPT_OPENSOCKETFUNCTION, &Probe::OnOpenSocket);
  set(CURLOPT_OPENSOCKETDATA, this);
  if (fresh) {  // a kept connection is closed when this probe is long gone
    set(CURLOPT_CLOSESOCKETFUNCTION, &Probe::OnCloseSocket);
    set(CURLOPT_CLOSESOCKETDATA, this);
  }
  if (target->tls) {
    set(CURLOPT_SSL_CTX_FUNCTION, &Probe::OnTlsStart);
    set(CURLOPT_SSL_CTX_DATA, this);
  }
  set(CURLOPT_PREREQFUNCTION, &Probe::OnReady);
  set(CURLOPT_PREREQDATA, this);
  set(CURLOPT_HEADERFUNCTION, &Probe::OnHeader);
  set(CURLOPT_HEADERDATA, this);
  set(CURLOPT_WRITEFUNCTION, &Probe::OnBody);
  set(CURLOPT_WRITEDATA, this);
  return good;
}

curl_socket_t Probe::OnOpenSocket(void* self, curlsocktype /*purpose*/, curl_sockaddr* address) {
  auto& probe = *static_cast<Probe*>(self);
  probe.opened_socket_ = true;
  const std::optional<IpAddress> ip = IpOf(address->addr);
  const absl::Status allowed = ip ? probe.settings_.allowed.Check(*ip, probe.target->dial_host)
                                  : absl::PermissionDeniedError("neither IPv4 nor IPv6");
  if (!allowed.ok()) {
    probe.refused_ = std::string(allowed.message());
    return CURL_SOCKET_BAD;
  }
  const int fd = socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
  if (fd < 0) {
    // A host without IPv6 has no such sockets: the other addresses are tried.
    if (errno != EAFNOSUPPORT)
      probe.local_fault_ = absl::StrCat("no socket: ", std::strerror(errno));
    return CURL_SOCKET_BAD;
  }
  probe.tried_allowed_ = true;
  probe.sockets_.push_back(fd);
  return fd;
}

int Probe::OnCloseSocket(void* self, curl_socket_t socket) {
  auto& sockets = static_cast<Probe*>(self)->sockets_;
  sockets.erase(std::remove(sockets.begin(), sockets.end(), socket), sockets.end());
  return close(socket);
}

// Of several sockets (IPv4 and IPv6 race), the one that has a peer.
void Probe::NoteConnectedPeer() {
  for (const curl_socket_t fd : sockets_) {
    sockaddr_storage peer{};
    socklen_t length = sizeof peer;
    if (getpeername(fd, reinterpret_cast<sockaddr*>(&peer), &length) != 0) continue;
    if (const auto ip = IpOf(reinterpret_cast<const sockaddr&>(peer))) {
      seen.remote_address = ip->ToString();
      return;
    }
  }
}

CURLcode Probe::OnTlsStart(CURL* /*easy*/, void* ssl_ctx, void* self) {
  auto& probe = *static_cast<Probe*>(self);
  auto* context = static_cast<SSL_CTX*>(ssl_ctx);
  probe.seen.connected = probe.clock_.Steady();
  probe.seen.stage = v1::PROBE_STAGE_TLS;
  probe.NoteConnectedPeer();
  // No second handshake, which could come when this probe is gone and its connection kept.
  SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION);
  SSL_CTX_set_ex_data(context, ProbeIndex(), &probe.seen);
  SSL_CTX_set_verify(context, SSL_CTX_get_verify_mode(context), &OnVerify);
  return CURLE_OK;
}

int Probe::OnReady(void* self, char* remote, char* /*local*/, int /*remote_port*/,
                   int /*local_port*/) {
  auto& probe = *static_cast<Probe*>(self);
  const SteadyTime now = probe.clock_.Steady();
  if (probe.opened_socket_) {
    if (probe.target->tls) {
      probe.seen.tls_done = now;
    } else {
      probe.seen.connected = now;
    }
  }
  probe.seen.sent = now;
  probe.seen.stage = v1::PROBE_STAGE_SEND;
  if (remote != nullptr) probe.seen.remote_address = remote;
  curl_tlssessioninfo* session = nullptr;
  if (probe.target->tls &&
      curl_easy_getinfo(probe.easy, CURLINFO_TLS_SSL_PTR, &session) == CURLE_OK &&
      session != nullptr && session->internals != nullptr) {
    const X509* leaf = SSL_get0_peer_certificate(static_cast<SSL*>(session->internals));
    if (leaf != nullptr)
      probe.seen.certificate_expiry_unix = UnixSecondsOf(X509_get0_notAfter(leaf));
  }
  return CURL_PREREQFUNC_OK;
}

void Probe::ReadHeader(absl::string_view line) {
  if (absl::StartsWith(line, "HTTP/")) {  // of the next answer after a 1xx
    seen.served_by.clear();
    return;
  }
  if (target->served_by_header.empty()) return;
  const size_t colon = line.find(':');
  if (colon == line.npos ||
      !absl::EqualsIgnoreCase(line.substr(0, colon), target->served_by_header))
    return;
  seen.served_by =
      std::string(absl::StripAsciiWhitespace(line.substr(colon + 1)).substr(0, kMaxServedBy));
}

size_t Probe::OnHeader(char* data, size_t size, size_t count, void* self) {
  auto& probe = *static_cast<Probe*>(self);
  const size_t bytes = size * count;
  if (probe.seen.first_byte == SteadyTime::InfinitePast()) {
    probe.seen.first_byte = probe.clock_.Steady();
    probe.seen.stage = v1::PROBE_STAGE_BODY;
  }
  probe.header_bytes_ += bytes;
  if (probe.header_bytes_ > kMaxHeaderBytes) {
    probe.headers_too_long_ = true;
    return 0;
  }
  probe.ReadHeader(absl::string_view(data, bytes));
  return bytes;
}

size_t Probe::OnBody(char* data, size_t size, size_t count, void* self) {
  auto& probe = *static_cast<Probe*>(self);
  const size_t bytes = size * count;
  const size_t taken = std::min(bytes, kMaxBodyBytes - probe.body_bytes_);
  probe.body_bytes_ += taken;
  if (probe.target->assertions.needs_body()) probe.body_.append(data, taken);
  if (taken == bytes) return bytes;
  probe.body_cut_ = true;
  return 0;
}

void Probe::JudgeAnswer() {
  seen.stage = v1::PROBE_STAGE_ASSERTION;
  const absl::Status met = target->assertions.Check(seen.http_status, body_);
  seen.success = met.ok();
  if (!met.ok()) seen.error = std::string(met.message());
}

// What went wrong lies in this agent and not beyond its network card.
bool Probe::LocalFault(CURLcode code) {
  switch (code) {
    case CURLE_OUT_OF_MEMORY:
    case CURLE_FAILED_INIT:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_ENGINE_INITFAILED:
    case CURLE_INTERFACE_FAILED:
    case CURLE_BAD_FUNCTION_ARGUMENT:
    case CURLE_URL_MALFORMAT:
      return true;
    default:
      return !local_fault_.empty() && seen.stage == v1::PROBE_STAGE_CONNECT;
  }
}

void Probe::Complete(CURLcode code) {
  seen.done = clock_.Steady();
  long status = 0, sent_bytes = 0;
  curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
  curl_easy_getinfo(easy, CURLINFO_REQUEST_SIZE, &sent_bytes);
  seen.http_status = static_cast<int>(status);
  if (code == CURLE_OK || (code == CURLE_WRITE_ERROR && body_cut_)) return JudgeAnswer();
  if (seen.stage == v1::PROBE_STAGE_SEND && sent_bytes > 0 && code != CURLE_SEND_ERROR) {
    seen.stage = v1::PROBE_STAGE_FIRST_BYTE;
  }
  if (seen.stage == v1::PROBE_STAGE_CONNECT) seen.remote_address.clear();
  seen.timed_out = code == CURLE_OPERATION_TIMEDOUT;
  seen.error = error_[0] != '\0' ? error_ : curl_easy_strerror(code);
  if (headers_too_long_) seen.error = "headers longer than 64 KiB";
  if (!refused_.empty() && !tried_allowed_) {
    abandoned_ = "address_not_allowed";
    seen.error = refused_;
  } else if (LocalFault(code)) {
    abandoned_ = "local_error";
    if (!local_fault_.empty()) seen.error = local_fault_;
  }
}

void Probe::CompleteUnresolved() { seen.done = clock_.Steady(); }

}  // namespace failover::agent
