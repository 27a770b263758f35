#include "bench/private_registry.hpp"

#include <stdlib.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <sstream>
#include <stdexcept>
#include <system_error>

#include "nimsync/registry.hpp"

namespace bench {
namespace {

namespace fs = std::filesystem;

/// In memory where there is such a place, as a registry's own folders usually are (/run, $XDG_RUNTIME_DIR): on a disk
/// the cost of opening a channel is that of the disk's file system.
std::string new_folder() {
  const fs::path in_memory = "/dev/shm";
  const fs::path parent = ::access(in_memory.c_str(), W_OK | X_OK) == 0 ? in_memory : fs::temp_directory_path();
  std::string path = (parent / "nimsync_bench.XXXXXX").string();
  if (::mkdtemp(path.data()) == nullptr) {
    throw std::system_error(errno, std::generic_category(), "making a folder like " + path);
  }
  return path;
}

bool answers(const std::string& socket) {
  try {
    static_cast<void>(nimsync::Registry::connect(socket).info());
    return true;
  } catch (const nimsync::Error&) {
    return false;
  }
}

}  // namespace

PrivateRegistry::PrivateRegistry() : folder_(new_folder()), socket_(folder_ + "/registry.sock") {
  try {
    start();
  } catch (...) {
    process_.kill();
    std::error_code ignored;
    fs::remove_all(folder_, ignored);
    throw;
  }
}

void PrivateRegistry::start() {
  const fs::path program = fs::read_symlink("/proc/self/exe").parent_path() / "nimsyncd";
  if (!fs::exists(program)) {
    throw std::runtime_error("there is no " + program.string() + "; the registry must lie beside nimsync_bench");
  }
  process_ = Child::run(program.string(), {"--socket", socket_, "--state-dir", path("state"), "--log-level", "warn"},
                        path("log"));
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds{10};
  while (!answers(socket_)) {
    if (const auto how = process_.ended()) throw std::runtime_error("nimsyncd " + *how + "; it said: " + log());
    if (std::chrono::steady_clock::now() > deadline) {
      throw std::runtime_error("nimsyncd does not answer at " + socket_ + " after 10 s; it said: " + log());
    }
    static_cast<void>(next_signal(5));
  }
}

PrivateRegistry::~PrivateRegistry() {
  try {
    if (process_.ended()) start();
    // A registry that ends leaves its channels in place, for the next one; here there is none.
    auto registry = nimsync::Registry::connect(socket_);
    for (const auto& channel : registry.list()) registry.remove(channel.name, true);
  } catch (const std::exception& error) {
    std::cerr << "nimsync_bench: the channels of this run could not be removed: " << error.what() << '\n';
  } catch (const Interrupted&) {
    std::cerr << "nimsync_bench: interrupted again; the channels of this run were not removed\n";
  }
  constexpr int kPatience_ms = 5000;
  process_.end(kPatience_ms);
  std::error_code ignored;
  fs::remove_all(folder_, ignored);
}

std::string PrivateRegistry::log() const {
  std::ifstream file(path("log"));
  std::ostringstream text;
  text << file.rdbuf();
  return text.str().empty() ? "nothing" : text.str();
}

}  // namespace bench
