#include <signal.h>

#include <cstdio>
#include <map>
#include <string>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "tests/azure_emulator/emulator.h"

namespace {

constexpr char kHelp[] =
    R"(azure-emulator: an honest Azure for tests and demos. It keeps no state.

  azure-emulator --world FILE --directory DIR [options]

  --world FILE           the emulated Azure at the start (tests/testdata/worlds/*.json)
  --directory DIR        receives ca.pem and endpoints.json
  --arm IP:PORT          Azure Resource Manager and Entra, HTTPS       [127.0.0.1:0]
  --blob IP:PORT         blob storage, HTTPS                           [127.0.0.1:0]
  --control IP:PORT      the control API (/_emulator/), plain HTTP     [127.0.0.1:0]
  --imds IP:PORT         identity service of a machine, plain HTTP     [127.0.0.1:0]
  --dns IP:PORT          name server, UDP                              [127.0.0.1:0]
  --gateway-port N       one port on the address of every gateway      [0]
  --external-blobs URL   keep backups there (Azurite, path-style) instead
  --external-blobs-ca F  CA of that URL, PEM                           [our own]
  --seed N               instead of the world's own
  --log FILE             one JSON object a line per request
  --help

Port 0 means a free one. Prints "ready" once endpoints.json is written; SIGTERM or SIGINT ends it.
)";

int Refuse(absl::string_view problem) {
  std::fprintf(stderr, "azure-emulator: %s\n", std::string(problem).c_str());
  return 1;
}

}  // namespace

int main(int argc, char** argv) {
  failover::emulator::EmulatorOptions options;
  std::string world, gateway_port = "0", seed_text = "0";
  const std::map<std::string, std::string*> known = {
      {"--world", &world},
      {"--directory", &options.directory},
      {"--arm", &options.arm},
      {"--blob", &options.blob},
      {"--control", &options.control},
      {"--imds", &options.imds},
      {"--dns", &options.dns},
      {"--gateway-port", &gateway_port},
      {"--external-blobs", &options.external_blobs},
      {"--external-blobs-ca", &options.external_blobs_ca},
      {"--seed", &seed_text},
      {"--log", &options.log_file}};
  for (int i = 1; i < argc; ++i) {
    const std::string name = argv[i];
    if (name == "--help") {
      std::fputs(kHelp, stdout);
      return 0;
    }
    const auto it = known.find(name);
    if (it == known.end()) {
      return Refuse(absl::StrCat("found argument '", name, "'; allowed: see --help"));
    }
    if (++i == argc) return Refuse(absl::StrCat(name, " needs a value; see --help"));
    *it->second = argv[i];
  }
  uint64_t seed = 0;
  if (world.empty()) return Refuse("--world is missing, but required; see --help");
  if (options.directory.empty()) return Refuse("--directory is missing, but required; see --help");
  if (!absl::SimpleAtoi(gateway_port, &options.gateway_port) || options.gateway_port < 0 ||
      options.gateway_port > 65535) {
    return Refuse(absl::StrCat("--gateway-port: found '", gateway_port, "'; allowed: 0 to 65535"));
  }
  if (!absl::SimpleAtoi(seed_text, &seed)) {
    return Refuse(absl::StrCat("--seed: found '", seed_text, "'; allowed: a number"));
  }
  // Blocked before any thread exists: only sigwait() below sees them.
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  signal(SIGPIPE, SIG_IGN);

  auto emulator = failover::emulator::Emulator::StartFile(world, options, seed);
  if (!emulator.ok()) return Refuse(emulator.status().message());
  std::puts("ready");
  std::fflush(stdout);
  int received = 0;
  sigwait(&signals, &received);
  return 0;
}
