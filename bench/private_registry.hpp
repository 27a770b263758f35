// A registry of this run's own: nimsyncd, found beside this program, in a temporary folder (in memory where possible).
#pragma once

#include <string>

#include "bench/child.hpp"

namespace bench {

class PrivateRegistry {
 public:
  /// Starts it and waits until it answers. Throws std::runtime_error with what nimsyncd said.
  PrivateRegistry();
  PrivateRegistry(const PrivateRegistry&) = delete;
  PrivateRegistry& operator=(const PrivateRegistry&) = delete;
  /// Removes the channels (by another registry over the same state, where this one died), ends the registry, removes
  /// the folder.
  ~PrivateRegistry();

  [[nodiscard]] const std::string& socket() const noexcept { return socket_; }
  /// A path in the temporary folder.
  [[nodiscard]] std::string path(const std::string& file) const { return folder_ + "/" + file; }
  [[nodiscard]] Child& process() noexcept { return process_; }
  /// What it logged.
  [[nodiscard]] std::string log() const;

 private:
  void start();

  std::string folder_;
  std::string socket_;
  Child process_;
};

}  // namespace bench
