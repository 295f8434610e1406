#ifndef TESTS_GATEWAY_STUB_NAME_SERVER_H_
#define TESTS_GATEWAY_STUB_NAME_SERVER_H_

#include <map>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

#include "common/mutex.h"

namespace failover {

// A small DNS server on UDP, 127.0.0.1: A records and CNAMEs, or silence.
class NameServerStub {
 public:
  NameServerStub();
  ~NameServerStub();
  NameServerStub(const NameServerStub&) = delete;
  NameServerStub& operator=(const NameServerStub&) = delete;

  std::string address() const;  // "127.0.0.1:PORT"
  // The answer for `name`: its CNAME chain, then A records of the last name in it.
  void Set(const std::string& name, std::vector<std::string> cnames,
           std::vector<std::string> addresses);
  // Queries for other names are passed on to this server, "IP:PORT".
  void AskElsewhere(const std::string& address);
  // Drops every query from now on, or only those for AAAA.
  void SetSilent(bool all, bool aaaa_only = false);
  int queries() const;

 private:
  struct Record {
    std::vector<std::string> cnames, addresses;
  };
  void Serve(std::stop_token stop);
  std::string Answer(const std::string& query);

  int socket_ = -1;
  int port_ = 0;
  mutable Mutex mutex_;
  std::map<std::string, Record> records_ ABSL_GUARDED_BY(mutex_);
  bool silent_ ABSL_GUARDED_BY(mutex_) = false;
  bool aaaa_silent_ ABSL_GUARDED_BY(mutex_) = false;
  int queries_ ABSL_GUARDED_BY(mutex_) = 0;
  std::string elsewhere_ ABSL_GUARDED_BY(mutex_);
  std::jthread thread_;
};

}  // namespace failover

#endif  // TESTS_GATEWAY_STUB_NAME_SERVER_H_
