#ifndef TESTS_SUPPORT_TEMP_DIR_H_
#define TESTS_SUPPORT_TEMP_DIR_H_

#include <stdlib.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <string>
#include <system_error>

#include "absl/strings/string_view.h"

namespace failover {

// A directory of its own for one test, removed with all that is in it.
class TempDir {
 public:
  TempDir() {
    path_ = (std::filesystem::temp_directory_path() / "failover-test-XXXXXX").string();
    if (mkdtemp(path_.data()) == nullptr) {
      std::perror("mkdtemp");
      std::abort();
    }
  }
  ~TempDir() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;

  const std::string& path() const { return path_; }
  std::string File(const std::string& name) const { return path_ + "/" + name; }

  // Replaces the file in one step, so that a reader sees the old text or the new one. Returns its
  // path.
  std::string Write(const std::string& name, absl::string_view text) const {
    const std::string next = File(name + ".next");
    std::ofstream(next, std::ios::binary)
        .write(text.data(), static_cast<std::streamsize>(text.size()));
    std::filesystem::rename(next, File(name));
    return File(name);
  }

  std::string Read(const std::string& name) const {
    std::ifstream file(File(name), std::ios::binary);
    return std::string(std::istreambuf_iterator<char>(file), {});
  }

 private:
  std::string path_;
};

}  // namespace failover

#endif  // TESTS_SUPPORT_TEMP_DIR_H_
