#ifndef TESTS_AZURE_EMULATOR_EMULATOR_H_
#define TESTS_AZURE_EMULATOR_EMULATOR_H_

#include <functional>
#include <map>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace failover::emulator {

struct World;

// Addresses are "IP:PORT"; port 0 = a free one.
struct EmulatorOptions {
  std::string directory;  // existing or to be made; receives ca.pem and endpoints.json
  std::string arm = "127.0.0.1:0";
  std::string blob = "127.0.0.1:0";
  std::string control = "127.0.0.1:0";
  std::string imds = "127.0.0.1:0";
  std::string dns = "127.0.0.1:0";
  int gateway_port = 0;           // one port on the address of every gateway
  std::string external_blobs;     // URL of a path-style blob endpoint; empty = our own
  std::string external_blobs_ca;  // PEM file for it; empty = our own CA
  std::string log_file;           // one JSON object a line per request; empty = none
};

struct GatewayEndpoint {
  std::string address;  // "127.0.1.1"
  std::string url;      // "https://apim-weu.azure-api.net:PORT"
  std::string host;     // "apim-weu.azure-api.net"
};

struct Endpoints {
  std::string arm, authority, blob, control, imds;  // URLs without a path
  std::string dns;                                  // "127.0.0.1:PORT", UDP
  int gateway_port = 0;
  std::string ca_file;
  std::string neutral;                              // URL; empty when the world has none
  std::string public_name;                          // "api.contoso.test"
  std::map<std::string, GatewayEndpoint> gateways;  // by service
};

// The emulated Azure with its listeners: ARM and Entra on one HTTPS port, blobs on another, the
// control API and IMDS on plain HTTP, a DNS server, one gateway per service. Thread-safe. All state
// ends with it.
class Emulator {
 public:
  // Errors name the file, the address or the field that is wrong.
  static absl::StatusOr<std::unique_ptr<Emulator>> Start(World world, EmulatorOptions options);
  // `seed` 0: the file's own.
  static absl::StatusOr<std::unique_ptr<Emulator>> StartFile(const std::string& world_file,
                                                             EmulatorOptions options,
                                                             uint64_t seed = 0);
  virtual ~Emulator() = default;

  virtual const Endpoints& endpoints() const = 0;
  // Calls the control API in process ("PATCH", "/_emulator/clock", R"({"advance":"5h"})").
  struct Result {
    int status = 0;
    std::string body;
  };
  virtual Result Control(absl::string_view method, absl::string_view path_and_query,
                         absl::string_view body = "") = 0;
  // Runs `use` with the world locked; what it changes takes effect before this returns. `now`:
  // virtual.
  virtual void With(const std::function<void(World& world, absl::Time now)>& use) = 0;
};

}  // namespace failover::emulator

#endif  // TESTS_AZURE_EMULATOR_EMULATOR_H_
